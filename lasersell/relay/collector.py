"""
From the events of a session to entries of the relay.
"""

from __future__ import annotations

import logging

import attrs
import msgspec

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.errors import LaserSellError, RelayError
from lasersell.protocol.server import (
    ExitSignalWithTx,
    LiquiditySnapshot,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
)
from lasersell.relay.backlog import (
    BATCH,
    HighBacklog,
    HighItem,
    LowBacklog,
    LowItem,
)
from lasersell.relay.codec import (
    HighEntry,
    PositionRecord,
    encode_message,
    encode_record,
    record_of,
    to_json,
)
from lasersell.relay.continuity import Continuity, Known
from lasersell.relay.intent import StoredIntent, of_account, of_exit
from lasersell.relay.link import RedisClock
from lasersell.relay.snapshot import Snapshot
from lasersell.session.events import Arrival, EventFacts, EventMessage, StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.lifecycle import Connected, Disconnected, Gap, PositionLost
from lasersell.stream.reader import LOW_LANE

__all__ = ["Collector"]

log = logging.getLogger(__name__)

LOOK_SEC = 0.5
"""How often it is looked whether the stream has had its time to name positions again."""
GATHER_SEC = 0.01
"""How long a low event waits for others to share a write with; a high one never does."""


class Collector:
    """
    Takes the events of a session and makes entries of them; for one thread.

    Args:
        session: Whose events.
        highs: Where the high ones go.
        lows: Where the low ones go.
        clock: Knows what time it is in Redis.
        source: What makes this publisher's keys unlike those of any other.
        before: What the publisher before left.
        intent: What was asked of it.
        resync_window: Quiet time, in seconds, until a position that the stream has not
            named again counts as lost.
    """

    def __init__(
        self,
        session: StreamSession,
        highs: HighBacklog,
        lows: LowBacklog,
        clock: RedisClock,
        source: str,
        before: Snapshot,
        intent: StoredIntent,
        resync_window: float,
    ) -> None:
        self.is_over = False
        """Whether the session has ended, and all that it brought is collected."""
        self.error: LaserSellError | None = None
        """What ended it, if something did."""
        self.forgotten: list[str] = []
        """What need not be stored as intent any more; whoever forgets it clears this."""
        self._session = session
        self._highs = highs
        self._lows = lows
        self._clock = clock
        self._source = source
        self._before = before
        self._intent = intent
        self._resync_window = resync_window
        self._continuity = Continuity(source, before.positions)
        self._connections = 0
        self._settle_at: Deadline | None = None
        self._records: dict[str, tuple[PositionHandle, Known]] = {}
        self._gathered: list[LowItem] = []
        session.let_low_gather(GATHER_SEC)
        if before.state:
            self._announce(Disconnected(cause="the relay has another publisher"))

    @property
    def epoch(self) -> str:
        """The present connection, unlike any other of any publisher; any thread may ask."""
        return f"{self._source}/{self._connections}"

    def records(self) -> list[tuple[str, bytes]]:
        """Return the record of each open position, by its key."""
        return [
            (known.key, encode_record(self._record(handle, known)))
            for handle, known in self._records.values()
            if handle.is_open
        ]

    # Collecting

    def collect(self, timeout: float) -> None:
        """Take events until a high one waits or the session ends; blocks so long at most."""
        deadline = Deadline(timeout)
        # Here too: of low events there may be no end.
        self._settle()
        while not (self.is_over or self._highs.is_full):
            event = self._take_next(0.0)
            waiting = self._highs.waiting
            if waiting:
                if event is None or waiting >= BATCH or type(event.message) in LOW_LANE:
                    return
            elif deadline.has_passed():
                return
            elif event is None:
                self._await_next(deadline)

    def collect_for(self, seconds: float) -> None:
        """Take all events of a time; blocks for it, or until there is no room for more."""
        deadline = Deadline(seconds)
        while not (self.is_over or self._highs.is_full or deadline.has_passed()):
            if self._take_next(0.0) is None:
                self._await_next(deadline)

    def _await_next(self, deadline: Deadline) -> None:
        """While nothing waits, pass on the low events and look what is lost."""
        self._pass_on()
        if not self._continuity.is_settled:
            self._settle()
            deadline = deadline.within(LOOK_SEC)
        self._take_next(deadline.remaining())

    def _take_next(self, timeout: float | None) -> StreamEvent | None:
        """Take the next event; None if there was none in time, or will be none."""
        try:
            event = self._session.recv(timeout)
        except TimeoutError:
            return None
        except LaserSellError as error:
            self._end(error)
            return None
        if event is None:
            self._end(None)
            return None
        try:
            self._take(event)
        except Exception as error:
            log.exception("a mistake of ours ended the publisher's term")
            self._end(RelayError(f"a mistake of ours: {error!r}"))
        return event

    def _pass_on(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._lows.put(gathered)

    def _end(self, error: LaserSellError | None) -> None:
        self._pass_on()
        self.error = error
        self.is_over = True

    def _settle(self) -> None:
        """Give up what the stream has had its time to name again."""
        if self._settle_at is None or not self._settle_at.has_passed():
            return
        for opened, record in self._continuity.give_up():
            self._lose(opened, record, "not_reemitted")

    # Events

    def _take(self, event: StreamEvent) -> None:
        message = event.message
        try:
            if type(message) in LOW_LANE:
                self._take_low(event)
            else:
                self._take_high(event)
        except LaserSellError as error:
            # One that cannot be encoded must not end those that can.
            log.error("a %s could not be relayed: %s", message.type, error)

    def _take_low(self, event: StreamEvent) -> None:
        payload, born_here = encode_message(event.message)
        if born_here is not None:
            # What came undecodable is of no use to anybody but us.
            return
        key = latest = ""
        if event.handle is not None and isinstance(
            event.message, (PnlUpdate, LiquiditySnapshot)
        ):
            key = self._continuity.known(event.handle).key
            latest = f"{key} {event.message.type}"
        arrival = event.arrival
        self._gathered.append(
            LowItem(
                payload,
                arrival.at,
                arrival.server_ms,
                self.epoch,
                key,
                latest,
                self._highs.put_count,
            )
        )
        if len(self._gathered) >= BATCH:
            self._pass_on()

    def _take_high(self, event: StreamEvent) -> None:
        message, handle = event.message, event.handle
        if isinstance(message, Connected):
            self._connections += 1
            self._settle_at = Deadline(self._resync_window)
        facts, known, is_resumed = event.facts, None, False
        if handle is not None and isinstance(message, PositionOpened):
            known, is_resumed, facts = self._open(handle, message, facts)
        elif handle is not None:
            known = self._continuity.known(handle)
        if isinstance(message, ExitSignalWithTx) and handle is not None and known:
            attempts = known.attempts({message.level_index: event.exit_attempt or 1})
            facts = attrs.evolve(facts, exit_attempt=attempts[message.level_index])
        record = None
        if handle is not None and known is not None:
            record = self._record(handle, known)
            self._note(handle, known, message)
        self._put(message, event.arrival, facts, record)
        if isinstance(message, Connected) and self._connections == 1:
            self._announce_gap()
        if is_resumed and handle is not None:
            self._restore(handle)

    def _open(
        self, handle: PositionHandle, message: PositionOpened, facts: EventFacts
    ) -> tuple[Known, bool, EventFacts]:
        self._settle_at = Deadline(self._resync_window)
        known, is_resumed, replaced = self._continuity.opened(handle, message)
        if replaced is not None:
            self._lose(message, replaced, "replaced")
        if is_resumed and known.previous is not None:
            facts = attrs.evolve(
                facts,
                reopened=True,
                previous_position_id=known.previous.position_id,
                deadline_overdue=False,
            )
        return known, is_resumed, facts

    def _record(self, handle: PositionHandle, known: Known) -> PositionRecord:
        attempts = known.attempts(handle.exit_attempts)
        return record_of(handle, known.key, self.epoch, attempts)

    def _note(
        self, handle: PositionHandle, known: Known, message: EventMessage
    ) -> None:
        account = handle.token_account
        if handle.is_open and handle.known:
            self._records[known.key] = (handle, known)
        else:
            self._records.pop(known.key, None)
        if isinstance(message, ExitSignalWithTx):
            self.forgotten.append(of_exit(account))
        elif isinstance(message, (PositionClosed, PositionLost)):
            self.forgotten += of_account(account)

    def _lose(
        self, opened: PositionOpened, record: PositionRecord, reason: str
    ) -> None:
        """Say that a position of the publisher before is gone."""
        message = PositionLost(
            position_id=record.position_id,
            wallet_pubkey=opened.wallet_pubkey,
            mint=opened.mint,
            token_account=opened.token_account,
            reason=reason,
        )
        record.status = "lost"
        self._put(message, self._now(), EventFacts(), record)
        self.forgotten += of_account(opened.token_account)

    def _restore(self, handle: PositionHandle) -> None:
        """Ask again for what was asked of a position before this publisher."""
        account, intent, session = handle.token_account, self._intent, self._session
        strategy, asked = intent.strategy_of(account), intent.exit_of(account)
        try:
            if strategy is not None:
                session.update_position_strategy(handle, strategy)
            if asked is not None:
                session.request_exit_signal(account, asked.slippage_bps)
            if intent.is_untracked(account):
                session.close_position(handle)
        except LaserSellError as error:
            log.warning("what was asked of %r was not asked again: %s", handle, error)

    # Putting

    def _announce_gap(self) -> None:
        if not self._before.state:
            return
        now = SYSTEM_CLOCK.wall_ms()
        last_heard = int(self._before.low.partition(b"-")[0]) or now
        self._announce(
            Gap(
                from_ms=min(last_heard, now),
                to_ms=now,
                attempts=1,
                restored=("strategy", "wallets"),
            )
        )

    def _announce(self, message: EventMessage) -> None:
        self._put(message, self._now(), EventFacts(), None)

    def _now(self) -> Arrival:
        return Arrival(SYSTEM_CLOCK.monotonic(), None)

    def _put(
        self,
        message: EventMessage,
        arrival: Arrival,
        facts: EventFacts,
        record: PositionRecord | None,
    ) -> None:
        payload, born_here = encode_message(message)
        entry = HighEntry(
            message=msgspec.Raw(payload),
            arrived_ms=self._clock.to_redis(arrival.at),
            epoch=self.epoch,
            born_here=born_here,
            server_ms=arrival.server_ms,
            position=record,
            exit_attempt=facts.exit_attempt,
            reopened=facts.reopened,
            previous_position_id=facts.previous_position_id,
            deadline_overdue=facts.deadline_overdue,
        )
        item = HighItem(to_json(entry))
        if record is not None and record.known:
            item.key = record.key
            item.record = encode_record(record) if record.status == "open" else b""
        self._highs.put(item)
