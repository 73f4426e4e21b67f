"""A session as seen from outside: its snapshots, and its last events."""

from __future__ import annotations

import logging
import os
from collections import deque

from lasersell._clock import SYSTEM_CLOCK, Clock
from lasersell.cli.narrate import EVENT_TYPES, narrate
from lasersell.cli.snapshot import EventLine, Kind, PositionRow, Snapshot, Status
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession

__all__ = ["EventLog", "Monitor"]

_EVENTS = 64


class EventLog(logging.Handler):
    """The last events; also what a log goes to. Any thread may add and read."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self._clock = clock
        # Adding and copying are one step each.
        self._lines: deque[EventLine] = deque(maxlen=_EVENTS)

    def say(self, text: str, kind: Kind = "plain") -> None:
        """Add a line."""
        line = EventLine(at_ms=self._clock.wall_ms(), text=text, kind=kind)
        self._lines.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Add a line of a log."""
        is_bad = record.levelno >= logging.ERROR
        is_warning = record.levelno >= logging.WARNING
        self.say(
            record.getMessage(),
            "bad" if is_bad else "warning" if is_warning else "plain",
        )

    def lines(self) -> tuple[EventLine, ...]:
        """Return the lines, oldest first."""
        return tuple(self._lines.copy())


class Monitor:
    """
    Looks at a session, whoever uses it. Any thread may call any method.

    It takes events by callbacks, so the session's ``run()`` or ``start()`` must be on.

    Args:
        session: The session.
        endpoint: Where its stream is.
        wallets: Whose positions it tracks.
        events: Where to write down what happens.
        clock: Where time comes from; the session's.
    """

    def __init__(
        self,
        session: StreamSession,
        endpoint: str,
        wallets: tuple[str, ...],
        events: EventLog,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._wallets = wallets
        self._events = events
        self._clock = clock
        # Positions whose exit was asked for here, by token account. Adding and
        # discarding are one step each.
        self._asked: set[str] = set()
        for event_type in EVENT_TYPES:
            session.on(event_type, self._see)

    def _see(self, event: StreamEvent) -> None:
        if event.handle is not None and event.type != "position_opened":
            self._asked.discard(event.handle.token_account)
        told = narrate(event)
        if told is not None:
            self._events.say(*told)

    def request_exit(self, token_account: str) -> None:
        """
        Ask for the exit of a position.

        Raises:
            LaserSellError: It cannot be asked for now.
        """
        position = self._session.position_by_token_account(token_account)
        if position is not None:
            name = position.token_symbol or position.mint
            self._events.say(f"{name}: asking for its exit")
        # Before it is sent: the signal may be seen before this thread goes on.
        self._asked.add(token_account)
        try:
            self._session.request_exit_signal(token_account)
        except BaseException:
            self._asked.discard(token_account)
            raise

    def snapshot(self) -> Snapshot:
        """Return the session as it is now."""
        session = self._session
        stats = session.stats()
        error = session.error
        return Snapshot(
            at_ms=self._clock.wall_ms(),
            pid=os.getpid(),
            endpoint=self._endpoint,
            state=stats.state,
            error=None if error is None else str(error),
            round_trip_ms=_to_ms(stats.round_trip),
            silent_sec=stats.last_message_age,
            reconnects=stats.reconnects,
            frames_in=stats.frames_in,
            dropped=stats.low.dropped,
            wallets=self._wallets,
            positions=tuple(self._row(handle) for handle in session.positions()),
            events=self._events.lines(),
        )

    def _row(self, handle: PositionHandle) -> PositionRow:
        liquidity = handle.liquidity
        return PositionRow(
            token_account=handle.token_account,
            mint=handle.mint,
            symbol=handle.token_symbol,
            wallet_pubkey=handle.wallet_pubkey,
            status=self._status(handle),
            is_watched=handle.watched,
            age_sec=max(0.0, self._clock.monotonic() - handle.counts_from),
            deadline_sec=self._session.deadline_remaining(handle),
            entry_quote_units=handle.entry_quote_units,
            profit_units=handle.profit_units,
            pnl_pct=handle.pnl_pct,
            peak_pnl_pct=handle.peak_pnl_pct,
            quote=handle.quote,
            quote_decimals=handle.quote_decimals,
            liquidity_trend=None if liquidity is None else liquidity.liquidity_trend,
        )

    def _status(self, handle: PositionHandle) -> Status:
        if handle.is_untracked:
            return "untracked"
        if not handle.is_here:
            return "away"
        if handle.token_account in self._asked:
            return "asked"
        if handle.exit_attempts:
            return "signalled"
        return "asked" if handle.deadline_fired else "open"


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
