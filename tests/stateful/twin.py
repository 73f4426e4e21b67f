"""
A session without socket and threads, on a fake clock.

The session, its core, the intent, the lanes and the sender are the real ones. What
stands in is the supervisor with its reader: it calls the same methods in the same
order, but in one thread, when the test says so.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

from lasersell.errors import LaserSellError, NotConnectedError
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.codec import decode_client_message, encode_client_message
from lasersell.protocol.server import (
    ExitSignalWithTx,
    HelloOk,
    Limits,
    Pong,
    PositionClosed,
    PositionOpened,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.core import DeadlineSettings, SessionCore
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.stream.intent import HoldSettings, Intent, Report
from lasersell.stream.lanes import Lanes
from lasersell.stream.lifecycle import (
    Connected,
    Disconnected,
    Gap,
    Resynced,
    is_last,
)
from lasersell.stream.options import StreamConfigure
from lasersell.stream.reader import Message
from lasersell.stream.recall import Recall
from lasersell.stream.roundtrip import RoundTrips
from lasersell.stream.stats import State
from lasersell.stream.supervisor import Chores, Supervisor
from tests.clock import FakeClock
from tests.unit.session.frames import WALLET, hello
from tests.unit.session.timers import FakeTimers

__all__ = ["CONFIGURE", "Twin"]

CONFIGURE = StreamConfigure(
    wallet_pubkeys=[WALLET],
    strategy=StrategyConfig(target_profit_pct=5.0),
    deadline_timeout_sec=60.0,
)
_MOST_STEPS = 10_000


class Twin:
    """
    A session, and the supervisor's part of it.

    Args:
        clock: The clock of both sides.
        configure: What the user asks for first.
        counted_from: Where deadlines begin.
        hold: How commands wait.
        low_capacity: Events in the low lane.
        answer: What a server says to a message; by default nothing.
        before: Called with each message that is read, before it is.

    Attributes:
        session: The real facade, of which only ``connect`` was not used.
        told: What the server was told, oldest first.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        configure: StreamConfigure = CONFIGURE,
        counted_from: Literal["opened", "seen"] = "opened",
        hold: HoldSettings | None = None,
        low_capacity: int = 1024,
        answer: Callable[[ClientMessage], list[Message]] = lambda _: [],
        before: Callable[[Message], None] = lambda _: None,
    ) -> None:
        self.clock = clock
        self.timers = FakeTimers(clock)
        self.told: list[ClientMessage] = []
        self.core = SessionCore(
            DeadlineSettings(
                timeout=configure.deadline_timeout_sec, counted_from=counted_from
            ),
            clock,
            self.timers.start,
        )
        self._answer = answer
        self._before = before
        self._answers: deque[Message] = deque()
        self._mail: deque[tuple[object, tuple[ClientMessage, ...]]] = deque()
        self._posted: deque[Message] = deque()
        self._connections = 0
        self._last_byte = 0.0
        # From here on: what the session and its parts use of a supervisor.
        self.intent = Intent(configure, hold or HoldSettings())
        self.recall = Recall(self.intent, resync_window=5.0)
        self.intent_lock = self.recall.lock
        self.lanes: Lanes[StreamEvent] = Lanes(
            16_384, low_capacity, clock, is_last=lambda event: is_last(event.message)
        )
        self.round_trips = RoundTrips(clock)
        self.chores: Chores
        self.on_untracked: Callable[[str], None] = lambda _: None
        self.limits: Limits | None = None
        self.session_id: int | None = None
        self.state: State = "connecting"
        self.error: LaserSellError | None = None
        self.link: object | None = None
        self.is_over = False
        stream = cast("Supervisor[StreamEvent]", self)
        self.core.attach(stream)
        self.session = StreamSession(stream, self.core)

    # What the session and its parts call

    @property
    def is_live(self) -> bool:
        return self.link is not None

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        yield

    def write(
        self, *texts: bytes | Callable[[], bytes], to: object | None = None
    ) -> None:
        if self.link is None or self.is_over or to not in (None, self.link):
            raise NotConnectedError("offline")
        for text in texts:
            self._tell(text() if callable(text) else text)

    def post(self, *messages: ClientMessage) -> None:
        self._mail.append((self.link, messages))

    def poke(self) -> None:
        pass  # every step below looks at the clock anyway

    def abandon(self) -> None:
        pass

    def close(self, timeout: float) -> None:  # noqa: ARG002 - as the real one
        if not self.is_over:
            self.is_over = True
            if self.is_live:
                self.drop()
            self.state = "closed"
            self.lanes.end(None)
            self.chores.stop()

    # What a test calls

    def connect(self, greeting: HelloOk | None = None) -> Twin:
        """Become live, with a server whose clock is ours unless it says otherwise."""
        greeting = greeting or hello(
            self._connections + 1, server_time_ms=self.clock.wall_ms()
        )
        told = self.recall.configure()
        self._tell(encode_client_message(told))
        self._connections += 1
        again = self._connections > 1
        self.limits, self.session_id = greeting.limits, greeting.session_id
        self.round_trips.greeted(greeting)
        self._last_byte = now = self.clock.monotonic()
        messages: list[Message] = [
            Connected(number=self._connections, attempts=1),
            greeting,
        ]
        if again:
            messages.append(
                Gap(from_ms=0, to_ms=0, attempts=1, restored=("strategy", "wallets"))
            )
        self.recall.connected(now, greeting.server_time_ms, again=again)
        self._apply(messages)
        self.link = object()
        updates, results = self.recall.news_since(told)
        self.write(*(encode_client_message(make()) for make in updates))
        self.write(*(encode_client_message(result) for result in results))
        self.state = "live"
        self.settle()
        return self

    def feed(self, *messages: Message) -> None:
        """Have the server say something, in one batch, and what follows from it."""
        self._last_byte = self.clock.monotonic()
        self._read(messages)
        self.settle()

    def drop(self) -> None:
        """Lose the connection."""
        self.link = None
        self._posted.clear()
        self._answers.clear()
        self.round_trips.disconnected()
        self.recall.disconnected(self.round_trips.server_ms_at(self._last_byte))
        self._apply([Disconnected(cause="dropped", delay=0.1)])
        self.state = "reconnecting"

    def settle(self) -> None:
        """Do all that needs no more time."""
        for _ in range(_MOST_STEPS):
            self._tick()
            if self._mail:
                link, messages = self._mail.popleft()
                if link is self.link and self.is_live:
                    self.write(*(encode_client_message(m) for m in messages))
            elif self._posted:
                self._read(())
            elif self._answers:
                self._read((self._answers.popleft(),))
            elif not self._is_something_due():
                return
        raise AssertionError("the session does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, from one thing that is due to the next."""
        end = self.clock.monotonic() + seconds
        self.settle()
        while (at := self._next_due()) is not None and at <= end:
            self.clock.advance(max(0.0, at - self.clock.monotonic()))
            self.settle()
        self.clock.advance(end - self.clock.monotonic())
        self.settle()

    def events(self) -> list[StreamEvent]:
        """Return everything that a consumer finds now."""
        events = []
        with contextlib.suppress(TimeoutError):
            while (event := self.session.recv(timeout=0)) is not None:
                events.append(event)
        return events

    def types(self) -> list[str]:
        """Return the types of everything that a consumer finds now."""
        return [event.type for event in self.events()]

    def take_told(self, *, but_configure: bool = False) -> list[ClientMessage]:
        """Return what the server was told since the last call."""
        told, self.told = self.told, []
        return [m for m in told if not (but_configure and m.type == "configure")]

    # The supervisor's and the reader's part

    def _tell(self, text: bytes) -> None:
        message = decode_client_message(text)
        self.told.append(message)
        self._answers.extend(self._answer(message))

    def _read(self, messages: tuple[Message, ...]) -> None:
        posted, self._posted = self._posted, deque()
        self._apply([*posted, *messages], self._watch)

    def _apply(
        self,
        messages: list[Message],
        watch: Callable[[Any], list[Report]] = lambda _: [],
    ) -> None:
        highs: list[StreamEvent] = []
        lows: list[StreamEvent] = []
        self.core.begin(self.clock.monotonic())
        for message in messages:
            for ours in (*watch(message), message):
                self.core.apply(ours, highs, lows)
        self.lanes.put(highs, lows)

    def _watch(self, message: Any) -> list[Report]:
        self._before(message)
        now = self.clock.monotonic()
        if isinstance(message, PositionOpened):
            told, reports = self.recall.opened(message, now)
            self.post(*told)
            return reports
        if isinstance(message, Resynced):
            return self.recall.resynced(now)
        if isinstance(message, PositionClosed):
            self.recall.closed(message)
        elif isinstance(message, ExitSignalWithTx):
            self.recall.exit_signalled(message)
        elif isinstance(message, Pong):
            self.round_trips.answered(message)
        return []

    def _tick(self) -> None:
        now = self.clock.monotonic()
        self.timers.fire_due()
        asks, reports = self.recall.due(now, is_live=self.is_live)
        if self.is_live:
            self.write(*(encode_client_message(ask) for ask in asks))
            self._posted.extend(reports)
            if self.recall.ends_resync(now, self.lanes.released_at):
                self._posted.append(Resynced())
        else:
            self._apply(list(reports))
        due = self.chores.next_due()
        if due is not None and due <= now:
            self.chores.run_due()

    def _next_due(self) -> float | None:
        due = [
            self.timers.next_due(),
            self.chores.next_due(),
            self.recall.next_due(is_live=self.is_live),
        ]
        return min((at for at in due if at is not None), default=None)

    def _is_something_due(self) -> bool:
        at = self._next_due()
        return at is not None and at <= self.clock.monotonic()
