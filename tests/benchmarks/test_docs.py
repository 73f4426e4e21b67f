"""The page shows what a whole run measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.docs import BEGIN, END, render, with_results, write_docs

_ASKED = {"number": "cpu_us", "reached": 2.0}
_CASE: dict[str, Any] = {
    "name": "pnl",
    "units": {"cpu_us": "us CPU/frame"},
    "medians": {"lasersell": {"cpu_us": 2.0}, "official": {"cpu_us": 40.0}},
    "budgets": [
        {**_ASKED, "words": "a tenth", "allowed": 4.0, "met": True},
        {**_ASKED, "words": "half a us", "allowed": 0.5, "met": False},
    ],
}
_RUN: dict[str, Any] = {
    "machine": {
        "processor": "A processor",
        "cores": 2,
        "python": "3.11.7",
        "packages": {"msgspec": "0.20", "lasersell-sdk": None},
    },
    "date": "2026-01-02",
    "is_quick": False,
    "load_before": [0.1, 0.0, 0.0],
    "load_after": [1.2, 0.0, 0.0],
    "cases": [_CASE],
}


def test_the_page_has_every_number_and_every_budget() -> None:
    """A reader sees what was measured on what, the ratio, and what was missed."""
    text = render(_RUN, {"columns": ["pnl_update"], "rows": {"decode": [794.4]}})
    assert "2026-01-02: A processor, 2 cores; CPython 3.11.7; load 0.1 before" in text
    assert "| `pnl` | a tenth | 2 | 4 | us CPU/frame | met |" in text
    assert "| `pnl` | half a us | 2 | 0.5 | us CPU/frame | **missed** |" in text
    assert "| `pnl` | us CPU/frame | 2 | 40 | 0.05 |" in text
    assert "| decode | 794 |" in text
    assert "lasersell-sdk" not in text


def test_only_what_is_between_the_marks_is_replaced() -> None:
    """What people wrote on the page stays, however often a run is put there."""
    page = f"before {BEGIN} old {END} after"
    once = with_results(page, "new")
    assert once == f"before {BEGIN}\n\nnew\n\n{END} after"
    assert with_results(once, "new") == once
    with pytest.raises(ValueError, match="lacks"):
        with_results("no marks", "new")


@pytest.mark.parametrize(
    ("run", "problem"),
    [(_RUN, "lacks .*exit-0"), ({**_RUN, "is_quick": True, "cases": []}, "lacks")],
)
def test_a_run_that_is_not_whole_is_refused(
    run: Any, problem: str, tmp_path: Path
) -> None:
    """Numbers of a trial, or of some cases only, do not get onto the page."""
    (tmp_path / "results.json").write_text(json.dumps(run))
    with pytest.raises(SystemExit, match=problem):
        write_docs(tmp_path)
