"""
Whether the path of a frame has become longer: ``make bench-guard``.

Counts instructions with valgrind's callgrind, which neither the machine's speed nor
its load changes, and also divides them by those of a piece of work that always stays
the same. Both are compared with what was accepted, in ``guard.json``: a longer path is
longer by both measures, another build of the same Python by one at most.
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

import attrs

from benchmarks.counted import NOTHING, REFERENCE, WORK
from benchmarks.runner import ROOT

__all__ = [
    "INSTALL",
    "TOLERANCE",
    "Length",
    "accepted_here",
    "compared",
    "main",
    "measure",
    "problems",
]

ACCEPTED = Path(__file__).with_name("guard.json")
FRAMES = 3_000
TOLERANCE = 0.10
"""How much more than accepted is still taken for the same."""
INSTALL = "apt-get install valgrind"


@attrs.frozen
class Length:
    """How long the path of one work is, per frame."""

    instructions: float
    ratio: float
    """In those of the reference."""

    def excess_over(self, accepted: Length) -> float:
        """Return by which share it is longer; below 0 if it is shorter."""
        return (
            min(self.instructions / accepted.instructions, self.ratio / accepted.ratio)
            - 1
        )


Lengths = Mapping[str, Length]


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
    lengths = measure()
    accepted = accepted_here()
    for name, length in lengths.items():
        print(f"{name:8} {_shown(length)}; accepted: ", end="")
        print(_shown(accepted[name]) if accepted else "nothing yet")
    if accept:
        _accept(lengths)
    elif accepted is None:
        sys.exit(
            f"nothing was accepted for Python {_version()} yet; "
            "if this is the measure: python -m benchmarks.guard --accept"
        )
    elif found := problems(lengths, accepted):
        sys.exit("\n".join(found))


def _shown(length: Length) -> str:
    return f"{length.instructions:,.0f} instructions, ratio {length.ratio:.3f}"


def measure() -> Lengths:
    """Return how long the path of each work is; takes about half a minute."""
    return compared(_count())


def _count() -> dict[str, float]:
    """Return the instructions per frame of each work."""
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


def compared(counts: Mapping[str, float]) -> Lengths:
    """Compare the counts with the one of the reference."""
    reference = counts[REFERENCE]
    return {n: Length(c, c / reference) for n, c in counts.items() if n != REFERENCE}


def problems(lengths: Lengths, accepted: Lengths) -> list[str]:
    """Say which work takes more than was accepted."""
    return [
        f"{name} takes {excess:.0%} more instructions than accepted, {TOLERANCE:.0%} are "
        "tolerated; find out where with make profile, or, if it is worth it: "
        "python -m benchmarks.guard --accept"
        for name, length in lengths.items()
        if (excess := length.excess_over(accepted[name])) > TOLERANCE
    ]


def accepted_here() -> Lengths | None:
    """Return what was accepted for this version of Python; None if nothing was."""
    known = _all_accepted().get(_version())
    if known is None:
        return None
    return {name: Length(**values) for name, values in known.items()}


def _all_accepted() -> dict[str, dict[str, dict[str, float]]]:
    known: dict[str, dict[str, dict[str, float]]] = json.loads(ACCEPTED.read_text())
    return known


def _accept(lengths: Lengths) -> None:
    rounded = {
        name: {
            "instructions": round(length.instructions),
            "ratio": round(length.ratio, 3),
        }
        for name, length in lengths.items()
    }
    known = {**_all_accepted(), _version(): rounded}
    text = json.dumps(dict(sorted(known.items())), indent=2)
    ACCEPTED.write_text(text + "\n")
    print(f"accepted for Python {_version()}")


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    main()
