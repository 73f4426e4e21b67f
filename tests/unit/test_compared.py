"""What docs/compared.md and docs/events.md say is shown by a test, is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_COMPARED = (_ROOT / "docs" / "compared.md").read_text(encoding="utf-8")
_EVENTS = (_ROOT / "docs" / "events.md").read_text(encoding="utf-8")
_EVENT_TESTS = "tests/integration/session/test_event_order.py"

_ROWS = {
    int(cells[1].strip().removeprefix("P")): [cell.strip() for cell in cells[2:-1]]
    for line in _COMPARED.splitlines()
    if re.match(r"\| P\d+ \|", line)
    for cells in [line.split("|")]
}


@cache
def _tests_of(path: str) -> set[str]:
    tree = ast.parse((_ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _names(text: str) -> list[tuple[str, str]]:
    """Return the tests that a text names, each with its file."""
    found = re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`", text)
    return [(path or _EVENT_TESTS, name) for path, name in found]


def test_no_defect_is_left_out() -> None:
    """P1 to P78, each once."""
    assert list(_ROWS) == list(range(1, 79))
    assert len(re.findall(r"^\| P\d+ \|", _COMPARED, re.MULTILINE)) == 78


@pytest.mark.parametrize("number", range(1, 79))
def test_every_row_is_shown_by_tests_that_exist(number: int) -> None:
    """What goes wrong there, what happens here, and where one can see it."""
    there, here, shown = _ROWS[number]
    assert there
    assert here
    names = _names(shown)
    assert names
    for path, name in names:
        assert name in _tests_of(path), f"{path} has no {name}"


def test_every_order_of_events_is_shown_by_tests_that_exist() -> None:
    """And each test of an order is named beside what it shows."""
    orders = _EVENTS.split("## Orders")[1]
    names = _names(orders)
    rows = [line for line in orders.splitlines() if line.startswith("| ")][1:]
    assert len(names) == len(rows)
    for path, name in names:
        assert name in _tests_of(path), f"{path} has no {name}"
    shown = {name for path, name in names if path == _EVENT_TESTS}
    assert shown == {n for n in _tests_of(_EVENT_TESTS) if n.startswith("test_")}
