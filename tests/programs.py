"""Programs that tests run, and what they log."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading

from lasersell._clock import Deadline
from lasersell._threads import start_thread
from tests.patience import PATIENCE

__all__ = ["Program", "lasersell"]


def lasersell(*arguments: str) -> list[str]:
    """Return the words that run ``lasersell``."""
    code = "from lasersell.cli.main import main; main()"
    return [sys.executable, "-c", code, *arguments]


class Program:
    """
    A running program; what it logs is read by a thread.

    Args:
        process: The process, its standard error a pipe.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = start_thread("program-log", self._read)

    @property
    def log(self) -> str:
        """What it has logged."""
        with self._changed:
            return "".join(self._lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()

    def wait_for(self, pattern: str, timeout: float = PATIENCE) -> None:
        """Wait until the log has what a pattern says."""
        deadline = Deadline(timeout)
        with self._changed:
            while not re.search(pattern, "".join(self._lines)):
                assert not deadline.has_passed(), f"no {pattern!r} in {self.log}"
                self._changed.wait(deadline.remaining())

    def end(self, *signals: int) -> int:
        """Send signals, and return the exit code."""
        for number in signals:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # Python's fault handler then shows what each thread is at.
            self.process.send_signal(signal.SIGABRT)
            self._reader.join(PATIENCE)
            raise AssertionError(f"it did not end: {self.log}") from None
        finally:
            self.process.kill()
            self._reader.join(PATIENCE)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)
