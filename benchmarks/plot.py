"""
One picture: how old an exit signal is, against the rate of PnL updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import attrs

from benchmarks.cases.latency import PNL_RATES, under_rate
from benchmarks.runner import Result

__all__ = ["plot"]

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
_RATES = (0, *PNL_RATES)
_LINES = (
    ("official", "p99_us", "official Python, p99", "#c0392b", ""),
    ("official", "p50_us", "official Python, median", "#c0392b", "6 4"),
    ("lasersell", "p99_us", "lasersell, p99", "#1f6fb2", ""),
    ("lasersell", "p50_us", "lasersell, median", "#1f6fb2", "6 4"),
)


@attrs.frozen
class _Line:
    label: str
    colour: str
    dashes: str
    values: list[float]
    """In milliseconds, one for each rate."""


def plot(results: Sequence[Result]) -> str | None:
    """Return the picture as SVG; None unless every rate was measured for both SDKs."""
    medians = {result.case.name: result.medians for result in results}
    rates = [medians.get(under_rate(rate), {}) for rate in _RATES]
    if not all({"lasersell", "official"} <= set(clients) for clients in rates):
        return None
    return _draw(
        [
            _Line(label, colour, dashes, [at[client][name] / 1000 for at in rates])
            for client, name, label, colour, dashes in _LINES
        ]
    )


def _draw(lines: Sequence[_Line]) -> str:
    values = [value for line in lines for value in line.values]
    lowest = math.floor(math.log10(min(values)))
    highest = math.ceil(math.log10(max(values)))

    def x(index: int) -> float:
        return LEFT + index * (WIDTH - LEFT - RIGHT) / (len(_RATES) - 1)

    def y(value: float) -> float:
        share = (math.log10(value) - lowest) / (highest - lowest)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, 22, "Age of an exit signal when recv() returns it, ms")]
    parts += [
        _rung(y(10.0**power), 10.0**power) for power in range(lowest, highest + 1)
    ]
    parts += [
        _text(x(i), HEIGHT - BOTTOM + 20, f"{rate:,}", "middle")
        for i, rate in enumerate(_RATES)
    ]
    parts.append(
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "pnl_update a second", "middle")
    )
    for line in lines:
        parts += _curve(line, x, y)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
    )
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def _rung(height: float, value: float) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" '
        f'stroke="#ddd"/>' + _text(LEFT - 8, height + 4, f"{value:g}", "end")
    )


def _curve(
    line: _Line, x: Callable[[int], float], y: Callable[[float], float]
) -> list[str]:
    points = [(x(i), y(value)) for i, value in enumerate(line.values)]
    path = " ".join(f"{at:.1f},{height:.1f}" for at, height in points)
    parts = [
        f'<polyline points="{path}" fill="none" stroke="{line.colour}" '
        f'stroke-width="2" stroke-dasharray="{line.dashes}"/>'
    ]
    parts += [
        f'<circle cx="{at:.1f}" cy="{height:.1f}" r="3" fill="{line.colour}"/>'
        for at, height in points
    ]
    end, height = points[-1]
    parts.append(_text(end + 10, height + 4, line.label, colour=line.colour))
    return parts


def _text(
    x: float, y: float, words: str, anchor: str = "start", *, colour: str = "black"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )
