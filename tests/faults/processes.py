"""Other processes: forked children, and programs of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

__all__ = ["run_in_fork", "running"]

_ROOT = Path(__file__).parents[2]


def run_in_fork(report: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Fork, and return what ``report`` returned in the child, as JSON carries it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # 3.12 warns of forks with threads; that is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        answer: dict[str, Any] = {"failure": "the child did not get to its end"}
        try:
            answer = report()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            answer = {"failure": repr(error)}
        finally:
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert "failure" not in answer, answer["failure"]
    return answer


@contextlib.contextmanager
def running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module as a program, warnings being errors; kill it if it does not end."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            try:
                process.wait(PATIENCE)
            except BaseException:  # pytest's own time-out too
                process.kill()
                raise
