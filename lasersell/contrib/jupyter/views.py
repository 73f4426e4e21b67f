"""
What a session, its positions, events and counters look like in a notebook.

Each function takes a value and returns HTML; none blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from lasersell.contrib.jupyter.html import (
    Tone,
    cell,
    escape,
    page,
    sparkline,
    table,
)
from lasersell.contrib.recorder import PnlRecorder, recorded
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.stats import State, StreamStats

__all__ = [
    "LINE_POINTS",
    "event_html",
    "event_line",
    "position_html",
    "position_row",
    "positions_html",
    "positions_table",
    "recorder_html",
    "session_head",
    "session_html",
    "stats_html",
]

_HEADINGS = (
    "position",
    "wallet",
    "",
    ">profit",
    "> %",
    ">peak %",
    ">cost",
    ">deadline",
    "",
)
LINE_POINTS = 60
"""Points of a sparkline at most."""
TEXT_LENGTH = 72
"""Characters of a value that are shown at most."""

_STATE_TONES: Mapping[State, Tone] = {
    "live": "gain",
    "stale": "warn",
    "reconnecting": "warn",
    "failed": "loss",
}


# Positions


def position_row(
    handle: PositionHandle, line: Sequence[float], deadline_sec: float | None
) -> str:
    """Return the cells of one position, for :func:`positions_table`."""
    profit = handle.profit_units
    tone: Tone = "number" if not profit else "gain" if profit > 0 else "loss"
    return "".join(
        (
            cell(f"<b>{escape(_name(handle))}</b>"),
            cell(_short(handle.wallet_pubkey), "dim"),
            cell(sparkline(line)),
            cell(_amount(handle, profit, sign="+"), tone),
            cell(_percent(handle.pnl_pct), tone),
            cell(_percent(handle.peak_pnl_pct), "number"),
            cell(_amount(handle, handle.entry_quote_units), "number"),
            cell(
                "" if deadline_sec is None else f"{deadline_sec:.1f}&thinsp;s", "number"
            ),
            cell(_status(handle), "dim"),
        )
    )


def positions_html(
    handles: Iterable[PositionHandle], session: StreamSession | None = None
) -> str:
    """Return a table of positions, with a sparkline of each that a recorder has."""
    return page(_positions(handles, session))


def position_html(handle: PositionHandle) -> str:
    """Return one position, and all that is known of it."""
    return page(_positions([handle], None), _facts(handle.to_dict()))


def recorder_html(recorder: PnlRecorder) -> str:
    """Return what was recorded, a line for each position."""
    handles = [history.handle for history in recorder.histories()]
    return page(escape(repr(recorder)), _positions(handles, None))


def _positions(handles: Iterable[PositionHandle], session: StreamSession | None) -> str:
    rows = [
        position_row(handle, _recorded_line(handle), _deadline(session, handle))
        for handle in handles
    ]
    return positions_table(rows)


def positions_table(rows: list[str]) -> str:
    """Return the rows of :func:`position_row` as a table."""
    if not rows:
        return '<p class="dim">no open positions</p>'
    return table(_HEADINGS, rows)


def _deadline(session: StreamSession | None, handle: PositionHandle) -> float | None:
    return None if session is None else session.deadline_remaining(handle)


def _recorded_line(handle: PositionHandle) -> list[float]:
    points = recorded(handle)
    stride = max(1, len(points) // LINE_POINTS)
    # Counted from the end, so that the latest is always there.
    return [float(point.profit_units) for point in points[::-stride]][::-1]


def _name(handle: PositionHandle) -> str:
    return handle.token_symbol or _short(handle.mint)


def _short(key: str) -> str:
    return escape(key if len(key) <= 12 else f"{key[:4]}…{key[-4:]}")


def _status(handle: PositionHandle) -> str:
    words = [] if handle.is_open else [handle.close_reason or handle.status]
    if handle.watched:
        words.append("watched")
    if handle.is_untracked:
        words.append("not tracked")
    if handle.exit_attempts and handle.is_open:
        words.append("exit signalled")
    return escape(", ".join(words))


def _amount(handle: PositionHandle, units: int | None, sign: str = "") -> str:
    if units is None:
        return ""
    if handle.quote is None or handle.quote_decimals is None:
        return format(units, f"{sign},d")
    amount = units / 10**handle.quote_decimals
    return f"{amount:{sign},.4f}&thinsp;{escape(handle.quote)}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


# Sessions


def session_html(session: StreamSession) -> str:
    """Return a session: its state, its counters in a line, its positions."""
    return page(session_head(session), _positions(session.positions(), session))


def session_head(session: StreamSession) -> str:
    """Return the line above a session's positions."""
    stats = session.stats()
    tone = _STATE_TONES.get(stats.state, "dim")
    facts = [f"{stats.frames_in:,} frames", f"{len(session.positions())} positions"]
    if stats.round_trip is not None:
        facts.append(f"round trip {1000 * stats.round_trip:.1f} ms")
    if stats.reconnects:
        facts.append(f"{stats.reconnects} reconnects")
    if stats.low.dropped:
        facts.append(f"{stats.low.dropped:,} low events dropped")
    if session.error is not None:
        facts.append(str(session.error))
    words = escape(" · ".join(facts))
    badge = f'<span class="badge {tone}">{escape(stats.state)}</span>'
    return f'<p>{badge} <span class="dim">{words}</span></p>'


def stats_html(stats: StreamStats) -> str:
    """Return the counters of a stream."""
    lanes = table(
        ["lane", ">delivered", ">waiting", ">dropped", ">high water"],
        (
            cell(name)
            + "".join(
                cell(f"{count:,}", "number")
                for count in (
                    lane.delivered,
                    lane.waiting,
                    lane.dropped,
                    lane.high_water,
                )
            )
            for name, lane in (("high", stats.high), ("low", stats.low))
        ),
    )
    facts = {
        "state": stats.state,
        "frames in": f"{stats.frames_in:,}",
        "bytes in": f"{stats.bytes_in:,}",
        "held back": "yes" if stats.is_held_back else "no",
        "reconnects": stats.reconnects,
        "round trip": _milliseconds(stats.round_trip, 1000),
        "clock offset": _milliseconds(stats.clock_offset_ms, 1),
        "last message": _milliseconds(stats.last_message_age, 1000),
    }
    return page(lanes, _facts(facts))


def _milliseconds(value: float | None, factor: float) -> str | None:
    return None if value is None else f"{factor * value:.1f} ms"


# Events


def event_line(event: StreamEvent) -> str:
    """Return an event in a line."""
    tone = "warn" if event.type in _ALARMS else ""
    name = "" if event.handle is None else f"<b>{escape(_name(event.handle))}</b> "
    return (
        f'<div class="line"><time>{_time(event.arrival.server_ms)}</time>'
        f'<span class="{tone}">{escape(event.type)}</span> {name}'
        f'<span class="dim">{escape(_details(event))}</span></div>'
    )


def event_html(event: StreamEvent) -> str:
    """Return an event and the fields of its message."""
    facts: dict[str, Any] = dict(event.to_dict()["message"])
    for name in ("exit_attempt", "reopened", "deadline_overdue", "age_ms"):
        value = getattr(event, name)
        if value not in (None, False):
            facts[name] = value
    return page(event_line(event), _facts(facts))


_ALARMS = frozenset(
    {
        "error",
        "disconnected",
        "stale",
        "position_lost",
        "command_expired",
        "exit_request_unanswered",
        "mirror_wallet_auto_disabled",
    }
)
# What is worth saying of a message in a line, by the names of its fields.
_TOLD = (
    "reason",
    "code",
    "message",
    "cause",
    "level_index",
    "attempts",
    "asks",
    "number",
    "silent_sec",
    "held_sec",
    "tokens",
)


def _details(event: StreamEvent) -> str:
    told = [
        _told(name, value)
        for name in _TOLD
        if (value := getattr(event.message, name, None)) is not None
    ]
    if event.reopened:
        told.append("named again")
    if event.exit_attempt is not None and event.exit_attempt > 1:
        told.append(f"attempt {event.exit_attempt}")
    return ", ".join(told)


def _told(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    return f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}"


def _time(at_ms: float | None) -> str:
    if at_ms is None:
        return ""
    at = datetime.fromtimestamp(at_ms / 1000, tz=timezone.utc)
    return f"{at:%H:%M:%S}.{at.microsecond // 100_000}"


def _facts(facts: Mapping[str, Any]) -> str:
    return table(
        ["", ""],
        (
            cell(escape(name), "dim") + cell(escape(_cut(str(value))))
            for name, value in facts.items()
            if value not in (None, "", (), {})
        ),
    )


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else f"{text[:TEXT_LENGTH]}…"
