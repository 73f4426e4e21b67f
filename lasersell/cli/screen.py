"""The screen of ``lasersell watch``: what is on it, and what a key does to it."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timezone
from typing import Literal

import attrs
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lasersell.cli.printable import printable
from lasersell.cli.snapshot import EventLine, PositionRow, Snapshot

__all__ = ["AskForExit", "Quit", "Screen", "sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 10
"""Profits in a sparkline, one a second."""
_BETWEEN_MS = 1000
_FEWEST_EVENTS = 5
_EDGE_LINES = 5
"""Lines that are neither positions nor events: two above, a heading, a rule, the keys."""

_STATE_STYLES = {
    "live": "bold green",
    "closed": "bold",
    "failed": "bold red",
}
_KIND_STYLES = {"plain": "", "good": "green", "warning": "yellow", "bad": "red"}
_TREND_STYLES = {"growing": "green", "draining": "red"}
_TREND_ARROWS = {"growing": "↑", "stable": "→", "draining": "↓"}
_STATUS_WORDS = {
    "open": "",
    "asked": "asked",
    "signalled": "exit!",
    "untracked": "off",
    "away": "away",
}


@attrs.frozen
class Quit:
    """The user wants to leave."""


@attrs.frozen
class AskForExit:
    """The user wants to sell, and has said so twice."""

    token_account: str


Action = Quit | AskForExit | None


class Screen:
    """
    The state of the screen. One thread uses it.

    Args:
        is_read_only: Whether exits cannot be asked for.
    """

    def __init__(self, *, is_read_only: bool) -> None:
        self.is_read_only = is_read_only
        self.notice = ""
        """What to tell in the last line until the next key."""
        self._snapshot: Snapshot | None = None
        self._histories: dict[str, deque[float]] = {}
        self._sampled_ms = 0
        self._selected: str | None = None
        self._index = 0
        self._asking: PositionRow | None = None
        self._is_paused = False

    # What comes in

    def show(self, snapshot: Snapshot) -> None:
        """Take what there is to see now; not while paused."""
        if self._is_paused:
            return
        self._snapshot = snapshot
        self._sample(snapshot)
        self._keep_selected(snapshot.positions)

    def _sample(self, snapshot: Snapshot) -> None:
        if snapshot.at_ms - self._sampled_ms < _BETWEEN_MS:
            return
        self._sampled_ms = snapshot.at_ms
        histories = {}
        for row in snapshot.positions:
            history = self._histories.get(row.token_account, deque(maxlen=_HISTORY))
            if row.pnl_pct is not None:
                history.append(row.pnl_pct)
            histories[row.token_account] = history
        self._histories = histories

    def _keep_selected(self, rows: tuple[PositionRow, ...]) -> None:
        """Stay on the position that was selected; on its neighbour, once it is gone."""
        accounts = [row.token_account for row in rows]
        if self._selected in accounts:
            self._index = accounts.index(self._selected)
        else:
            self._index = max(0, min(self._index, len(accounts) - 1))
            self._selected = accounts[self._index] if accounts else None
        if self._asking is not None and self._asking.token_account not in accounts:
            self._asking = None
            self.notice = "that position is gone"

    def press(self, key: str) -> Action:
        """Take a key; return what is to be done about it."""
        self.notice = ""
        if self._asking is not None:
            return self._answer(key)
        if key in ("q", "Q"):
            return Quit()
        if key in ("up", "k"):
            self._move(-1)
        elif key in ("down", "j"):
            self._move(1)
        elif key == "home":
            self._move(-len(self._rows))
        elif key == "end":
            self._move(len(self._rows))
        elif key == "p":
            self._is_paused = not self._is_paused
        elif key == "x":
            self._ask()
        return None

    @property
    def _rows(self) -> tuple[PositionRow, ...]:
        return () if self._snapshot is None else self._snapshot.positions

    def _move(self, steps: int) -> None:
        rows = self._rows
        if rows:
            self._index = max(0, min(self._index + steps, len(rows) - 1))
            self._selected = rows[self._index].token_account

    def _ask(self) -> None:
        if self.is_read_only:
            self.notice = "attached read-only: ask the process that holds the stream"
        elif not self._rows:
            self.notice = "there is no position to exit"
        elif self._rows[self._index].is_watched:
            self.notice = "this is a watched wallet's position, not yours"
        else:
            self._asking = self._rows[self._index]

    def _answer(self, key: str) -> Action:
        row, self._asking = self._asking, None
        assert row is not None, "somebody was asked"
        if key in ("y", "Y"):
            return AskForExit(row.token_account)
        self.notice = f"the exit of {printable(row.name)} was not asked for"
        return None

    # What goes out

    def render(self, width: int, height: int) -> Group:
        """Return exactly ``height`` lines that are ``width`` wide at most."""
        snapshot = self._snapshot
        if snapshot is None:
            return Group(_line(Text("waiting for the first snapshot"), width))
        room = max(2, height - _EDGE_LINES)
        row_count = max(1, min(len(snapshot.positions), room - _FEWEST_EVENTS))
        event_count = room - row_count
        return Group(
            _line(_title(snapshot, self.is_read_only, self._is_paused), width),
            _line(_totals(snapshot), width),
            self._table(row_count, width),
            _line(Text(f"─ last events {'─' * width}", style="dim"), width),
            *(_line(line, width) for line in _events(snapshot.events, event_count)),
            _line(self._footer(), width),
        )

    def _table(self, row_count: int, width: int) -> Table:
        table = Table(
            box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim"
        )
        # Nothing here ever takes a second line, whatever a token is called.
        for name, justify, wide in _COLUMNS:
            table.add_column(
                name,
                justify=justify,
                width=wide,
                no_wrap=True,
                overflow="ellipsis" if name == "token" else "crop",
            )
        table.width = min(width, _TABLE_WIDTH)
        first = max(0, min(self._index - row_count // 2, len(self._rows) - row_count))
        shown = self._rows[first : first + row_count]
        for row in shown:
            is_selected = row.token_account == self._selected
            history = self._histories.get(row.token_account, deque())
            # Reversed, colours would be those of what is behind the text.
            table.add_row(
                "▸" if is_selected else "",
                *_cells(row, history, is_coloured=not is_selected),
                style="reverse" if is_selected else "",
            )
        if not shown:
            table.add_row("", Text("none", style="dim"))
        return table

    def _footer(self) -> Text:
        if self._asking is not None:
            name = printable(self._asking.name)
            return Text(
                f"ask for the exit of {name} now? y yes, any other key no", "bold red"
            )
        if self.notice:
            return Text(printable(self.notice), style="bold yellow")
        keys = [("↑↓", "select"), ("x", "exit"), ("p", "pause"), ("q", "quit")]
        if self.is_read_only:
            keys.remove(("x", "exit"))
        if self._is_paused:
            keys = [(key, "go on" if key == "p" else word) for key, word in keys]
        parts = [Text.assemble((key, "bold"), f" {word}") for key, word in keys]
        return Text("   ").join(parts)


_Justify = Literal["left", "right"]

_COLUMNS: tuple[tuple[str, _Justify, int], ...] = (
    ("", "left", 1),
    ("token", "left", 9),
    ("age", "right", 6),
    ("left", "right", 6),
    ("profit", "right", 11),
    ("", "left", 4),
    ("%", "right", 7),
    ("", "left", _HISTORY),
    ("liquidity", "left", 10),
    ("", "left", 5),
)
_TABLE_WIDTH = sum(wide + 1 for _, _, wide in _COLUMNS) - 1


def _line(text: Text, width: int) -> Text:
    text.no_wrap = True
    text.truncate(width, overflow="crop")
    return text


def _title(snapshot: Snapshot, is_attached: bool, is_paused: bool) -> Text:
    style = _STATE_STYLES.get(snapshot.state, "bold yellow")
    text = Text.assemble(
        ("lasersell watch", "bold"), "  ", (f"● {snapshot.state}", style)
    )
    if is_paused:
        text.append("  paused", "bold reverse")
    if is_attached:
        text.append(f"  read-only, of process {snapshot.pid}", "dim")
    text.append(f"  {snapshot.endpoint}", "dim")
    return text


def _totals(snapshot: Snapshot) -> Text:
    if snapshot.error is not None:
        return Text(printable(snapshot.error), style="red")
    facts = [
        _count(len(snapshot.positions), "position"),
        _count(len(snapshot.wallets), "wallet"),
        *_profits(snapshot.positions),
    ]
    if snapshot.round_trip_ms is not None:
        facts.append(f"round trip {snapshot.round_trip_ms:.1f} ms")
    if snapshot.silent_sec is not None and snapshot.silent_sec >= 2:
        facts.append(f"silent for {_span(snapshot.silent_sec)}")
    if snapshot.reconnects:
        facts.append(_count(snapshot.reconnects, "reconnect"))
    return Text(", ".join(facts), style="dim")


def _profits(rows: tuple[PositionRow, ...]) -> list[str]:
    """Return the sum of the profits of own positions, for each quote asset."""
    sums: dict[tuple[str, int], int] = {}
    for row in rows:
        if row.quote is None or row.quote_decimals is None or row.is_watched:
            continue
        key = (row.quote, row.quote_decimals)
        sums[key] = sums.get(key, 0) + (row.profit_units or 0)
    return [
        f"{units / 10**decimals:+.4f} {quote}"
        for (quote, decimals), units in sums.items()
    ]


def _cells(
    row: PositionRow, history: deque[float], *, is_coloured: bool
) -> list[str | Text]:
    trend = row.liquidity_trend or ""
    tint = trend_tint = ""
    if is_coloured:
        tint = _tint(row.profit_units or 0)
        trend_tint = _TREND_STYLES.get(trend, "")
    return [
        printable(row.name),
        _span(row.age_sec),
        "" if row.deadline_sec is None else _span(row.deadline_sec),
        Text(_amount(row), style=tint),
        printable(row.quote or ""),
        Text("" if row.pnl_pct is None else f"{row.pnl_pct:+.1f}", style=tint),
        Text(sparkline(history), style=tint),
        Text(
            f"{_TREND_ARROWS.get(trend, '')} {printable(trend)}".strip(),
            style=trend_tint,
        ),
        "watch" if row.is_watched else _STATUS_WORDS[row.status],
    ]


def _tint(profit_units: int) -> str:
    if profit_units == 0:
        return ""
    return "green" if profit_units > 0 else "red"


def _amount(row: PositionRow) -> str:
    if row.profit_units is None:
        return ""
    if row.quote_decimals is None:
        return f"{row.profit_units:+d}"
    return f"{row.profit_units / 10**row.quote_decimals:+.4f}"


def _events(events: tuple[EventLine, ...], number: int) -> list[Text]:
    """Return the last so many lines, and empty ones if there are not so many."""
    lines = []
    for event in events[-number:]:
        at = datetime.fromtimestamp(event.at_ms / 1000, timezone.utc).astimezone()
        told = (printable(event.text), _KIND_STYLES[event.kind])
        lines.append(Text.assemble((f"{at:%H:%M:%S} ", "dim"), told))
    return lines + [Text() for _ in range(number - len(lines))]


def sparkline(values: deque[float]) -> str:
    """Return bars for values, from the lowest to the highest of them."""
    if not values:
        return ""
    low, high = min(values), max(values)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)


def _span(seconds: float) -> str:
    """Return a time span in at most six characters."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
