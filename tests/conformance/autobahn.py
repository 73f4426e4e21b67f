"""
Have the Autobahn test suite judge the transport, where it can run.

``make conformance`` runs this. The suite needs CPython 2.7 and is installed into
``.venv-autobahn``; the groups left out are limits (9), which the transport has on
purpose, and compression (12, 13), which it does not offer. Where Autobahn cannot
run, this says why and runs the cases of our own instead, which cover the same
ground.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import collections
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from lasersell._clock import Deadline
from tests.conformance.autobahn_client import AGENT, run_cases
from tests.interpreters import Interpreter, find_interpreters, pip_problem

__all__ = ["Verdicts", "judge"]

SUITE = "autobahntestsuite==25.10.1"
EXCLUDED = ["9.*", "12.*", "13.*"]
ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-autobahn"
REPORTS = ROOT / "build" / "autobahn"
START_TIMEOUT = 30.0

PASSED = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})

Verdicts = Mapping[str, Mapping[str, object]]
"""By the number of a case: how we behaved, and how we closed."""


class CannotRunError(Exception):
    """Autobahn cannot run here."""


def main() -> int:
    """Run what can be run; return the exit code."""
    try:
        return _run_autobahn()
    except CannotRunError as reason:
        print(f"Autobahn cannot run here: {reason}.")
        print("Running the conformance cases of our own instead.", flush=True)
    ours = [sys.executable, "-m", "pytest", "tests/conformance", "-m", "not soak"]
    return subprocess.call(ours, cwd=ROOT)


def _run_autobahn() -> int:
    python = _prepare()
    with _fuzzing_server(python) as url:
        count = run_cases(url)
    verdicts = json.loads((REPORTS / "index.json").read_text())[AGENT]
    wrong = judge(verdicts, count)
    print(f"{SUITE} on CPython {python.name}: {count} cases, {len(wrong)} failed")
    for problem in wrong:
        print(f"  {problem}")
    for outcome, cases in _by_outcome(verdicts).items():
        named = "" if outcome == "OK" else f": {' '.join(cases)}"
        print(f"{len(cases):5} {outcome}{named}")
    print(f"Each case: {(REPORTS / 'index.html').relative_to(ROOT)}")
    return 1 if wrong else 0


def judge(verdicts: Verdicts, count: int) -> list[str]:
    """Return what is wrong with our verdicts on ``count`` cases; empty if nothing is."""
    wrong = []
    for case, verdict in verdicts.items():
        behaviour, close = str(verdict["behavior"]), str(verdict["behaviorClose"])
        if not PASSED.issuperset((behaviour, close)):
            wrong.append(f"{case}: {behaviour}, close: {close}")
    if len(verdicts) != count or not count:
        wrong.append(f"{len(verdicts)} of {count} cases were judged")
    return wrong


def _by_outcome(verdicts: Verdicts) -> Mapping[str, list[str]]:
    groups = collections.defaultdict(list)
    for case, verdict in verdicts.items():
        behaviour, close = str(verdict["behavior"]), str(verdict["behaviorClose"])
        groups[close if behaviour == "OK" else behaviour].append(case)
    return groups


def _prepare() -> Interpreter:
    """Return an interpreter that has the suite."""
    python = next((it for it in find_interpreters() if it.version[:2] == (2, 7)), None)
    if python is None:
        raise CannotRunError(
            "there is no CPython 2.7, neither on the PATH nor in pyenv"
        )
    if _has_suite(python):
        return python
    # CPython 2.7 has no venv module; a user base of its own is as good.
    install = _run([python.path, "-m", "pip", "install", "--quiet", "--user", SUITE])
    if install.returncode or not _has_suite(python):
        raise CannotRunError(
            f"pip of CPython {python.name} failed ({pip_problem(install.stderr)})"
        )
    return python


def _has_suite(python: Interpreter) -> bool:
    probe = [python.path, "-c", "import autobahntestsuite"]
    return not _run(probe).returncode


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, env=_environment(), capture_output=True, text=True
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUSERBASE": str(HOME), "PYTHONPATH": ""}


@contextlib.contextmanager
def _fuzzing_server(python: Interpreter) -> Iterator[str]:
    """Run the suite's server; yield its URL."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "index.json").unlink(missing_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    url = f"ws://127.0.0.1:{address[1]}"
    settings = {
        "url": url,
        "outdir": str(REPORTS),
        "cases": ["*"],
        "exclude-cases": EXCLUDED,
        "exclude-agent-cases": {},
    }
    spec = REPORTS / "spec.json"
    spec.write_text(json.dumps(settings))
    command = [python.path, "-m", "autobahntestsuite.wstest"]
    command += ["--mode", "fuzzingserver", "--spec", str(spec), "--webport", "0"]
    with (
        (REPORTS / "server.log").open("wb") as log,
        subprocess.Popen(command, env=_environment(), stdout=log, stderr=log) as server,
    ):
        try:
            _wait_for_port(address, server)
            yield url
        finally:
            server.terminate()


def _wait_for_port(address: tuple[str, int], server: subprocess.Popen[bytes]) -> None:
    deadline = Deadline(START_TIMEOUT)
    never = threading.Event()
    while server.poll() is None and not deadline.has_passed():
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            never.wait(0.05)  # it tells nobody that it listens
        else:
            return
    raise CannotRunError(
        f"its server did not start, see {(REPORTS / 'server.log').relative_to(ROOT)}"
    )


if __name__ == "__main__":
    sys.exit(main())
