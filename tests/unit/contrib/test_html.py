from __future__ import annotations

import re

import pytest

from lasersell.contrib.jupyter.html import HEIGHT, WIDTH, escape, page, sparkline, table


def _points(svg: str) -> list[tuple[float, float]]:
    (points,) = re.findall(r'points="([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in (p.split(",") for p in points.split())]


def test_a_sparkline_goes_from_edge_to_edge() -> None:
    """The first value is at the left, the last at the right, the highest at the top."""
    points = _points(sparkline([0.0, 10.0, 5.0]))
    assert [x for x, _ in points] == [0.0, WIDTH / 2, WIDTH]
    assert [y for _, y in points] == [HEIGHT - 1.0, 1.0, HEIGHT / 2]


@pytest.mark.parametrize(
    ("values", "tone"), [([1.0, 2.0], "gain"), ([1.0, -2.0], "loss")]
)
def test_a_sparkline_has_the_colour_of_its_last_value(
    values: list[float], tone: str
) -> None:
    """Green above zero, red below."""
    assert f'class="{tone}"' in sparkline(values)


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [-5.0, -5.0]])
def test_a_level_line_is_drawn_too(values: list[float]) -> None:
    """It has no height to be scaled by."""
    assert all(0 <= y <= HEIGHT for _, y in _points(sparkline(values)))


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_point_is_no_line(values: list[float]) -> None:
    """Fewer than two values draw nothing."""
    assert sparkline(values) == ""


def test_what_comes_from_outside_is_escaped() -> None:
    """The name of a token must not become part of the page."""
    assert escape("<script>") == "&lt;script&gt;"
    assert escape(None) == ""


def test_a_table_has_its_headings_and_rows() -> None:
    """Columns of numbers are marked."""
    html = table(["name", ">count"], ["<td>a</td><td>1</td>"])
    assert '<th>name</th><th class="number">count</th>' in html
    assert "<tr><td>a</td><td>1</td></tr>" in html


def test_a_view_brings_its_style() -> None:
    """Each output stands on its own, wherever it is shown."""
    html = page("<p>x</p>")
    assert html.startswith("<style>")
    assert html.endswith('<div class="lasersell"><p>x</p></div>')
