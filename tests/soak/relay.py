"""
Kill publishers, workers and Redis at random under load, and count what is lost.

``make soak-relay MINUTES=...`` runs this.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.relay.chaos import Chaos


def main() -> None:
    """Run, print what came of it, and fail if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.relay")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="lasersell-soak-"))
    report = Chaos(home, arguments.seed).run(60 * arguments.minutes)
    print(report)
    if report.problems:
        sys.exit(f"what every process said is in {home}")
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
