"""
Keep a stream under load on every CPython of this machine, and count what breaks.

``make soak MINUTES=...`` runs this. In each interpreter from 3.10 up a reader, four
writers, a pinger and the heartbeat share one TLS connection, through a proxy that
cuts the bytes into random pieces at random intervals. Neither the server nor the
proxy ever ends a connection, so every disconnect is ours. The environments are kept
in ``.venv-soak``.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import trustme

from tests.faults.certificates import server_context
from tests.faults.chaos_proxy import ChaosProxy, Direction
from tests.interpreters import Interpreter, find_interpreters, pip_problem
from tests.soak.report import Report
from tests.soak.server import SoakServer

__all__ = ["Outcome", "run_client"]

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-soak"
SLACK = 60.0
"""Seconds beyond its time after which a client counts as hung."""
PIECE = 1400
"""Most bytes that the proxy passes on at once."""
PAUSE = 0.001
"""Longest time that the proxy waits between two pieces, in seconds."""


class CannotRunError(Exception):
    """The package cannot be installed for an interpreter."""


@attrs.frozen
class Outcome:
    """What both ends of a run saw."""

    seconds: float
    client: Report
    connections: int
    commands: int
    """Numbered commands that the server took."""
    pongs: int
    """Answers to the server's own pings."""
    lost: int
    """Events and commands that did not arrive, or not in order."""
    problems: list[str]
    """What must not happen; empty if all is well."""


def run_client(python: str, seconds: float, client: str = "client") -> Outcome:
    """Run a client of this folder under an interpreter that has the package."""
    authority = trustme.CA()
    with (
        tempfile.TemporaryDirectory() as folder,
        SoakServer(server_context(authority)) as server,
        ChaosProxy(server.port) as proxy,
    ):
        _make_jitter(proxy.to_server)
        _make_jitter(proxy.to_client)
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        endpoint = f"wss://localhost:{proxy.port}/v1/ws"
        command = [python, "-m", f"tests.soak.{client}"]
        command += [endpoint, str(ca_file), str(seconds)]
        report, problems = _run(command, seconds + SLACK)
    return Outcome(
        seconds,
        report,
        server.connections,
        server.commands,
        server.pongs,
        report.lost_events + server.lost_commands,
        problems + _problems(report, server),
    )


def _make_jitter(direction: Direction) -> None:
    direction.most = PIECE
    direction.pause = PAUSE
    direction.jitter = True


def _run(command: list[str], timeout: float) -> tuple[Report, list[str]]:
    try:
        run = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return Report(), ["the client hung"]
    said = run.stderr.strip().splitlines()
    if run.returncode:
        return Report(), [f"the client failed: {said[-1] if said else run.returncode}"]
    return Report.from_json(run.stdout), [f"the client said: {line}" for line in said]


def _problems(report: Report, server: SoakServer) -> list[str]:
    problems = [f"disconnected: {cause}" for cause in report.disconnects]
    problems += [f"the server saw {fault}" for fault in server.faults]
    for count, words in (
        (report.lost_events, "events were lost"),
        (server.lost_commands, "commands were lost"),
    ):
        if count:
            problems.append(f"{count} {words}")
    for seen, words in (
        (report.events, "events"),
        (report.pings, "answers to pings"),
        (server.commands, "commands"),
        (server.pongs, "pongs"),
    ):
        if not seen:
            problems.append(f"there were no {words}")
    return problems


def prepare(interpreter: Interpreter) -> str:
    """
    Return the interpreter of an environment that has the package.

    Raises:
        CannotRunError: It cannot be made; says why.
    """
    home = HOME / interpreter.name
    python, ready = home / "bin" / "python", home / ".ready"
    project = ROOT / "pyproject.toml"
    if ready.exists() and ready.stat().st_mtime >= project.stat().st_mtime:
        return str(python)
    for command in (
        [interpreter.path, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--editable", "."],
    ):
        step = subprocess.run(
            command, check=False, cwd=ROOT, capture_output=True, text=True
        )
        if step.returncode:
            raise CannotRunError(pip_problem(step.stderr or step.stdout))
    ready.touch()
    return str(python)


def main() -> int:
    """Run everything; return the exit code."""
    parser = argparse.ArgumentParser(description="Keep a stream under load.")
    parser.add_argument("minutes", type=float, help="for all interpreters together")
    parser.add_argument("--client", choices=["client", "stock"], default="client")
    options = parser.parse_args()
    # A connection of the stock client dies while the server is writing to it.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    pythons: list[str] = []
    for interpreter in find_interpreters():
        if interpreter.version < (3, 10):
            continue
        try:
            pythons.append(prepare(interpreter))
        except CannotRunError as reason:
            print(f"skipped {interpreter.name}: {reason}")
    if not pythons:
        print("there is no CPython that can run the package")
        return 1
    seconds = options.minutes * 60 / len(pythons)
    print(f"{options.client}, {seconds:.0f} s on each of {len(pythons)} interpreters")
    print(_HEAD, flush=True)
    outcomes = []
    for python in pythons:
        outcome = run_client(python, seconds, options.client)
        print(_row(outcome), flush=True)
        outcomes.append(outcome)
    for outcome in outcomes:
        for problem in outcome.problems:
            print(f"{outcome.client.python}: {problem}")
    return 1 if any(outcome.problems for outcome in outcomes) else 0


_HEAD = (
    "python    openssl  seconds  connections  events in  commands out"
    "   pings   pongs  lost  disconnects"
)


def _row(outcome: Outcome) -> str:
    client = outcome.client
    return (
        f"{client.python:9} {client.openssl:7} {outcome.seconds:8.0f} "
        f"{outcome.connections:12} {client.events:10} {outcome.commands:13} "
        f"{client.pings:7} {outcome.pongs:7} {outcome.lost:5} "
        f"{len(client.disconnects):12}"
    )


if __name__ == "__main__":
    sys.exit(main())
