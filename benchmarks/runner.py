"""
Runs cases: the clients in turn, round after round, each in a process of its own.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import attrs

from benchmarks.case import Case, Medians, Outcome
from benchmarks.work import Numbers

__all__ = ["JobError", "LoadServer", "Result", "clients_here", "run_case"]

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 120.0
"""Seconds that one job may take before it counts as hanging."""
TYPESCRIPT = ROOT / "build/typescript/node_modules/@lasersell/lasersell-sdk/dist/stream"
"""Where ``make bench`` puts the official TypeScript SDK, if there is npm."""


class JobError(Exception):
    """A client did not do its job; the text has what it printed."""


class LoadServer:
    """The load server's process, while its ``with`` block runs."""

    def __init__(self) -> None:
        self.runs = itertools.count(1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> LoadServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # It ends with its standard input, so also when we are killed.
        self._process.communicate()


@attrs.frozen
class Result:
    """What one case came to."""

    case: Case
    rounds: dict[str, list[Numbers]]
    """Every round's numbers, by client."""

    @property
    def medians(self) -> Medians:
        return {
            client: {
                name: statistics.median(numbers[name] for numbers in rounds)
                for name in self.case.units
            }
            for client, rounds in self.rounds.items()
        }

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what became of the budgets that could be judged."""
        medians = self.medians
        for budget in self.case.budgets:
            outcome = budget.judge(medians)
            if outcome is not None:
                yield outcome


def clients_here() -> set[str]:
    """Return the clients that can run on this machine."""
    clients = {"lasersell", "raw"}
    if _has_module("lasersell_sdk"):
        clients.add("official")
    if shutil.which("node") and TYPESCRIPT.exists():
        clients.add("typescript")
    return clients


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def run_case(case: Case, server: LoadServer, rounds: int, clients: set[str]) -> Result:
    """
    Let each client do the work once a round, in turn; who begins changes.

    Raises:
        JobError: A job failed.
    """
    taking_part = [client for client in case.clients if client in clients]
    numbers: dict[str, list[Numbers]] = {client: [] for client in taking_part}
    for number in range(min(rounds, case.most_rounds or rounds)):
        first = number % len(taking_part)
        for client in taking_part[first:] + taking_part[:first]:
            numbers[client].append(_do(client, case, server))
    return Result(case, numbers)


def _do(client: str, case: Case, server: LoadServer) -> Numbers:
    place = [str(server.port), str(next(server.runs)), case.work.to_json()]
    if client == "typescript":
        command = ["node", str(ROOT / "benchmarks/typescript.mjs"), str(TYPESCRIPT)]
    else:
        command = [sys.executable, "-m", "benchmarks.worker", client, case.job]
    try:
        done = subprocess.run(
            command + place,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise JobError(f"{client} hangs in {case.name}") from error
    if done.returncode:
        raise JobError(f"{client} failed in {case.name}:\n{done.stderr}")
    numbers: Numbers = json.loads(done.stdout)
    return numbers
