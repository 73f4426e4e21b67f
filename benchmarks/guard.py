"""
Whether the path of a frame has become longer: ``make bench-guard``.

Counts instructions with valgrind's callgrind, which neither the machine's speed nor
its load changes, and divides them by those of a piece of work that always stays the
same, so that the interpreter's build hardly matters either. The ratios are compared
with those that were accepted, in ``guard.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.counted import NOTHING, REFERENCE, WORK
from benchmarks.runner import ROOT

__all__ = ["ACCEPTED", "TOLERANCE", "accepted_here", "count", "main", "problems"]

ACCEPTED = Path(__file__).with_name("guard.json")
FRAMES = 3_000
TOLERANCE = 0.10
"""How much more than accepted is still taken for the same."""
INSTALL = "apt-get install valgrind"

Ratios = Mapping[str, float]
"""Instructions of each work, per frame, in those of the reference."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard", description=__doc__
    )
    parser.add_argument(
        "--accept", action="store_true", help="take what is counted now as the measure"
    )
    accept = parser.parse_args(arguments).accept
    if shutil.which("valgrind") is None:
        sys.exit(f"bench-guard needs valgrind; on Debian and Ubuntu: {INSTALL}")
    counts = count()
    ratios = as_ratios(counts)
    accepted = accepted_here()
    for name, ratio in ratios.items():
        known = f"accepted {accepted[name]:.3f}" if accepted else "nothing accepted"
        print(f"{name:8} {counts[name]:9,.0f} instructions, ratio {ratio:.3f}, {known}")
    if accept:
        _accept(ratios)
    elif accepted is None:
        sys.exit(
            f"nothing was accepted for Python {_version()} yet; "
            "if this is the measure: python -m benchmarks.guard --accept"
        )
    elif found := problems(ratios, accepted):
        sys.exit("\n".join(found))


def count() -> dict[str, float]:
    """Return the instructions per frame of each work; takes about half a minute."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "benchmarks.counted", str(FRAMES)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"counting failed:\n{done.stderr}")
    by_pid = dict(re.findall(r"==(\d+)== Collected : (\d+)", done.stderr))
    totals = {n: int(by_pid[str(pid)]) for n, pid in json.loads(done.stdout).items()}
    return {name: (totals[name] - totals[NOTHING]) / FRAMES for name in WORK}


def as_ratios(counts: Ratios) -> Ratios:
    """Return the counts in those of the reference."""
    reference = counts[REFERENCE]
    return {n: c / reference for n, c in counts.items() if n != REFERENCE}


def problems(ratios: Ratios, accepted: Ratios) -> list[str]:
    """Say which work takes more than was accepted."""
    return [
        f"{name} takes {ratio / accepted[name] - 1:.0%} more instructions than accepted "
        f"(ratio {ratio:.3f}, accepted {accepted[name]:.3f}, tolerance {TOLERANCE:.0%}); "
        "find out where with callgrind_annotate or make profile, or, if it is worth it: "
        "python -m benchmarks.guard --accept"
        for name, ratio in ratios.items()
        if ratio > accepted[name] * (1 + TOLERANCE)
    ]


def accepted_here() -> Ratios | None:
    """Return the ratios accepted for this version of Python; None if there are none."""
    found: Ratios | None = _all_accepted().get(_version())
    return found


def _all_accepted() -> dict[str, Ratios]:
    known: dict[str, Ratios] = json.loads(ACCEPTED.read_text())
    return known


def _accept(ratios: Ratios) -> None:
    rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
    known = {**_all_accepted(), _version(): rounded}
    text = json.dumps(dict(sorted(known.items())), indent=2)
    ACCEPTED.write_text(text + "\n")
    print(f"accepted for Python {_version()}")


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    main()
