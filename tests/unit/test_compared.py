"""The table of defects that this library does not share."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| P(\d+) \| (.+?) \| (.+?) \| (.*?) ?\|$",
    (ROOT / "docs" / "compared.md").read_text(),
    flags=re.MULTILINE,
)


def test_every_defect_has_its_row() -> None:
    """The rows are numbered without a gap, from the first defect of the stream on."""
    numbers = [int(number) for number, *_ in ROWS]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 54


def test_every_row_is_shown_by_a_test_that_exists() -> None:
    """A row names its tests, or says why the defect does not apply."""
    missing = []
    for number, _, here, shown_by in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", shown_by)
        if not named and "does not apply" not in here:
            missing.append(f"P{number} names no test")
        missing += [
            f"P{number} names {file}::{test}"
            for file, test in named
            if f"def {test}(" not in _text_of(file)
        ]
    assert not missing


def _text_of(file: str) -> str:
    path = ROOT / "tests" / file
    return path.read_text() if path.is_file() else ""
