"""
Run the benchmark: ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.docs import PICTURE, RESULTS, write_docs
from benchmarks.plot import plot
from benchmarks.report import as_json, machine, summary, table
from benchmarks.runner import JobError, LoadServer, Result, clients_here, run_case

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.write_docs:
        write_docs(options.output)
        return
    cases = [case for case in CASES if not options.only or case.name in options.only]
    if options.quick:
        cases = [case.quickly() for case in cases]
    clients = clients_here()
    before = os.getloadavg()
    started = time.monotonic()
    results = _run(cases, options.rounds, clients)
    _write(options.output, results, before, quick=options.quick)
    print(summary(as_json(results)), end="\n\n")
    if options.quick:
        print("a quick run: it shows that everything runs, its numbers mean nothing")
    print(
        f"{time.monotonic() - started:.0f} s; load {before[0]:.1f} before, "
        f"{os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    )
    if len(results) < len(cases):
        sys.exit("not every case could be measured")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--quick", action="store_true", help="little work, once: does it run at all?"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[case.name for case in CASES], metavar="CASE"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/benchmarks"), help="a folder"
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="measure nothing; put the last run into docs/performance.md",
    )
    return parser


def _run(cases: Sequence[Case], rounds: int, clients: set[str]) -> list[Result]:
    results = []
    with LoadServer() as server:
        for case in cases:
            try:
                result = run_case(case, server, rounds, clients)
            except JobError as error:
                print(error, end="\n\n", flush=True)
                continue
            results.append(result)
            print(table(result), end="\n\n", flush=True)
    return results


def _write(
    folder: Path,
    results: Sequence[Result],
    load: tuple[float, float, float],
    *,
    quick: bool,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run = {
        "machine": machine(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "is_quick": quick,
        "load_before": load,
        "load_after": os.getloadavg(),
        "cases": as_json(results),
    }
    (folder / RESULTS).write_text(json.dumps(run, indent=2) + "\n")
    picture = plot(results)
    if picture is not None:
        (folder / PICTURE).write_text(picture)


if __name__ == "__main__":
    main()
