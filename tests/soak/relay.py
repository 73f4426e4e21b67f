"""
Kill publishers, workers and Redis at random under load, and count what is lost.

``make soak-relay MINUTES=...`` runs this.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import argparse
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
    with tempfile.TemporaryDirectory(prefix="lasersell-soak-") as home:
        report = Chaos(Path(home), arguments.seed).run(60 * arguments.minutes)
    print(report)
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()
