"""
A worker's share of the signals of a group: each is handed to one worker, acknowledged
after it was dealt with, and taken over by another one if the worker dies.

All of it happens in one thread, one signal at a time. The signals of one token account
go to one worker as long as that one lives, so that a fresher transaction of a sale meets
the auto-exit that has the sale under way.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Literal

import attrs

from lasersell._clock import Deadline
from lasersell._mailbox import Doorbell
from lasersell.errors import DecodeError, RelayConnectError, RelayError
from lasersell.protocol.server import ExitSignalWithTx, MirrorBuySignal
from lasersell.relay.codec import HighEntry, decode_message
from lasersell.relay.events import RelayEvent
from lasersell.relay.feed import SIGNALS, Feed, entry_of, place_of
from lasersell.relay.groups import make_group
from lasersell.relay.keys import Keys
from lasersell.relay.lanes import RelayLanes
from lasersell.relay.link import BLOCK_SEC, RedisLink
from lasersell.relay.replica import Replica
from lasersell.relay.scripts import FAIL, OWN, TICK
from lasersell.session.events import Arrival
from lasersell.session.positions import PositionHandle

__all__ = ["GroupSettings", "Work"]

log = logging.getLogger(__name__)

TICK_SEC = 0.5
"""How often a worker says that it lives, and looks for what others have left."""
WORKER_TTL_SEC = 2.0
"""After how long a worker that says nothing counts as dead."""
OWNER_TTL_SEC = 600.0
"""How long the signals of an account go to the worker that had the last one."""
OWNER_GRACE_SEC = 0.02
YIELD_SEC = 0.001
NOBODY = b"?"
ACK_DELAY_SEC = 1.0
"""How long after a handler returned its signal is acknowledged: an auto-exit has it on the
disk a moment later, and one that dies in that moment must leave it to another worker."""
RETRY_SEC = 0.2
ACKS_AT_ONCE = 64
FAILED = "(failed)"
"""The consumer that has the entries on which a handler failed; no worker has its name."""


@attrs.frozen(kw_only=True)
class GroupSettings:
    """How a group shares out its signals. Times are in seconds."""

    group: str
    worker: str
    handler_timeout: float
    retry_after: float
    max_deliveries: int | None
    """None: a signal is handed out until somebody deals with it."""


@attrs.frozen
class _Signal:
    """A signal that was handed to this worker."""

    entry: bytes
    place: tuple[int, int]
    """See :func:`~lasersell.relay.feed.place_of`."""
    read: HighEntry
    message: ExitSignalWithTx | MirrorBuySignal
    id: str
    deliveries: int

    @property
    def account(self) -> str:
        """What tells its sale from others; empty of a buy, which any worker can do."""
        if isinstance(self.message, MirrorBuySignal):
            return ""
        return self.message.token_account or self.message.mint

    @property
    def is_first(self) -> bool:
        """Whether it is the first exit of its position, handed out for the first time."""
        position = self.read.position
        return (
            self.deliveries == 1
            and bool(self.account)
            and position is not None
            and sum(count for _, count in position.attempts) == 1
        )


class Work:
    """
    Takes signals until it is stopped; :meth:`run` in a thread of its own.

    Args:
        link: The way to Redis, for this thread alone.
        keys: Of the relay.
        lanes: Where the signals go.
        feed: What comes before a signal is handed over there first.
        replica: Has the handles.
        settings: How the signals are shared out.
    """

    def __init__(
        self,
        link: RedisLink,
        keys: Keys,
        lanes: RelayLanes,
        feed: Feed,
        replica: Replica,
        settings: GroupSettings,
    ) -> None:
        self._link = link
        self._keys = keys
        self._lanes = lanes
        self._feed = feed
        self._replica = replica
        self._settings = settings
        self._stop = threading.Event()
        self._bell = Doorbell()
        self._done: deque[tuple[bytes, bool]] = deque()
        self._in_hand = b""
        self._dealt_with: deque[tuple[Deadline, bytes]] = deque()
        self._ack_delay = min(ACK_DELAY_SEC, settings.handler_timeout / 2)
        self._acks: list[bytes] = []
        self._tick_due = Deadline(0)
        self.connection: int | None = None
        """The id of our connection, by which Redis can be told to let us go."""
        self.given_up = 0
        """Signals that no worker could deal with."""

    # From any thread

    def done(self, event: RelayEvent, *, failed: bool) -> None:
        """Note that a signal was dealt with, or that its handler failed; never blocks."""
        self._done.append((event.entry, failed))
        self._bell.ring()

    def stop(self) -> None:
        """End :meth:`run` soon."""
        self._stop.set()
        self._bell.ring()

    def make_group(self) -> None:
        """
        Make the group, if there is none; it gets what comes from now on.

        Raises:
            RelayConnectError: Redis is away.
        """
        make_group(self._link, self._keys, self._settings.group, "$")

    # The thread

    def run(self) -> None:
        """Take signals until it is stopped; a Redis that is away is asked until it is back."""
        while not self._stop.is_set():
            try:
                self._step()
            except RelayConnectError as error:
                self._recover(error)
            except Exception:
                log.exception("a mistake of ours; the signal comes again")
                self._stop.wait(RETRY_SEC)
        self._leave()

    def _recover(self, error: RelayConnectError) -> None:
        log.debug("no signals: %s", error)
        self.connection = None
        # Nobody says when Redis is back.
        self._stop.wait(RETRY_SEC)
        if "NOGROUP" in str(error):
            # Redis has lost its memory: all that is there now came after that.
            try:
                make_group(self._link, self._keys, self._settings.group, "0")
            except RelayConnectError as still:
                log.debug("no group: %s", still)

    def _step(self) -> None:
        self._settle()
        if self._tick_due.has_passed() or self.connection is None:
            self._tick()
        elif self._in_hand:
            self._bell.wait(self._tick_due.remaining())
        else:
            self._take_next()

    def _take_next(self) -> None:
        settings = self._settings
        found = self._link.execute(
            "XREADGROUP",
            "GROUP",
            settings.group,
            settings.worker,
            # One only: what comes with it is for workers that have nothing to do.
            "COUNT",
            1,
            "BLOCK",
            int(1000 * min(BLOCK_SEC, self._tick_due.remaining() or 0.0)) or 1,
            "STREAMS",
            self._keys.high,
            ">",
        )
        if not found:
            # Another worker may have handed something over, and woken us for it.
            self._tick_due = Deadline(0)
        for _, entries in found or []:
            for entry, fields in entries:
                self._consider(bytes(entry), fields, 1)

    def _tick(self) -> None:
        """Say that we live, and take what nobody deals with."""
        settings = self._settings
        if self.connection is None:
            self.connection = self._link.execute("CLIENT", "ID")
        found = self._link.run(
            TICK,
            [self._keys.high],
            [
                settings.group,
                settings.worker,
                self._keys.workers(settings.group),
                self.connection,
                int(1000 * WORKER_TTL_SEC),
                self._in_hand,
                0 if self._in_hand else 1,
                int(1000 * settings.handler_timeout),
                FAILED,
                int(1000 * settings.retry_after),
                *(entry for _, entry in self._dealt_with),
                *self._acks,
            ],
        )
        # With something in hand there may be more of it.
        self._tick_due = Deadline(0 if found else TICK_SEC)
        if found:
            (entry, flat), before = found
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            self._consider(bytes(entry), fields, int(before) + 1)

    def _consider(
        self, entry: bytes, fields: Mapping[bytes, bytes], deliveries: int
    ) -> None:
        signal = self._signal_of(entry, fields, deliveries)
        if signal is None:
            self._acks.append(entry)
        elif self._is_given_up(deliveries):
            self.given_up += 1
            self._acks.append(entry)
            log.error(
                "the %s %s was handed out %d times and never dealt with; it is given up",
                signal.message.type,
                signal.id,
                deliveries - 1,
            )
        elif signal.is_first:
            # Nobody has a sale of it under way, so nobody need be asked before.
            self._hand_over(signal)
            # The consumer first, which needs the interpreter to wake up.
            self._bell.wait(YIELD_SEC)
            self._own(signal, "take")
        elif self._is_ours(signal):
            self._hand_over(signal)

    def _is_given_up(self, deliveries: int) -> bool:
        most = self._settings.max_deliveries
        return most is not None and deliveries > most

    def _signal_of(
        self, entry: bytes, fields: Mapping[bytes, bytes], deliveries: int
    ) -> _Signal | None:
        try:
            read = entry_of(fields)
            message = decode_message(bytes(read.message), read.born_here)
        except (RelayError, DecodeError) as error:
            log.error("an entry of the relay is skipped: %s", error)
            return None
        if not isinstance(message, SIGNALS):
            return None
        return _Signal(
            entry, place_of(fields), read, message, fields[b"i"].decode(), deliveries
        )

    def _is_ours(self, signal: _Signal) -> bool:
        """Tell whether a signal is for this worker; if not, hand it to the right one."""
        if not signal.account:
            return True
        if signal.deliveries > 1:
            # Who had it did not deal with it, and does not get it again.
            self._own(signal, "take")
            return True
        answer = self._own(signal, "ask")
        if answer == NOBODY:
            # The first signal may have been handed to another worker this moment.
            self._stop.wait(OWNER_GRACE_SEC)
            answer = self._own(signal, "settle")
        if not answer:
            return True
        self._link.let_go(int(answer))
        return False

    def _own(self, signal: _Signal, how: Literal["take", "ask", "settle"]) -> bytes:
        settings = self._settings
        answer = self._link.run(
            OWN,
            [self._keys.high, self._keys.owners(settings.group) + signal.account],
            [
                settings.group,
                settings.worker,
                self._keys.workers(settings.group),
                signal.entry,
                int(1000 * OWNER_TTL_SEC),
                how,
            ],
        )
        return bytes(answer)

    def _hand_over(self, signal: _Signal) -> None:
        """Give a signal to the consumer, after everything that came before it."""
        self._in_hand = signal.entry
        try:
            while not self._feed.wait_for_those_before(
                signal.place, signal.entry, TICK_SEC
            ):
                self._tick()
            if not self._stop.is_set():
                self._lanes.put([self._event_of(signal)], [])
        except Exception:
            # The consumer does not have it. In Redis it is ours still, and comes again.
            self._in_hand = b""
            raise

    def _event_of(self, signal: _Signal) -> RelayEvent:
        read = signal.read
        return RelayEvent(
            signal.message,
            self._handle_of(signal),
            Arrival(self._link.clock.to_local(read.arrived_ms), read.server_ms),
            read.facts,
            signal.id,
            signal.deliveries,
            signal.entry,
        )

    def _handle_of(self, signal: _Signal) -> PositionHandle | None:
        position = signal.read.position
        if position is None:
            return None
        if self._feed.is_next(signal.place):
            # Before the feed does, whose thread need not be waited for then.
            _, number = signal.place
            return self._replica.apply(position, number)
        return self._replica.known(position)

    # Acknowledging

    def _settle(self) -> None:
        while self._done:
            entry, failed = self._done[0]
            if failed:
                settings = self._settings
                self._link.run(FAIL, [self._keys.high], [settings.group, FAILED, entry])
            else:
                self._dealt_with.append((Deadline(self._ack_delay), entry))
            self._done.popleft()
            if entry == self._in_hand:
                self._in_hand = b""
        while self._dealt_with and self._dealt_with[0][0].has_passed():
            self._acks.append(self._dealt_with.popleft()[1])
        if len(self._acks) >= ACKS_AT_ONCE or (
            self._acks and self._tick_due.has_passed()
        ):
            self._ack(self._acks)
            self._acks = []

    def _ack(self, entries: list[bytes]) -> None:
        self._link.execute("XACK", self._keys.high, self._settings.group, *entries)

    def _leave(self) -> None:
        """Say what was done, and that what was not is for others."""
        settings = self._settings
        try:
            self._settle()
            self._acks += [entry for _, entry in self._dealt_with]
            if self._acks:
                self._ack(self._acks)
            self._link.execute(
                "DEL", self._keys.workers(settings.group) + settings.worker
            )
        except RelayConnectError as error:
            log.debug("the worker left without a word: %s", error)
