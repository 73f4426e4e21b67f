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
from lasersell.protocol.client import RequestExitSignal
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
from lasersell.stream.lifecycle import (
    CommandExpired,
    Disconnected,
    ExitRequestUnanswered,
    PositionLost,
    Resynced,
)
from lasersell.stream.reader import LOW_LANE, Message
from lasersell.stream.supervisor import Supervisor

__all__ = ["DeadlineSettings", "SessionCore"]

Events = list[StreamEvent]

ASKED_TOGETHER = 100
"""Exits asked for in one step: of very many, the first must not wait for the last."""


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
        self.scheduler = DeadlineScheduler(
            self._ask_for_exits, clock, self._poke, timers
        )
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
            CommandExpired: self._expired,
            ExitRequestUnanswered: self._unanswered,
        }

    def attach(self, stream: Supervisor[StreamEvent]) -> None:
        """Take the supervisor whose messages are applied here."""
        self._stream = stream
        stream.chores = self.scheduler
        stream.on_untracked = self._untracked
        self.book.recognition = stream.intent.recognition

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
        self._anchor(opened.handle)
        overdue = self._arm(opened.handle, is_new=opened.is_new)
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

    def _expired(self, message: CommandExpired, highs: Events) -> None:
        command = message.command
        account = None
        if isinstance(command, RequestExitSignal):
            account = command.token_account
        highs.append(StreamEvent(message, self._on_account(account), self._arrival))

    def _unanswered(self, message: ExitRequestUnanswered, highs: Events) -> None:
        handle = self._on_account(message.token_account)
        highs.append(StreamEvent(message, handle, self._arrival))

    def _on_account(self, token_account: str | None) -> PositionHandle | None:
        return None if token_account is None else self.book.by_account(token_account)

    # Deadlines
    #
    # The intent's lock guards the settings, what is armed and what was asked for,
    # so that a change of the settings comes wholly before or after a deadline.

    def set_deadline_timeout(self, timeout: float) -> None:
        """Change the deadline, in seconds; re-times every open position at once, 0 is off."""
        stream = self._attached()
        with stream.intent_lock:
            self.deadlines = attrs.evolve(self.deadlines, timeout=timeout)
            stream.intent.cancel_deadlines()
            handles = [h for h in self.book.open() if self._has_deadline(h)]
            for handle in handles:
                handle.deadline_fired = False
            self.scheduler.replace((h, self._deadline_of(h)) for h in handles)

    def deadline_remaining(self, handle: PositionHandle) -> float | None:
        """Return the seconds until a position's exit is asked for; None if it has no deadline."""
        at = self.scheduler.due_at(handle)
        return None if at is None else max(0.0, at - self._clock.monotonic())

    def _untracked(self, token_account: str) -> None:
        """Note that the user does not want a position tracked; any thread, the lock is held."""
        handle = self.book.by_account(token_account)
        if handle is not None:
            handle.is_untracked = True
            self.scheduler.disarm(handle)

    def _has_deadline(self, handle: PositionHandle) -> bool:
        return (
            self.deadlines.timeout > 0
            and not handle.watched
            and not handle.is_untracked
        )

    def _deadline_of(self, handle: PositionHandle) -> float:
        return max(handle.counts_from + self.deadlines.timeout, handle.excused_until)

    def _anchor(self, handle: PositionHandle) -> None:
        """Count from the opening, where it is known and earlier than what was known."""
        # Also when it is named again: while this machine slept its clock stood still.
        arrival, opened_at = self._arrival, handle.opened_at_ms
        if (
            self.deadlines.counted_from == "opened"
            and opened_at is not None
            and arrival.server_ms is not None
        ):
            age = max(0.0, arrival.server_ms - opened_at) / 1000
            handle.counts_from = min(handle.counts_from, arrival.at - age)

    def _arm(self, handle: PositionHandle, *, is_new: bool) -> bool:
        """Arm a deadline that has not fired yet; return whether it had passed unseen."""
        # Without the lock, for speed: a deadline that is set just now is armed by
        # who sets it, since the position is in the book already.
        if not self._has_deadline(handle):
            return False
        now = self._arrival.at
        with self._attached().intent_lock:
            if handle.deadline_fired or not self._has_deadline(handle):
                return False
            overdue = is_new and self._deadline_of(handle) <= now
            if overdue:
                handle.excused_until = now + self.deadlines.grace
            self.scheduler.arm(handle, self._deadline_of(handle))
        return overdue

    def _ask_for_exits(self, handles: list[PositionHandle]) -> None:
        stream = self._attached()
        for first in range(0, len(handles), ASKED_TOGETHER):
            with stream.intent_lock:
                some = handles[first : first + ASKED_TOGETHER]
                messages = [self._ask_for_exit(handle) for handle in some]
                # Still under the lock: the connection that was looked at is the one
                # that is written to, or none.
                stream.post(*(message for message in messages if message is not None))

    def _ask_for_exit(self, handle: PositionHandle) -> RequestExitSignal | None:
        stream = self._attached()
        is_due = (
            handle.is_open
            and self._has_deadline(handle)
            # Not re-timed since the Timer took it.
            and self.scheduler.due_at(handle) is None
            # The reader tells the intent of a position first, the book second:
            # in between, another one may have taken the account.
            and stream.intent.is_current(
                handle.opened,
                is_here=handle.is_here,
                heard_until_ms=handle.heard_until_ms,
            )
        )
        if stream.is_over or not is_due:
            return None
        handle.deadline_fired = True
        return stream.intent.request_exit(
            handle.token_account,
            None,
            self._clock.monotonic(),
            is_live=stream.is_live,
            by_deadline=True,
        )

    def _attached(self) -> Supervisor[StreamEvent]:
        assert self._stream is not None, "attached before its stream starts"
        return self._stream

    def _poke(self) -> None:
        self._attached().poke()
