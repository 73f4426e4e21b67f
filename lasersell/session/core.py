"""
What a session does with each message: positions, deadlines, events.

The supervisor and its threads hold this, never the facade. Messages are applied
by one thread at a time; the rest may be called from any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from lasersell._clock import Clock
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    LiquiditySnapshot,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    TradeTick,
)
from lasersell.session.deadlines import Cancellable, DeadlineScheduler, start_timer
from lasersell.session.events import Arrival, EventFacts, StreamEvent
from lasersell.session.positions import PositionBook, PositionHandle
from lasersell.stream.lifecycle import Disconnected, PositionLost, Resynced
from lasersell.stream.reader import LOW_LANE, Message
from lasersell.stream.supervisor import Supervisor

__all__ = ["DeadlineSettings", "SessionCore"]

Events = list[StreamEvent]


@attrs.frozen(kw_only=True)
class DeadlineSettings:
    """How deadlines are counted. Times are in seconds."""

    timeout: float = 0.0
    """Longest time to hold a position; 0 is off."""
    counted_from: Literal["opened", "seen"] = "opened"
    """From ``opened_at_ms`` by the server's clock where given, or always from arrival."""
    grace: float = 5.0
    """How long one that was overdue when first seen is left alone."""


class SessionCore:
    """
    Applies messages to the book of positions and makes events of them.

    Args:
        deadlines: How deadlines are counted.
        clock: Where time comes from.
        timers: What starts a timer.
    """

    def __init__(
        self,
        deadlines: DeadlineSettings,
        clock: Clock,
        timers: Callable[[float, Callable[[], None]], Cancellable] = start_timer,
    ) -> None:
        self.book = PositionBook()
        self.deadlines = deadlines
        self.scheduler = DeadlineScheduler(self._ask_for_exits, clock, timers)
        self._clock = clock
        self._stream: Supervisor[StreamEvent] | None = None
        self._arrival = Arrival(clock.monotonic(), None)
        self._by_id = self.book.by_id
        self._appliers: dict[type, Callable[[Any, Events], None]] = {
            PositionOpened: self._opened,
            PositionClosed: self._closed,
            ExitSignalWithTx: self._exit_signal,
            BalanceUpdate: self._balance,
            Disconnected: self._disconnected,
            Resynced: self._resynced,
        }

    def attach(self, stream: Supervisor[StreamEvent]) -> None:
        """Take the supervisor whose messages are applied here."""
        self._stream = stream
        stream.chores = self.scheduler

    # Applying

    def begin(self, now: float) -> None:
        """Note when what follows arrived."""
        stream = self._stream
        server_ms = None if stream is None else stream.round_trips.server_now_ms()
        self._arrival = Arrival(now, server_ms)

    def apply(self, message: Message, highs: Events, lows: Events) -> None:
        """Take one message; put its event, and those it implies, in their lanes."""
        kind = type(message)
        if kind is PnlUpdate:
            # Spelled out here, and without a cast: this branch is nearly every
            # frame, and a call costs a tenth of what is done for one.
            pnl: Any = message
            handle = self._by_id.get(pnl.position_id)
            if handle is not None:
                handle.pnl = pnl
                peak = handle.peak_profit_units
                if peak is None or pnl.profit_units > peak:
                    handle.peak_profit_units = pnl.profit_units
            lows.append(StreamEvent(pnl, handle, self._arrival))
        elif kind in LOW_LANE:
            lows.append(self._low_event(message))
        else:
            applier = self._appliers.get(kind)
            if applier is not None:
                applier(message, highs)
            else:
                highs.append(StreamEvent(message, None, self._arrival))

    def _low_event(self, message: Message) -> StreamEvent:
        handle = None
        if isinstance(message, LiquiditySnapshot):
            handle = self._by_id.get(message.position_id)
            if handle is not None:
                handle.liquidity = message
        elif isinstance(message, TradeTick):
            handle = self._by_id.get(message.position_id)
        return StreamEvent(message, handle, self._arrival)

    def _opened(self, message: PositionOpened, highs: Events) -> None:
        opened = self.book.opened(message, self._arrival.at)
        if opened.replaced is not None:
            self._lost(opened.replaced, "replaced", highs)
        overdue = opened.is_new and self._arm(opened.handle)
        if opened.reopened and self.scheduler.due_at(opened.handle) is None:
            self._arm_again(opened.handle)
        facts = EventFacts(
            reopened=opened.reopened,
            previous_position_id=opened.previous_position_id,
            deadline_overdue=overdue,
        )
        highs.append(StreamEvent(message, opened.handle, self._arrival, facts))

    def _closed(self, message: PositionClosed, highs: Events) -> None:
        handle = self.book.closed(message, self._arrival.at)
        if handle is not None:
            self.scheduler.disarm(handle)
        highs.append(StreamEvent(message, handle, self._arrival))

    def _exit_signal(self, message: ExitSignalWithTx, highs: Events) -> None:
        handle, attempt = self.book.exit_signal(message, self._arrival.at)
        facts = EventFacts(exit_attempt=attempt)
        highs.append(StreamEvent(message, handle, self._arrival, facts))

    def _balance(self, message: BalanceUpdate, highs: Events) -> None:
        highs.append(StreamEvent(message, self.book.balance(message), self._arrival))

    def _disconnected(self, message: Disconnected, highs: Events) -> None:
        self.book.disconnected()
        highs.append(StreamEvent(message, None, self._arrival))

    def _resynced(self, _: Resynced, highs: Events) -> None:
        for handle in self.book.resynced(self._arrival.at):
            self._lost(handle, "not_reemitted", highs)

    def _lost(self, handle: PositionHandle, reason: str, highs: Events) -> None:
        self.scheduler.disarm(handle)
        handle.deadline_fired = False
        message = PositionLost(
            position_id=handle.position_id,
            wallet_pubkey=handle.wallet_pubkey,
            mint=handle.mint,
            token_account=handle.token_account,
            reason=reason,
        )
        highs.append(StreamEvent(message, handle, self._arrival))

    # Deadlines

    def set_deadline_timeout(self, timeout: float) -> None:
        """Change the deadline, in seconds; re-times every open position at once, 0 is off."""
        # First the setting, then the positions: one that opens meanwhile sees
        # the setting, or is among the positions.
        self.deadlines = attrs.evolve(self.deadlines, timeout=timeout)
        self.scheduler.clear()
        stream = self._stream
        if stream is not None:
            with stream.intent_lock:
                stream.intent.cancel_deadlines()
        for handle in self.book.open():
            if self._has_deadline(handle):
                handle.deadline_fired = False
                self.scheduler.arm(handle, handle.counts_from + timeout)

    def deadline_remaining(self, handle: PositionHandle) -> float | None:
        """Return the seconds until a position's exit is asked for; None if it has no deadline."""
        at = self.scheduler.due_at(handle)
        return None if at is None else max(0.0, at - self._clock.monotonic())

    def untrack(self, handle: PositionHandle) -> None:
        """Note that the user does not want this position tracked."""
        handle.is_untracked = True
        self.scheduler.disarm(handle)

    def _has_deadline(self, handle: PositionHandle) -> bool:
        return (
            self.deadlines.timeout > 0
            and not handle.watched
            and not handle.is_untracked
        )

    def _arm(self, handle: PositionHandle) -> bool:
        """Arm a new position's deadline; return whether it had passed already."""
        arrival, opened_at = self._arrival, handle.opened_at_ms
        if (
            self.deadlines.counted_from == "opened"
            and opened_at is not None
            and arrival.server_ms is not None
        ):
            handle.counts_from -= max(0.0, arrival.server_ms - opened_at) / 1000
        if not self._has_deadline(handle):
            return False
        at = handle.counts_from + self.deadlines.timeout
        overdue = at <= arrival.at
        self.scheduler.arm(handle, arrival.at + self.deadlines.grace if overdue else at)
        return overdue

    def _arm_again(self, handle: PositionHandle) -> None:
        # A position that was given up and comes back; one whose deadline fired
        # while offline is asked for by the intent, which remembers.
        if self._has_deadline(handle) and not handle.deadline_fired:
            self.scheduler.arm(handle, handle.counts_from + self.deadlines.timeout)

    def _ask_for_exits(self, handles: list[PositionHandle]) -> None:
        stream = self._stream
        if stream is None:
            return
        now = self._clock.monotonic()
        messages = []
        with stream.intent_lock:
            for handle in handles:
                if not handle.is_open or handle.is_untracked:
                    continue
                handle.deadline_fired = True
                message = stream.intent.request_exit(
                    handle.token_account,
                    None,
                    now,
                    is_live=stream.is_live,
                    by_deadline=True,
                )
                if message is not None:
                    messages.append(message)
        stream.post(*messages)
