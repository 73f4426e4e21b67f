"""
One term of a leader: from the lease it won to the end of it.

The caller's thread takes the events of the session and writes the high ones: no other
thread need be woken on the way of a signal. While Redis is away it goes on to take them.
What must not hold it up has a thread of its own: the lease, the commands, and the low lane
with all that may wait, such as trimming.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import RelayConnectError
from lasersell.relay.backlog import BATCH, HighBacklog, HighItem, LowBacklog, LowItem
from lasersell.relay.codec import LowEntry, StreamState, to_json
from lasersell.relay.collector import Collector
from lasersell.relay.groups import make_group
from lasersell.relay.intent import BASE, StoredIntent, digest_of
from lasersell.relay.keys import Keys
from lasersell.relay.lease import Lease
from lasersell.relay.link import RedisLink
from lasersell.relay.orders import Orders
from lasersell.relay.scripts import ANSWER, PUBLISH, PUBLISH_LOW, RESET, TRIM
from lasersell.relay.snapshot import load_snapshot
from lasersell.session.session import StreamSession
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure, check_count, check_seconds

__all__ = ["BEAT_SEC", "Counters", "RelayPolicy", "Setup", "Term"]

log = logging.getLogger(__name__)

BEAT_SEC = 1.0
"""Seconds after which subscribers hear of the publisher though nothing happened."""
TRIM_SEC = 1.0
CHECK_SEC = 1.0
"""Seconds after which it is seen whether Redis has forgotten events, though none comes."""
RETRY_SEC = 0.1
LOWS_MOST = 4096
"""Low events that wait for a Redis that is slow before the oldest is dropped."""

RECENT_SEC = 5.0
"""For how long written events are kept: a Redis that crashed, or whose replica took over,
may have forgotten the last ones."""
RECENT_MOST = 4096


def _seconds(_: object, attribute: attrs.Attribute[float], value: Any) -> None:
    check_seconds(attribute.name, value, 0.1)


def _count(_: object, attribute: attrs.Attribute[int], value: Any) -> None:
    check_count(attribute.name, value)


@attrs.frozen(kw_only=True)
class RelayPolicy:
    """
    What a publisher may use, and how long it waits. Times are in seconds.

    Raises:
        ConfigurationError: A value is none.
    """

    lease: float = attrs.field(default=2.0, validator=_seconds)
    """How long a leader that is not heard of still leads; a stand-by takes over then."""
    poll: float = attrs.field(default=0.1, validator=_seconds)
    """How often a stand-by looks; nobody tells it that a lease has expired."""
    give_up_after: float = attrs.field(default=300.0, validator=_seconds)
    """How long without Redis a leader keeps its stream, which no other can have then."""
    keep: float = attrs.field(default=60.0, validator=_seconds)
    """How long high events are kept though every group has dealt with them."""
    max_age: float = attrs.field(default=3600.0, validator=_seconds)
    """Age at which a high event is dropped though a group has not; reported, counted."""
    max_high: int = attrs.field(default=100_000, validator=_count)
    """High events kept at most; what is dropped for that is reported and counted too."""
    max_low: int = attrs.field(default=512, validator=_count)
    """Batches of low events kept at most, of up to 256 events each."""
    backlog: int = attrs.field(default=10_000, validator=_count)
    """High events held in memory while Redis is away; the next ones go to the disk."""
    backlog_bytes: int = attrs.field(default=268_435_456, validator=_count)
    """Bytes held on the disk; then the stream is held back."""
    backlog_directory: Path | None = None
    """Where on the disk; None is the directory for temporary files."""


@attrs.frozen(kw_only=True)
class Setup:
    """What a publisher is given once."""

    client: StreamClient
    configure: StreamConfigure
    policy: RelayPolicy
    groups: tuple[str, ...]
    """Groups that must get every signal, also before their first worker is there."""
    session_options: dict[str, Any]
    """Arguments for :meth:`StreamSession.connect`."""


@attrs.define
class Counters:
    """What a publisher has done, over all its terms."""

    high_published: int = 0
    low_published: int = 0
    low_dropped: int = 0
    unread_dropped: int = 0
    terms: int = 0
    away_since: float | None = None


class _Over(Exception):
    """The term has ended: somebody else leads, or Redis was away for too long."""


class Term:
    """
    Publishes one session until it ends, the lease is lost, or ``stop`` is set.

    Args:
        setup: What to publish.
        link: The way to Redis.
        keys: Of the relay.
        lease: Held.
        counters: To be counted up.
        stop: Ends the term in order.
        on_live: Called once the stream is live.
        flush_timeout: Returns how many seconds the end may take, for what is left to be
            written.
    """

    def __init__(
        self,
        setup: Setup,
        link: RedisLink,
        keys: Keys,
        lease: Lease,
        counters: Counters,
        stop: threading.Event,
        on_live: Callable[[], None],
        flush_timeout: Callable[[], float],
    ) -> None:
        self._on_live = on_live
        self._flush_timeout = flush_timeout
        self._flush_by: Deadline | None = None
        policy = setup.policy
        self._setup = setup
        self._policy = policy
        self._link = link
        self._keys = keys
        self._lease = lease
        self._counters = counters
        self._stop = stop
        self._over = threading.Event()
        self.highs = HighBacklog(
            policy.backlog, policy.backlog_bytes, policy.backlog_directory
        )
        self.lows = LowBacklog(LOWS_MOST)
        self._source = uuid.uuid4().hex[:16]
        self._number = 0  # of the last high event that is written
        self._recent: deque[tuple[float, int, HighItem]] = deque()
        self._orders_link = link.dedicated()
        self._highs_link = link.dedicated()
        self._lows_link = link.dedicated()
        self._check_due = Deadline(CHECK_SEC)
        self._trim_due = Deadline(TRIM_SEC)
        self._beat_due = Deadline(0)
        self._state = b""
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """
        Lead; blocks until the term is over.

        Raises:
            LaserSellError: The stream could not be had, or ended for good.
        """
        self._start("lease", self._keep_lease)
        try:
            self._lead()
        except _Over as over:
            log.warning("%s", over)
        finally:
            self._over.set()
            self.lows.close()
            for thread in self._threads:
                thread.join()
            for link in (self._orders_link, self._highs_link, self._lows_link):
                link.close()
            lost = self.highs.put_count - self._number
            self.highs.discard()
            self._counters.low_dropped += self.lows.dropped
            if lost:
                log.error(
                    "%d events of this publisher were not written; the next one's stream "
                    "names what is still true of them",
                    lost,
                )

    def _start(self, what: str, work: Callable[[], None]) -> threading.Thread:
        thread = start_thread(f"lasersell-relay-{what}-{next_number()}", work)
        self._threads.append(thread)
        return thread

    def _lead(self) -> None:
        before = load_snapshot(self._link, self._keys)
        intent = self._load_intent()
        for group in self._setup.groups:
            make_group(self._link, self._keys, group, "$")
        session = StreamSession.connect(
            self._setup.client, intent.configure, **self._setup.session_options
        )
        self._on_live()
        collector = Collector(
            session,
            self.highs,
            self.lows,
            self._link.clock,
            self._source,
            before,
            intent,
            self._setup.session_options.get("resync_window", 5.0),
        )
        orders = Orders(
            session,
            intent.configure.strategy,
            self._orders_link,
            self._keys,
            self._lease,
            self._over,
        )
        try:
            lows = self._start("lows", lambda: self._write_lows(session, collector))
            self._start("commands", orders.run)
            self._start("watch", lambda: self._watch(session))
            self._publish(collector)
            self.lows.close()
            lows.join(self._flush_timeout())
        finally:
            self._over.set()
            self._link.let_go(orders.connection)
            session.close()
        if collector.error is not None and not self._stop.is_set():
            raise collector.error

    # The lease

    def _keep_lease(self) -> None:
        # A quarter: two lost answers are no reason to lose it.
        while not self._over.wait(self._lease.ttl / 4):
            try:
                if not self._lease.renew():
                    self._over.set()
                self._link.sync_clock()
            except RelayConnectError as error:
                log.debug("the lease was not renewed: %s", error)

    def _watch(self, session: StreamSession) -> None:
        """End the session when the publisher is to stop; its last events still come."""
        while not self._over.is_set():
            # Two events end this thread, and one can be waited for.
            if self._stop.wait(RETRY_SEC):
                break
        session.close()

    # What was asked for

    def _load_intent(self) -> StoredIntent:
        flat = self._link.execute("HGETALL", self._keys.intent)
        fields = {bytes(k).decode(): bytes(v) for k, v in flat.items()}
        intent = StoredIntent(fields, self._setup.configure)
        self._forget(intent.stale, {BASE: digest_of(self._setup.configure)})
        return intent

    def _forget(self, names: Iterable[str], stored: dict[str, str]) -> None:
        keys, names = self._keys, list(names)
        pairs = [part for pair in stored.items() for part in pair]
        self._highs_link.run(
            ANSWER,
            [keys.lease, keys.meta, keys.answer(""), keys.intent],
            [self._lease.value, "", "", 0, len(names), *names, *pairs],
        )

    def _forget_tolerantly(self, names: list[str]) -> None:
        """Forget intents, unless Redis is away: then again within :data:`CHECK_SEC`."""
        try:
            self._forget(names, {})
        except RelayConnectError as error:
            log.debug("put off: %s", error)
        else:
            names.clear()

    # Writing high events

    def _publish(self, collector: Collector) -> None:
        """Take events, and write the high ones, until the session ends."""
        while not collector.is_over or self.highs.waiting:
            if not self.highs.waiting:
                collector.collect(self._check_due.remaining() or 0.0)
            highs = self.highs.take()
            if highs or self._check_due.has_passed():
                # Also without any: Redis may have forgotten some.
                self._write(highs, collector)
                self._check_due = Deadline(CHECK_SEC)
            if collector.forgotten and not self.highs.waiting:
                # Not before the events are in Redis that made them needless.
                self._forget_tolerantly(collector.forgotten)

    def _write(self, highs: list[HighItem], collector: Collector) -> None:
        """Write high events, however long Redis is away; in order, each once."""
        first = self._number + 1
        while True:
            try:
                answer = self._try_to_write(highs, first)
                if answer > 0:
                    break
                if answer < 0:
                    self._remind(collector, written=-1 - answer, next_number=first)
                elif not self._lease.renew():
                    raise _Over("another publisher leads; this one stands by")
            except RelayConnectError as error:
                self._note_away(error)
                if self._is_late() or self._is_lost():
                    raise _Over(f"Redis is away: {error}") from error
                self._pause(collector)
        self._note_back()
        self._number += len(highs)
        self._remember(highs, first)
        self.lows.note_written(self._number)
        self._counters.high_published += len(highs)

    def _is_late(self) -> bool:
        """Tell whether the end has taken all the time that it may."""
        if not self._stop.is_set():
            return False
        if self._flush_by is None:
            self._flush_by = Deadline(self._flush_timeout())
        return self._flush_by.has_passed()

    def _pause(self, collector: Collector) -> None:
        # Redis tells nobody that it is back.
        pause = Deadline(RETRY_SEC)
        collector.collect_for(RETRY_SEC)
        if self._over.wait(pause.remaining()):
            raise _Over("another publisher leads; this one stands by")

    def _remember(self, highs: list[HighItem], first: int) -> None:
        now = SYSTEM_CLOCK.monotonic()
        self._recent.extend((now, first + n, item) for n, item in enumerate(highs))
        while self._recent and (
            now - self._recent[0][0] > RECENT_SEC or len(self._recent) > RECENT_MOST
        ):
            self._recent.popleft()

    def _try_to_write(self, highs: list[HighItem], first: int) -> int:
        keys, lease = self._keys, self._lease
        arguments: list[Any] = [lease.value, lease.token, self._source, first]
        for item in highs:
            arguments += (item.payload, item.key, item.record)
        targets = [keys.lease, keys.meta, keys.high, keys.positions, keys.latest]
        return int(self._highs_link.run(PUBLISH, targets, arguments))

    # Writing low events, and the state

    def _write_lows(self, session: StreamSession, collector: Collector) -> None:
        is_last = False
        while not is_last:
            lows = self.lows.take(self._beat_due.remaining() or 0.0)
            is_last = self.lows.is_closed and not lows
            state = self._state_of(session, collector)
            if self._over.is_set():
                continue
            try:
                if lows or state:
                    self._try_to_write_lows(lows, state)
                if self._trim_due.has_passed():
                    self._trim_due = Deadline(TRIM_SEC)
                    self._trim()
            except Exception:
                # The high events, and the next low ones, need not suffer from it.
                log.exception(
                    "a mistake of ours; up to %d low events are lost", len(lows)
                )

    def _state_of(self, session: StreamSession, collector: Collector) -> bytes:
        """Return the state if subscribers are to hear of it now."""
        state = to_json(
            StreamState(
                state=session.state,
                publisher=self._lease.owner,
                epoch=collector.epoch,
                session_id=session.session_id,
                limits=session.limits,
            )
        )
        if state == self._state and not self._beat_due.has_passed():
            return b""
        self._state = state
        self._beat_due = Deadline(BEAT_SEC)
        return state

    def _try_to_write_lows(self, lows: list[LowItem], state: bytes) -> None:
        """Write low events once; if Redis is away they would be old when it is back."""
        keys, lease = self._keys, self._lease
        arguments: list[Any] = [
            lease.value,
            lease.token,
            self._policy.max_low,
            self._low_payload(lows),
            state,
        ]
        for item in {item.latest: item for item in lows if item.latest}.values():
            arguments += (item.key, item.latest, item.payload)
        targets = [keys.lease, keys.meta, keys.low, keys.positions, keys.latest]
        try:
            if self._lows_link.run(PUBLISH_LOW, targets, arguments):
                self._counters.low_published += len(lows)
        except RelayConnectError as error:
            log.debug("%d low events were not written: %s", len(lows), error)
            self._state = b""
            self._over.wait(RETRY_SEC)

    def _low_payload(self, lows: list[LowItem]) -> bytes:
        if not lows:
            return b""
        last = lows[-1]
        return to_json(
            LowEntry(
                # Ids of an earlier connection mean nothing any more.
                messages=[
                    msgspec.Raw(item.payload)
                    for item in lows
                    if item.epoch == last.epoch
                ],
                arrived_ms=self._link.clock.to_redis(last.at),
                epoch=last.epoch,
                server_ms=last.server_ms,
            )
        )

    # Without Redis

    def _note_away(self, error: RelayConnectError) -> None:
        if self._counters.away_since is None:
            self._counters.away_since = SYSTEM_CLOCK.monotonic()
            log.warning("the stream goes on, its events wait: %s", error)

    def _is_lost(self) -> bool:
        since = self._counters.away_since
        now = SYSTEM_CLOCK.monotonic()
        return since is not None and now - since > self._policy.give_up_after

    def _note_back(self) -> None:
        since = self._counters.away_since
        if since is not None:
            self._counters.away_since = None
            log.info(
                "Redis is back after %.1f s; %d events wait to be written",
                SYSTEM_CLOCK.monotonic() - since,
                self.highs.waiting,
            )

    def _remind(self, collector: Collector, written: int, next_number: int) -> None:
        """Tell a Redis that has forgotten events what is true, and those events again."""
        missing = [
            (number, item) for _, number, item in self._recent if number > written
        ]
        first = missing[0][0] if missing else next_number
        keys = self._keys
        pairs = [part for pair in collector.records() for part in pair]
        self._link.run(
            RESET,
            [keys.lease, keys.positions, keys.latest, keys.meta],
            [self._lease.value, self._source, first - 1, *pairs],
        )
        items = [item for _, item in missing]
        for start in range(0, len(items), BATCH):
            self._try_to_write(items[start : start + BATCH], first + start)
        log.warning(
            "Redis has forgotten events: %d were written again, %d are lost",
            len(missing),
            first - 1 - written,
        )

    def _trim(self) -> None:
        policy = self._policy
        try:
            dropped = self._lows_link.run(
                TRIM,
                [self._keys.high],
                [int(1000 * policy.keep), int(1000 * policy.max_age), policy.max_high],
            )
        except RelayConnectError as error:
            log.debug("trimmed later: %s", error)
            return
        if dropped:
            self._counters.unread_dropped += dropped
            log.error(
                "%d events that a group had not dealt with were dropped for their age "
                "or number; is every group of the relay %r still read?",
                dropped,
                self._keys.name,
            )
