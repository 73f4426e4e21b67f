"""
The results of a run as a table for people and as JSON for machines.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.case import OURS, Outcome
from benchmarks.runner import Result

__all__ = ["NAMES", "as_json", "machine", "ratio", "short", "summary", "table"]

NAMES = {
    "lasersell": "lasersell",
    "official": "official Python",
    "typescript": "official TypeScript",
    "raw": "raw socket",
}
_PACKAGES = ("lasersell", "lasersell-sdk", "websocket-client", "msgspec", "attrs")


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table(result: Result) -> str:
    """Return the medians of one case, ours beside the others, and its budgets."""
    medians = result.medians
    rounds = len(next(iter(result.rounds.values())))
    title = f"{result.case.title}  [{result.case.name}, {_count(rounds, 'round')}]"
    header = ["", *(NAMES[client] for client in medians)]
    header += [f"ours / {NAMES[client]}" for client in medians if client != OURS]
    rows = [header]
    for name, unit in result.case.units.items():
        row = [unit, *(short(numbers[name]) for numbers in medians.values())]
        row += [
            ratio(medians[OURS][name], medians[client][name])
            for client in medians
            if client != OURS
        ]
        rows.append(row)
    lines = [title, *_aligned(rows)]
    lines += [f"  {_judgement(outcome)}" for outcome in result.outcomes()]
    return "\n".join(lines)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def ratio(ours: float, other: float) -> str:
    return f"{ours / other:.2f}" if other else "-"


def _aligned(rows: Sequence[Sequence[str]], *, left: int = 0) -> Iterable[str]:
    """Yield the lines of a table whose first ``left`` columns are words, not numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(cells).rstrip()


def _judgement(outcome: Outcome) -> str:
    verdict = "met   " if outcome.is_met else "MISSED"
    return (
        f"{verdict} {outcome.budget.words}: "
        f"{short(outcome.reached)}, allowed {short(outcome.bound)}"
    )


def summary(cases: Sequence[Mapping[str, Any]]) -> str:
    """Return all budgets of a run, as :func:`as_json` has it: asked, reached, met or not."""
    rows = [["", "asked for", "reached", "allowed", "in", ""]]
    rows += [
        [
            case["name"],
            budget["words"],
            short(budget["reached"]),
            short(budget["allowed"]),
            case["units"][budget["number"]],
            "met" if budget["met"] else "MISSED",
        ]
        for case in cases
        for budget in case["budgets"]
    ]
    return "\n".join(["What was asked for", *_aligned(rows, left=2)])


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the results as plain values, every round included."""
    return [
        {
            "name": result.case.name,
            "title": result.case.title,
            "units": dict(result.case.units),
            "medians": dict(result.medians),
            "rounds": result.rounds,
            "budgets": [
                {
                    "words": outcome.budget.words,
                    "number": outcome.budget.of,
                    "reached": outcome.reached,
                    "allowed": outcome.bound,
                    "met": outcome.is_met,
                }
                for outcome in result.outcomes()
            ],
        }
        for result in results
    ]
