"""
Pieces of HTML: tables, badges, sparklines.

One palette for light and dark pages: letters inherit the page's colour, what is dim is
translucent, and the few colours are of a middle tone that can be read on both. So no
theme has to be known, and a view stays readable when the page's theme changes. What
is important is so to win over the tables of JupyterLab.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Literal

__all__ = ["Tone", "cell", "escape", "page", "sparkline", "table"]

Tone = Literal["", "gain", "loss", "warn", "dim", "number"]

WIDTH, HEIGHT = 120, 26

_STYLE = """<style>
.lasersell{font-size:13px;line-height:1.5;color:inherit}
.lasersell p{margin:4px 0}
.lasersell table{border-collapse:collapse;margin:4px 0 8px;font-size:inherit;color:inherit;
border:0;table-layout:auto}
.lasersell tr{background:none!important}
.lasersell th,.lasersell td{padding:2px 12px 2px 0!important;text-align:left!important;
border-bottom:1px solid rgba(128,128,128,.28)!important;white-space:nowrap!important}
.lasersell th{font-weight:600;opacity:.75}
.lasersell .number,.lasersell td.gain,.lasersell td.loss
{text-align:right!important;font-variant-numeric:tabular-nums}
.lasersell .gain{color:#1a9156}
.lasersell .loss{color:#da4a54}
.lasersell .warn{color:#b27300}
.lasersell .dim{opacity:.7}
.lasersell .badge{padding:1px 8px;border:1px solid currentColor;border-radius:9px}
.lasersell .line{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.lasersell time{opacity:.7;margin-right:10px;font-variant-numeric:tabular-nums}
.lasersell svg{display:block;overflow:visible}
.lasersell polyline{fill:none;stroke:currentColor;stroke-width:1.5}
.lasersell line{stroke:#808080;stroke-width:1;stroke-dasharray:2 3;opacity:.8}
</style>"""


def escape(value: object) -> str:
    """Return a value as text that HTML takes for no more than that; None is empty."""
    return "" if value is None else html.escape(str(value))


def page(*parts: str) -> str:
    """Return the parts as one view, with its style."""
    return f'{_STYLE}<div class="lasersell">{"".join(parts)}</div>'


def cell(content: str, tone: Tone = "") -> str:
    """Return a cell of a table; ``content`` is HTML."""
    return f'<td class="{tone}">{content}</td>' if tone else f"<td>{content}</td>"


def table(headings: Sequence[str], rows: Iterable[str]) -> str:
    """
    Return a table.

    Args:
        headings: Texts; one that begins with ``>`` is of a column of numbers.
        rows: The cells of each row, as HTML.
    """
    heads = "".join(
        f'<th class="number">{escape(text[1:])}</th>'
        if text.startswith(">")
        else f"<th>{escape(text)}</th>"
        for text in headings
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def sparkline(values: Sequence[float]) -> str:
    """
    Return a line through the values, as inline SVG, with a dashed line at zero.

    Green if the last one is above zero, red if below; empty for fewer than two.
    """
    if len(values) < 2:
        return ""
    low, high = min(0.0, *values), max(0.0, *values)
    scale = (HEIGHT - 2) / ((high - low) or 1.0)
    step = WIDTH / (len(values) - 1)
    points = " ".join(
        f"{index * step:.1f},{1 + (high - value) * scale:.1f}"
        for index, value in enumerate(values)
    )
    zero = 1 + high * scale
    tone = "gain" if values[-1] >= 0 else "loss"
    return (
        f'<svg class="{tone}" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f'<line x1="0" x2="{WIDTH}" y1="{zero:.1f}" y2="{zero:.1f}"/>'
        f'<polyline points="{points}"/></svg>'
    )
