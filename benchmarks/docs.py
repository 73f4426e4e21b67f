"""
Puts the last run into ``docs/performance.md``: ``python -m benchmarks --write-docs``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.case import OURS
from benchmarks.cases import CASES
from benchmarks.report import NAMES, ratio, short
from benchmarks.runner import ROOT

__all__ = ["PICTURE", "RESULTS", "STAGES", "render", "with_results", "write_docs"]

RESULTS, PICTURE, STAGES = "results.json", "exit-latency.svg", "stages.json"
PAGE = ROOT / "docs/performance.md"
PICTURES = ROOT / "docs/images"
BEGIN, END = "<!-- begin: written by the benchmark -->", "<!-- end -->"

Json = Mapping[str, Any]


def write_docs(folder: Path) -> None:
    """
    Put what is in ``folder`` into the page.

    Raises:
        SystemExit: It is not a whole run.
    """
    run = json.loads((folder / RESULTS).read_text())
    missing = {case.name for case in CASES} - {case["name"] for case in run["cases"]}
    if run["is_quick"] or missing:
        what = f"lacks {', '.join(sorted(missing))}" if missing else "was a quick run"
        raise SystemExit(f"the last run {what}; do a whole one with: make bench")
    stages = folder / STAGES
    found = json.loads(stages.read_text()) if stages.exists() else None
    PAGE.write_text(with_results(PAGE.read_text(), render(run, found)))
    shutil.copyfile(folder / PICTURE, PICTURES / PICTURE)
    print(f"wrote {PAGE.relative_to(ROOT)}")


def with_results(page: str, results: str) -> str:
    """Return the page with what is between its marks replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{results}\n\n{END}{after}"


def render(run: Json, stages: Json | None) -> str:
    """Return a run as Markdown."""
    parts = [
        *_measured_on(run),
        f"![Age of an exit signal against the rate of PnL updates](images/{PICTURE})",
        "### What was asked for, and reached",
        "\n".join(_budgets(run)),
        "### Every number",
        "Medians of the rounds. The ratio is ours to the official Python SDK's.",
        "\n".join(_numbers(run)),
    ]
    if stages is not None:
        parts += ["### Where the time of a frame goes", "\n".join(_stages(stages))]
    return "\n\n".join(parts)


def _measured_on(run: Json) -> Iterator[str]:
    machine = run["machine"]
    packages = ", ".join(f"{n} {v}" for n, v in machine["packages"].items() if v)
    yield (
        f"Measured on {run['date']}: {machine['processor']}, {machine['cores']} cores; "
        f"CPython {machine['python']}; load {run['load_before'][0]:.1f} before the run and "
        f"{run['load_after'][0]:.1f} after it."
    )
    yield f"{packages}."


def _budgets(run: Json) -> Iterator[str]:
    yield from _head("case", "asked for", "reached", "allowed", "in", "")
    for case in run["cases"]:
        for budget in case["budgets"]:
            yield _row(
                f"`{case['name']}`",
                budget["words"],
                short(budget["reached"]),
                short(budget["allowed"]),
                case["units"][budget["number"]],
                "met" if budget["met"] else "**missed**",
            )


def _numbers(run: Json) -> Iterator[str]:
    clients = [c for c in NAMES if any(c in case["medians"] for case in run["cases"])]
    yield from _head("case", "", *(NAMES[client] for client in clients), "ratio")
    for case in run["cases"]:
        medians = case["medians"]
        for name, unit in case["units"].items():
            cells = [short(medians[c][name]) if c in medians else "" for c in clients]
            ours, theirs = medians[OURS][name], medians.get("official", {}).get(name)
            compared = "" if theirs is None else ratio(ours, theirs)
            yield _row(f"`{case['name']}`", unit, *cells, compared)


def _stages(stages: Json) -> Iterator[str]:
    yield from _head("CPU in ns a frame", *stages["columns"])
    for name, values in stages["rows"].items():
        yield _row(name, *(f"{value:,.0f}" for value in values))


def _head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*("---" for _ in cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
