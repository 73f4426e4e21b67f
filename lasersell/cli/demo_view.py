"""How a demonstration is shown: a live table, plain lines, or one JSON document."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lasersell._clock import SYSTEM_CLOCK
from lasersell.cli.demo_record import Record, Row
from lasersell.cli.demo_scenario import DEADLINE_SEC, STRATEGY
from lasersell.cli.screen import sparkline
from lasersell.session.positions import PositionHandle

__all__ = ["JsonView", "LiveView", "PlainView", "View"]

_TITLE = (
    f"target {STRATEGY.target_profit_pct:g} %, stop {STRATEGY.stop_loss_pct:g} %, "
    f"trailing stop {STRATEGY.trailing_stop_pct:g} points, "
    f"deadline {DEADLINE_SEC:g} s"
)
_LINES = 9


class View:
    """
    Shows nothing; what every view starts from.

    Args:
        interval: Seconds between two looks at the positions.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._started = SYSTEM_CLOCK.monotonic()
        self._refreshed = self._started

    @property
    def elapsed(self) -> float:
        """Seconds since the demonstration began."""
        return SYSTEM_CLOCK.monotonic() - self._started

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, line: str) -> None:
        """Tell something that happened."""

    def refresh(self, record: Record) -> None:
        """Show the positions as they are now, if it is time to."""
        now = SYSTEM_CLOCK.monotonic()
        if now - self._refreshed >= self._interval:
            self._refreshed = now
            self.show(record)

    def show(self, record: Record) -> None:
        """Show the positions as they are now."""

    def conclude(self, record: Record) -> None:
        """Show what became of each position."""


class PlainView(View):
    """Lines of text, where there is no terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(interval=1.0)
        self._console = console

    def __enter__(self) -> View:
        self._console.print(_TITLE, highlight=False)
        return self

    def say(self, line: str) -> None:
        """Print the line and when it was."""
        self._console.print(f"{self.elapsed:5.1f} s  {line}", highlight=False)

    def show(self, record: Record) -> None:
        """Print the profits of the open positions."""
        profits = [
            f"{row.name} {row.profits_pct[-1]:+.1f} %"
            for row in record.rows.values()
            if row.closed is None and row.handle is not None
        ]
        if profits:
            self.say("  ".join(profits))

    def conclude(self, record: Record) -> None:
        """Print the summary."""
        self._console.print(_summary(record, self.elapsed))


class LiveView(View):
    """A table that is drawn over and over in a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(interval=0.1)
        self._console = console
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Add a line below the table."""
        self._lines.append(f"{self.elapsed:5.1f} s  {line}")

    def show(self, record: Record) -> None:
        """Draw the table and the last lines."""
        heading = Text(f"lasersell demo: {_TITLE}", style="bold")
        lines = Text("\n".join(self._lines), style="dim")
        self._live.update(Group(heading, _positions(record), lines), refresh=True)

    def conclude(self, record: Record) -> None:
        """Leave the summary on the screen."""
        self._live.stop()
        self._console.print(_summary(record, self.elapsed))


class JsonView(View):
    """One JSON document at the end, for machines."""

    def __init__(self) -> None:
        super().__init__(interval=60.0)

    def conclude(self, record: Record) -> None:
        """Print the document."""
        click.echo(json.dumps(_document(record, self.elapsed), indent=2))


def _positions(record: Record) -> Table:
    table = Table("", "wallet", "profit", "", "", "peak", "deadline", "", box=None)
    for row in record.rows.values():
        if row.handle is not None:
            table.add_row(*_position(row, row.handle))
    return table


def _position(row: Row, handle: PositionHandle) -> list[str | Text]:
    return [
        row.name,
        f"{handle.wallet_pubkey[:5]}…",
        _amount(handle, handle.profit_units),
        _percent(handle.pnl_pct),
        sparkline(row.profits_pct).rjust(row.profits_pct.maxlen or 0),
        _percent(handle.peak_pnl_pct),
        _time_left(row, handle),
        Text(row.state, style="green" if row.closed else ""),
    ]


def _summary(record: Record, took_sec: float) -> Group:
    columns = ("", "to show", "reason", "profit", "in %", "after", "signature", "")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0))
    for row in record.rows.values():
        table.add_row(row.name, row.role.exit, *_exit_cells(row), _verdict(row))
    return Group("", table, "", *_totals(record, took_sec))


def _exit_cells(row: Row) -> list[str]:
    if row.exit is None or row.handle is None:
        return [""] * 5
    return [
        row.exit.reason,
        _amount(row.handle, row.exit.profit_units),
        _percent(row.exit.profit_pct),
        f"{row.exit.latency_ms} ms",
        "" if row.sold is None else row.sold.signature[:8],
    ]


def _verdict(row: Row) -> Text:
    return Text("ok", "green") if row.is_as_expected else Text("missing", "red")


def _totals(record: Record, took_sec: float) -> list[Text]:
    arrived = sum(row.is_as_expected for row in record.rows.values())
    reopened = sum(row.reopened for row in record.rows.values())
    return [
        Text(
            f"{arrived} of {len(record.rows)} expected exits were signed, landed and "
            "closed their position"
        ),
        Text(
            f"{record.reconnects} forced reconnect, {reopened} positions carried over"
        ),
        Text(f"{record.pnl_updates} profits in {took_sec:.1f} s"),
        Text("sell_now is an exit the client asked for, here by its deadline", "dim"),
        *(Text(f"unexpected: {problem}", "red") for problem in record.problems),
    ]


def _document(record: Record, took_sec: float) -> dict[str, Any]:
    return {
        "ok": record.is_success,
        "took_sec": round(took_sec, 3),
        "reconnects": record.reconnects,
        "pnl_updates": record.pnl_updates,
        "problems": record.problems,
        "exits": [_exit(row) for row in record.rows.values()],
    }


def _exit(row: Row) -> dict[str, Any]:
    return {
        "ok": row.is_as_expected,
        "expected": row.role.exit,
        "reason": row.exit and row.exit.reason,
        "profit_units": row.exit and row.exit.profit_units,
        "profit_pct": row.exit and round(row.exit.profit_pct, 4),
        "latency_ms": row.exit and row.exit.latency_ms,
        "signature": row.sold and row.sold.signature,
        "slot": row.sold and row.sold.slot,
        "sale_ms": row.sold and round(row.sold.took_ms, 3),
        "closed": row.closed,
        "closed_slot": row.closed_slot,
        "reopened": row.reopened,
        "position": row.handle and row.handle.to_dict(),
    }


def _amount(handle: PositionHandle, quote_units: int | None) -> str:
    if quote_units is None:
        return ""
    if handle.quote is None or handle.quote_decimals is None:
        return f"{quote_units:+d}"
    return f"{quote_units / 10**handle.quote_decimals:+.4f} {handle.quote}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} %"


def _time_left(row: Row, handle: PositionHandle) -> str:
    if row.exit is not None or handle.opened_at_ms is None:
        return ""
    # Server and client share this machine's clock.
    age_sec = (SYSTEM_CLOCK.wall_ms() - handle.opened_at_ms) / 1000
    return f"{max(0.0, DEADLINE_SEC - age_sec):.1f} s"
