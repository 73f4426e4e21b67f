"""What happened in a demonstration, told by the events of its session."""

from __future__ import annotations

from collections import deque

from attrs import Factory, define

from lasersell.cli.demo_scenario import Role
from lasersell.cli.demo_seller import Sold
from lasersell.protocol.server import (
    ExitSignalWithTx,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    ServerError,
)
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import (
    Connected,
    Disconnected,
    PositionLost,
    Undecodable,
)

__all__ = ["ExitSeen", "Record", "Row"]

_HISTORY = 12


@define
class ExitSeen:
    """
    An exit signal, as ``recv()`` returned it.

    Attributes:
        reason: The server's reason.
        profit_units: Profit in quote units.
        profit_pct: Profit in percent of the entry.
        latency_ms: Milliseconds from the server's trigger to ``recv()``.
    """

    reason: str
    profit_units: int
    profit_pct: float
    latency_ms: int


@define
class Row:
    """
    One position of the scenario, from the market to its close.

    Attributes:
        role: The exit it is there to show.
        handle: The session's live handle; None until the position opened.
        profits_pct: Its newest profits, in percent of the entry.
        exit: The first exit signal; None until one came.
        sold: The sale that was submitted; None until it was confirmed.
        closed: The reason of its close; None while it is open.
        closed_slot: The slot of its close.
        booked: Signature of the sale that the ledger has; None if it has none.
        reopened: How often it came back after a reconnect.
    """

    role: Role
    handle: PositionHandle | None = None
    profits_pct: deque[float] = Factory(lambda: deque([0.0], maxlen=_HISTORY))
    exit: ExitSeen | None = None
    sold: Sold | None = None
    closed: str | None = None
    closed_slot: int | None = None
    booked: str | None = None
    reopened: int = 0

    @property
    def name(self) -> str:
        """What to call the position in a line for people."""
        return "?" if self.handle is None else str(self.handle.token_symbol)

    @property
    def state(self) -> str:
        """Where the position is in its life, in a word or two."""
        if self.handle is None:
            return "not bought yet"
        if self.closed is not None:
            return "closed"
        if self.sold is not None:
            return "sold"
        return "open" if self.exit is None else "exit signal"

    @property
    def is_as_expected(self) -> bool:
        """Whether the exit it was to show arrived, and its sale closed the position."""
        return (
            self.exit is not None
            and self.exit.reason == self.role.reason == self.closed
            and self.sold is not None
            and self.sold.slot == self.closed_slot
            and self.sold.signature == self.booked
        )


class Record:
    """
    What the session said so far.

    Attributes:
        rows: The positions of the scenario, by mint.
        reconnects: How often the stream came back.
        pnl_updates: How many profits arrived.
        problems: What should not have happened, in words.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.reconnects = 0
        self.pnl_updates = 0
        self.problems: list[str] = []

    def expect(self, mint: str, role: Role) -> None:
        """Add a position that is going to open."""
        self.rows[mint] = Row(role)

    @property
    def has_closed_one(self) -> bool:
        """Whether some position's life is over."""
        return any(row.closed for row in self.rows.values())

    @property
    def is_over(self) -> bool:
        """Whether every position was closed."""
        return all(row.closed for row in self.rows.values())

    @property
    def is_success(self) -> bool:
        """Whether every expected exit arrived, and the reconnect was survived."""
        rows = self.rows.values()
        return (
            all(row.is_as_expected for row in rows)
            and self.reconnects > 0
            and any(row.reopened for row in rows)
            and not self.problems
        )

    def see(self, event: StreamEvent, now_ms: int) -> str | None:
        """
        Take an event down.

        Args:
            event: What ``recv()`` returned.
            now_ms: When it did, in Unix milliseconds.

        Returns:
            A line for people; None where there is nothing to say.
        """
        match event.message:
            case Connected(number=number) if number > 1:
                self.reconnects += 1
                return "stream is back"
            case Disconnected(cause=cause):
                return f"stream lost: {cause}"
            case PositionOpened():
                return self._see_opened(event)
            case PnlUpdate():
                self.pnl_updates += 1
                self._see_profit(event)
            case ExitSignalWithTx():
                return self._see_exit(self._row(event), event.message, now_ms)
            case PositionClosed(reason=reason, slot=slot):
                self._row(event).closed = reason
                self._row(event).closed_slot = slot
                return f"{self._row(event).name} closed: {reason}"
            case ServerError() | PositionLost() | Undecodable():
                return self.complain(str(event.message))
        return None

    def sell(self, mint: str, sold: Sold) -> str:
        """Take down that a sale was confirmed; return a line for people."""
        row = self.rows[mint]
        row.sold = sold
        return (
            f"{row.name} sold: {sold.signature[:8]} landed in slot {sold.slot}, "
            f"{sold.took_ms:.0f} ms after the signal"
        )

    def book(self, mint: str, signature: str | None) -> None:
        """Take down which transaction the ledger has for a sale."""
        self.rows[mint].booked = signature

    def complain(self, problem: str) -> str:
        """Take down what should not have happened; return a line for people."""
        self.problems.append(problem)
        return f"unexpected: {problem}"

    def _row(self, event: StreamEvent) -> Row:
        assert event.handle is not None, "an event of a position has its handle"
        return self.rows[event.handle.mint]

    def _see_opened(self, event: StreamEvent) -> str:
        row = self._row(event)
        row.handle = event.handle
        if event.reopened:
            row.reopened += 1
            return f"{row.name} is still open, with its history"
        return f"{row.name} opened, to show the {row.role.exit}"

    def _see_profit(self, event: StreamEvent) -> None:
        row = self._row(event)
        if row.handle is not None and row.handle.pnl_pct is not None:
            row.profits_pct.append(row.handle.pnl_pct)

    def _see_exit(self, row: Row, signal: ExitSignalWithTx, now_ms: int) -> str:
        if row.exit is None and row.handle is not None:
            # The simulator leaves none of the optional fields out.
            profit_units = signal.profit_units or 0
            row.exit = ExitSeen(
                reason=signal.reason or "",
                profit_units=profit_units,
                profit_pct=100 * profit_units / row.handle.entry_quote_units,
                latency_ms=now_ms - (signal.triggered_at_ms or now_ms),
            )
        return f"{row.name} exit signal: {signal.reason}, ready to sign"
