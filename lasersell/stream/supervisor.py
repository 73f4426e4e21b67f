"""
The supervisor thread: connect, configure, keep alive, reconnect, close.

It owns the stream: what facades, the reader and the sender share is here. It
blocks only in its mailbox, in a connect with a deadline, and in joining the reader;
:mod:`lasersell.stream.wakeup` lists what wakes it.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import warnings
from collections.abc import Callable
from threading import get_ident
from typing import Any, Generic, Protocol, TypeVar

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell._mailbox import Mailbox
from lasersell._threads import next_number, start_thread
from lasersell.errors import (
    ConnectError,
    ForkedError,
    HandshakeError,
    LaserSellError,
    NotConnectedError,
    StreamError,
    StreamLostError,
)
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.codec import encode_client_message
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    Limits,
    Pong,
    PositionClosed,
    PositionOpened,
    ServerError,
)
from lasersell.stream.backoff import (
    AUTHENTICATION_CODES,
    REJECTING_CODES,
    Backoff,
    Judge,
    Verdict,
    is_refusal,
)
from lasersell.stream.frames import Opcode
from lasersell.stream.handshake import Greeting, Handshake, rejection
from lasersell.stream.heartbeat import Heartbeat
from lasersell.stream.intent import Intent, Report
from lasersell.stream.lanes import Lanes
from lasersell.stream.lifecycle import (
    Connected,
    Disconnected,
    Fresh,
    Gap,
    Resynced,
    Stale,
)
from lasersell.stream.link import Link
from lasersell.stream.options import StreamOptions
from lasersell.stream.reader import Applier, Message, Reader
from lasersell.stream.recall import Recall
from lasersell.stream.roundtrip import RoundTrips
from lasersell.stream.stats import State, StreamStats
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Interrupted, Wakeup

__all__ = ["Chores", "Supervisor", "open_streams"]

log = logging.getLogger(__name__)

E = TypeVar("E")

REJECTION_WINDOW = 2.0
"""Seconds after ``configure`` in which an error frame can be its answer."""
EXIT_PATIENCE = 2.0
"""Seconds a stream that nobody closed gets when the interpreter exits."""


class Chores(Protocol):
    """Timed work of a higher layer that the supervisor does when no Timer can."""

    def next_due(self) -> float | None:
        """Return when :meth:`run_due` has something to do, monotonic seconds."""

    def run_due(self) -> None:
        """Do what is due."""

    def stop(self) -> None:
        """Do nothing any more; the stream has ended."""


class _NoChores:
    def next_due(self) -> None:
        return None

    def run_due(self) -> None:
        pass

    def stop(self) -> None:
        pass


# What the mailbox takes.


@attrs.frozen
class _Wake:
    """Look at the flags and the clock again."""


@attrs.frozen
class _Ended:
    """A reader has ended."""

    reader: object
    error: StreamLostError


@attrs.frozen
class _Rejected:
    """The server answered ``configure`` with an error."""

    reader: object
    error: HandshakeError


@attrs.frozen
class _Send:
    """Messages to write, for a thread that must not wait; for one connection only."""

    link: object
    messages: tuple[ClientMessage, ...]


_Mail = _Wake | _Ended | _Rejected | _Send
_WAKE = _Wake()


class _Call:
    """
    Marks this thread as inside a command while its ``with`` block runs.

    Not made by ``contextmanager``, which costs a command a tenth of its time.
    """

    __slots__ = ("_callers", "_depth", "_thread")

    def __init__(self, callers: dict[int, int]) -> None:
        self._callers = callers
        self._thread = get_ident()
        self._depth = callers.get(self._thread, 0)

    def __enter__(self) -> None:
        self._callers[self._thread] = self._depth + 1

    def __exit__(self, *_: object) -> None:
        # Set, not counted down: a KeyboardInterrupt may have come in before.
        if self._depth:
            self._callers[self._thread] = self._depth
        else:
            self._callers.pop(self._thread, None)


_alive: set[Supervisor[Any]] = set()
"""A plain set, which can be copied in one step while others change it."""


class Supervisor(Generic[E]):
    """
    One stream, from its first connect to its end.

    Facades hold it and so do its threads; it holds no facade.

    Args:
        options: The settings of the client.
        intent: What the server must be told.
        lanes: Where events go.
        applier: What makes events of messages.
        connect_timeout: Seconds for one connect, names to ``hello_ok``.
        resync_window: Seconds of quiet after which a position that the server did
            not name again counts as gone.
        chores: Timed work of a higher layer.
        clock: Where time comes from.
    """

    def __init__(
        self,
        options: StreamOptions,
        intent: Intent,
        lanes: Lanes[E],
        applier: Applier[E],
        *,
        connect_timeout: float = 10.0,
        resync_window: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.options = options
        self.lanes = lanes
        self.clock = clock
        self.state: State = "connecting"
        self.error: LaserSellError | None = None
        self.limits: Limits | None = None
        self.session_id: int | None = None
        self.hello_waits_for_configure = False
        """Whether the server greets only once it has ``configure``, as last seen."""
        self.round_trips = RoundTrips(clock)
        self.chores: Chores = _NoChores()
        self.on_untracked: Callable[[str], None] = lambda _: None
        """Told the token account of a position that is not to be tracked; holds the lock."""
        self.on_ended: Callable[[], None] = lambda: None
        """Called when the last connection is down and there will be no other."""
        self.intent = intent
        self.recall = Recall(intent, resync_window)
        self.intent_lock = self.recall.lock
        self.owner_pid = os.getpid()
        self.is_forked = False
        self.first_word: Mailbox[LaserSellError | None] = Mailbox()
        """The outcome of the first connect; then whether its ``configure`` was taken."""
        self._applier = applier
        self._connect_timeout = connect_timeout
        self._number = next_number()
        self._mailbox: Mailbox[_Mail] = Mailbox()
        self._wakeup = Wakeup()
        self._closing = False
        self._callers: dict[int, int] = {}
        self._thread: threading.Thread | None = None
        self._link: Link[E] | None = None
        self._backoff = Backoff(options.jitter)
        self._verdicts = Judge(options.rejoin_timeout)
        self._connections = 0
        self._attempts = 0
        self._lost_at_ms = 0
        self._past_frames = 0
        self._past_bytes = 0

    # For facades, from any thread

    def start(self) -> None:
        """
        Start the thread, and return at once; ``first_word`` tells the outcome.

        Raises:
            ConnectError: No thread can be started.
        """
        _alive.add(self)
        try:
            self._thread = start_thread(
                f"lasersell-supervisor-{self._number}", self._run
            )
        except RuntimeError as error:
            _alive.discard(self)
            self._wakeup.close()
            raise ConnectError(f"no thread can be started: {error}") from error

    def request_close(self) -> None:
        """Ask for the end; takes no lock, may be called from a signal handler."""
        self._closing = True
        self._wakeup.call_off()
        self._mailbox.put(_WAKE)

    def close(self, timeout: float) -> None:
        """
        Close the stream; see :meth:`lasersell.stream.client.StreamConnection.close`.
        """
        if self.is_forked:
            return
        self.request_close()
        # A signal handler may have interrupted this very thread inside a command,
        # which holds a lock the supervisor may need, or inside a close, which may
        # have ended the wait already: that one must go on first.
        if get_ident() not in self._callers:
            with self.calling():
                self.join(timeout)

    def join(self, timeout: float) -> bool:
        """Wait until the supervisor has ended; return whether it has."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return False
        thread.join(max(0.0, timeout))
        return not thread.is_alive()

    def calling(self) -> _Call:
        """Mark this thread as inside a command, in a ``with``, and refuse a forked child."""
        self.check_fork()
        return _Call(self._callers)

    def check_fork(self) -> None:
        """
        Raise in a forked child.

        Raises:
            ForkedError: This is not the process that connected.
        """
        if self.is_forked:
            raise ForkedError(self.owner_pid)

    @property
    def is_live(self) -> bool:
        """Whether the server can be spoken to."""
        return self._link is not None

    @property
    def link(self) -> object | None:
        """The live connection, to be handed to :meth:`write`; None while there is none."""
        return self._link

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended or is about to."""
        return self._closing or self.lanes.ended

    def write(
        self, *texts: bytes | Callable[[], bytes], to: object | None = None
    ) -> None:
        """
        Write messages now.

        Args:
            texts: The messages, or what makes them.
            to: The :attr:`link` that they are meant for: on another one, the ids and
                accounts in them may mean something else. None is any.

        Raises:
            NotConnectedError: There is no live connection, or another one.
            StreamLostError: It ended while writing.
        """
        link = self._link
        if link is None or self.is_over:
            raise NotConnectedError(self._why_not_live())
        if to is not None and to is not link:
            raise NotConnectedError("the connection that this was meant for is over")
        link.transport.send_texts(*texts)

    def post(self, *messages: ClientMessage) -> None:
        """
        Have the supervisor write messages to the present connection; never blocks.

        If that ends first they are dropped: on the next one they may mean
        something else.
        """
        self._mailbox.put(_Send(self._link, messages))

    def poke(self) -> None:
        """Have the supervisor look at the clock again; never blocks."""
        self._mailbox.put(_WAKE)

    def stats(self) -> StreamStats:
        """Return the counters as they are now."""
        link = self._link
        frames, size = self._past_frames, self._past_bytes
        age = None
        if link is not None:
            frames += link.transport.stats.frames_in
            size += link.transport.stats.bytes_in
            age = self.clock.monotonic() - link.transport.last_byte
        return StreamStats(
            state=self.state,
            frames_in=frames,
            bytes_in=size,
            high=self.lanes.high_stats(),
            low=self.lanes.low_stats(),
            is_held_back=self.lanes.held_back,
            reconnects=max(0, self._connections - 1),
            round_trip=self.round_trips.last,
            clock_offset_ms=self.round_trips.clock_offset_ms,
            last_message_age=age,
        )

    def abandon(self) -> None:
        """The facade was dropped without ``close()``: close, and say so."""
        was_open = not self.is_over
        # First, because a warning may be turned into an error.
        self.request_close()
        if was_open:
            warnings.warn(
                "a LaserSell stream was dropped without close(); use it in a with block",
                ResourceWarning,
                stacklevel=2,
            )

    def after_fork(self) -> None:
        """In the child, whose sockets are closed already: answer every call with an error."""
        self.is_forked = True
        self._closing = True
        self.error = ForkedError(self.owner_pid)
        self.state = "failed"
        self._link = None
        self.lanes.after_fork(self.error)

    # The thread

    def _run(self) -> None:
        error: LaserSellError | None
        try:
            error = self._supervise()
        except Interrupted:
            error = None
        except BaseException as bug:
            # Without this a mistake of ours would be a stream that is silent for ever.
            log.exception("the supervisor failed; the stream is over")
            error = StreamError(f"the supervisor failed: {bug!r}")
            error.__cause__ = bug
        self._finish(error)

    def _supervise(self) -> LaserSellError | None:
        """Run until the end; return why, or None if it was asked for."""
        while True:
            self._attempts += 1
            try:
                link = self._connect()
            except LaserSellError as error:
                if not self._connections:
                    return error
                failure, code = error, getattr(error, "code", None)
                verdict, delay = self._judge(error)
                if verdict is Verdict.FATAL or is_refusal(error):
                    self._deliver(
                        Disconnected(
                            cause=str(error),
                            status=getattr(error, "status", None),
                            code=code,
                            delay=None if verdict is Verdict.FATAL else delay,
                        )
                    )
            else:
                lost = self._serve(link)
                if lost is None:
                    return None
                failure = lost
                verdict, delay = self._leave(link, lost)
            if verdict is Verdict.FATAL:
                return failure
            why = f"{failure}; next try in {delay:.1f} seconds"
            if self.state == "reconnecting":
                log.debug("stream %d is still away: %s", self._number, why)
            self._set_state("reconnecting", why)
            self._pause(delay)

    # Connecting

    def _connect(self) -> Link[E]:
        deadline = Deadline(self._connect_timeout, self.clock)
        transport = Transport(
            self.options, self._wakeup, self.clock, on_backlog=self.poke
        )
        transport.open(deadline)
        grace = 0.0 if self.hello_waits_for_configure else self.options.hello_grace
        try:
            greeting = Handshake(
                transport,
                self._wakeup,
                self.recall.configure,
                grace=grace,
                deadline=deadline,
                clock=self.clock,
            ).run()
            return self._go_live(transport, greeting)
        except BaseException:
            transport.begin_close()
            transport.dispose()
            raise

    def _go_live(self, transport: Transport, greeting: Greeting) -> Link[E]:
        now = self.clock.monotonic()
        hello = greeting.hello
        attempts, self._attempts = self._attempts, 0
        self._connections += 1
        self.hello_waits_for_configure = greeting.hello_waited
        self.limits, self.session_id = hello.limits, hello.session_id
        self.round_trips.greeted(hello)
        messages: list[Message] = [
            Connected(number=self._connections, attempts=attempts),
            hello,
        ]
        if self._connections > 1:
            messages.append(self._gap(greeting, attempts))
        again = self._connections > 1
        self.recall.connected(now, hello.server_time_ms, again=again)
        reader = self._make_reader(transport)
        link = Link(
            transport,
            reader,
            Heartbeat(
                now,
                ping_interval=self.options.ping_interval,
                stale_after=self.options.stale_after,
                pnl_flush_ms=hello.limits.pnl_flush_ms,
            ),
            recall=self.recall,
            round_trips=self.round_trips,
            lanes=self.lanes,
            configured_at=greeting.configured_at,
            clock=self.clock,
        )
        # From here on users write to this connection themselves; what they
        # changed before that, while it was under way, is told now.
        self._link = link
        updates, results = self.recall.news_since(greeting.told)
        transport.post(Opcode.TEXT, *map(_encoded_late, updates))
        link.write_soon(results)
        self._set_state(
            "live",
            f"connected to {self.options.endpoint} as session {hello.session_id}",
        )
        # Who sees this finds the stream live.
        self._deliver(*messages)
        try:
            reader.start(self._number, greeting.early)
        except RuntimeError as error:
            # Whoever has seen it live is told that it was lost.
            lost = StreamLostError(f"no thread can be started to read: {error}")
            self._mailbox.put(_Ended(reader, lost))
        if self._connections == 1:
            self.first_word.put(None)
        return link

    def _gap(self, greeting: Greeting, attempts: int) -> Gap:
        told = greeting.told
        restored = ["strategy", "wallets"]
        if told.watch_wallets:
            restored.append("watch_wallets")
        if told.mirror_config is not None:
            restored.append("mirror_config")
        return Gap(
            from_ms=self._lost_at_ms,
            to_ms=self.clock.wall_ms(),
            attempts=attempts,
            restored=tuple(restored),
        )

    def _make_reader(self, transport: Transport) -> Reader[E]:
        reader: Reader[E] = Reader(
            transport,
            self._wakeup,
            self.lanes,
            self._applier,
            watchers={
                Pong: self.round_trips.answered,
                ServerError: lambda error: self._saw_error(reader, error),
                BalanceUpdate: lambda _: self._accepted(),
                PositionOpened: self._saw_opened,
                PositionClosed: self.recall.closed,
                ExitSignalWithTx: self.recall.exit_signalled,
                # In this thread: a position that comes at the same moment is named
                # either before, or as one that was given up, for the intent and the
                # applier alike.
                Resynced: lambda _: self.recall.resynced(self.clock.monotonic()),
                # Not set where it is posted: bytes that come in between would
                # have Fresh delivered before Stale.
                Stale: lambda stale: self._set_state(
                    "stale", f"no byte for {stale.silent_sec:.1f} seconds"
                ),
            },
            on_batch=self._freshen,
            on_end=lambda error: self._mailbox.put(_Ended(reader, error)),
        )
        return reader

    # In the reader thread

    def _freshen(self) -> tuple[Message, ...]:
        if self.state != "stale":
            return ()
        self._set_state("live", "the server speaks again")
        return (Fresh(),)

    def _accepted(self) -> None:
        link = self._link
        if link is not None and not link.is_accepted:
            link.is_accepted = True
            if self._connections == 1:
                self.first_word.put(None)

    def _saw_error(self, reader: Reader[E], error: ServerError) -> None:
        link = self._link
        if link is None or link.is_accepted:
            return
        if self.clock.monotonic() - link.configured_at > REJECTION_WINDOW:
            return
        if error.code in REJECTING_CODES or error.code in AUTHENTICATION_CODES:
            self._mailbox.put(_Rejected(reader, rejection(error)))

    def _saw_opened(self, opened: PositionOpened) -> list[Report]:
        self._accepted()
        messages, reports = self.recall.opened(opened, self.clock.monotonic())
        # Even if empty, it wakes the supervisor: an open position is watched closely.
        self.post(*messages)
        return reports

    # Live

    def _serve(self, link: Link[E]) -> LaserSellError | None:
        """Keep a connection alive; return why it ended, or None when closing."""
        while True:
            mail = self._next_mail(self._next_tick(link))
            if self._closing:
                self._shut(link, mail)
                return None
            if isinstance(mail, _Ended):
                if mail.reader is link.reader:
                    return mail.error
            elif isinstance(mail, _Rejected):
                if mail.reader is link.reader:
                    link.is_rejected = True
                    link.end_reader()
                    return mail.error
            elif isinstance(mail, _Send) and mail.link is link:
                link.write_soon(mail.messages)
            self._tick(link)

    def _next_mail(self, timeout: float | None) -> _Mail | None:
        try:
            return self._mailbox.get(timeout=timeout)
        except queue.Empty:
            return None

    def _next_tick(self, link: Link[E]) -> float | None:
        """Return the seconds until :meth:`_tick` may have something to do."""
        now = self.clock.monotonic()
        due = link.next_due(now)
        if due is None:
            return None
        chore = self.chores.next_due()
        return max(0.0, (due if chore is None else min(due, chore)) - now)

    def _tick(self, link: Link[E]) -> None:
        if not link.transport.is_lost:
            now = self.clock.monotonic()
            link.tick(now)
            self._run_chores(now)

    def _run_chores(self, now: float) -> None:
        due = self.chores.next_due()
        if due is not None and due <= now:
            self.chores.run_due()

    # Ending a connection

    def _shut(self, link: Link[E], mail: _Mail | None) -> None:
        """Close in order: what was accepted goes out, what had arrived is delivered."""
        while mail is not None:
            if isinstance(mail, _Send) and mail.link is link:
                link.write_soon(mail.messages)
            mail = self._next_mail(0)
        link.end_reader()
        self._take_down(link)
        self._deliver(Disconnected(cause="closed by this side"))

    def _take_down(self, link: Link[E]) -> None:
        self._link = None
        link.take_down()
        self.round_trips.disconnected()
        self.recall.disconnected(
            self.round_trips.server_ms_at(link.transport.last_byte)
        )
        self._past_frames += link.transport.stats.frames_in
        self._past_bytes += link.transport.stats.bytes_in
        self._lost_at_ms = self.clock.wall_ms()

    def _leave(self, link: Link[E], error: LaserSellError) -> tuple[Verdict, float]:
        """Take a lost connection down and report it; return what follows."""
        self._take_down(link)
        live_sec = self.clock.monotonic() - link.live_since
        self._backoff.ended_after(live_sec)
        if link.is_accepted or (not link.is_rejected and live_sec > REJECTION_WINDOW):
            self._verdicts.accepted()
        if link.is_rejected and self._connections == 1:
            verdict, delay = Verdict.FATAL, 0.0
        else:
            verdict, delay = self._judge(error)
        self._deliver(
            Disconnected(
                cause=str(error),
                code=getattr(error, "code", None),
                close_code=getattr(error, "close_code", None),
                delay=None if verdict is Verdict.FATAL else delay,
            )
        )
        return verdict, delay

    def _judge(self, error: LaserSellError) -> tuple[Verdict, float]:
        verdict = self._verdicts.judge(error, self.clock.monotonic())
        return verdict, self._verdicts.delay(error, self._backoff)

    # Between two connections

    def _pause(self, delay: float) -> None:
        """Wait for the next try; commands grow old meanwhile."""
        deadline = Deadline(delay, self.clock)
        while not deadline.has_passed():
            now = self.clock.monotonic()
            due = self.recall.next_due(is_live=False)
            left = deadline.remaining() or 0.0
            self._next_mail(left if due is None else max(0.0, min(left, due - now)))
            if self._closing:
                raise Interrupted
            now = self.clock.monotonic()
            _, reports = self.recall.due(now, is_live=False)
            self._deliver(*reports)
            self._run_chores(now)

    def _deliver(self, *messages: Message) -> None:
        """Apply and put messages while no reader lives."""
        highs: list[E] = []
        lows: list[E] = []
        self._applier.begin(self.clock.monotonic())
        for message in messages:
            self._applier.apply(message, highs, lows)
        if highs or lows:
            self.lanes.put(highs, lows)

    def _set_state(self, state: State, why: str) -> None:
        if self.state != state:
            self.state = state
            log.info("stream %d is %s: %s", self._number, state, why)

    # The end

    def _finish(self, error: LaserSellError | None) -> None:
        link = self._link
        if link is not None:  # after a mistake of ours
            link.reader.stop()
            self._take_down(link)
        self._closing = True
        self.error = error
        if error is None:
            self._set_state("closed", "as it was asked to")
        else:
            self._set_state("failed", str(error))
        self.lanes.end(error)
        self.chores.stop()
        self.first_word.put(error)
        _alive.discard(self)
        self._wakeup.close()
        self.on_ended()

    def _why_not_live(self) -> str:
        if self.state == "failed":
            return f"the stream has ended: {self.error}"
        if self.is_over:
            return "the stream is closed; connect again"
        return f"the stream is {self.state}; try again when it is live"


def open_streams() -> list[Supervisor[Any]]:
    """Return the streams of this process that have not ended; any thread may call this."""
    return list(_alive)


def _encoded_late(make: Callable[[], ClientMessage]) -> Callable[[], bytes]:
    return lambda: encode_client_message(make())


def _close_all_at_exit() -> None:
    streams = open_streams()
    for stream in streams:
        stream.request_close()
    for stream in streams:
        stream.join(EXIT_PATIENCE)


def _mark_all_forked() -> None:
    for stream in open_streams():
        stream.after_fork()


atexit.register(_close_all_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_all_forked)
