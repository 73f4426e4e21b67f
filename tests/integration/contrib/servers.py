"""Web servers as processes of their own, and what their callbacks tell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.session.exclusive import DIRECTORY_VARIABLE
from lasersell.sim import SimServer
from tests.integration.contrib.site.notes import NOTES_VARIABLE
from tests.patience import PATIENCE
from tests.programs import Program

__all__ = ["SITE", "Home", "NoteBox", "Server"]

API_KEY = "sk-made-up-for-tests-7f3a"
ROOT = Path(__file__).parents[3]
SITE = "tests.integration.contrib.site"
"""The package of the sites."""


class NoteBox:
    """
    What the callbacks of all processes of a site were called with, in order of arrival.

    Args:
        path: Where its socket is to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def close(self) -> None:
        """Take no more notes."""
        self._socket.close()

    def wait_for(
        self, type: str, account: str | None = None, *, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait for the next note of a type, of a token account if given; return it."""
        deadline = Deadline(timeout)
        while True:
            self._socket.settimeout(max(0.001, deadline.remaining() or 0.0))
            try:
                note: dict[str, Any] = json.loads(self._socket.recv(65536))
            except TimeoutError:
                raise AssertionError(f"no {type} after {self.notes}") from None
            self.notes.append(note)
            if note["type"] == type and account in (None, note["account"]):
                return note

    def of(self, type: str) -> list[dict[str, Any]]:
        """Return the notes of a type, of those that have arrived until now."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notes.append(json.loads(self._socket.recv(65536)))
        return [note for note in self.notes if note["type"] == type]


class Server(Program):
    """A running web server with its own process group, as if started in a terminal."""

    def wait_until(self, predicate: Callable[[str], object]) -> None:
        """Wait until something is true of the log."""
        deadline = Deadline(PATIENCE)
        with self._changed:
            while not predicate("".join(self._lines)):
                assert not deadline.has_passed(), f"not in {self.log}"
                self._changed.wait(deadline.remaining())

    def wait_for_candidates(self, number: int) -> None:
        """Wait until so many processes have ever had the stream or stood by for it."""
        pattern = re.compile(r"^(\d+) .*(?:standing by|has the stream)$", re.MULTILINE)
        self.wait_until(lambda log: len(set(pattern.findall(log))) >= number)

    @property
    def url(self) -> str:
        """Where it serves, by its log."""
        pattern = (
            r"(?:Listening at|development server at|Running on):? (http://[\d.:]+)"
        )
        self.wait_for(pattern)
        found = re.search(pattern, self.log)
        assert found is not None
        return found[1]

    def get(self, path: str = "/") -> str:
        """Return the text of a page."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    def press_ctrl_c(self) -> float:
        """Interrupt all its processes; return after how many seconds they had ended."""
        started = SYSTEM_CLOCK.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(PATIENCE)
        # The log ends when the last process does.
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), f"a process is left: {self.log}"
        return SYSTEM_CLOCK.monotonic() - started


class Home:
    """
    Where the servers of a site run.

    Args:
        path: A directory.
        sockets: Another one, with a short name.
        sim: The stream they are to use.

    Attributes:
        directory: Where they are started.
        environment: Their environment.
    """

    def __init__(self, path: Path, sockets: Path, sim: SimServer) -> None:
        self.path = path
        self.directory = ROOT
        self.box = NoteBox(sockets / "notes")
        self.environment = {
            **os.environ,
            # Where gunicorn has a socket of its own.
            "HOME": str(sockets),
            DIRECTORY_VARIABLE: str(path / "locks"),
            NOTES_VARIABLE: str(self.box.path),
            "DJANGO_SETTINGS_MODULE": f"{SITE}.settings",
            "FLASK_APP": f"{SITE}.flask_app",
            "LASERSELL_API_KEY": API_KEY,
            "LASERSELL_STREAM_ENDPOINT": sim.url,
            "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
        }

    @contextmanager
    def run(self, *command: str) -> Iterator[Server]:
        """Run a module of Python with its arguments; kill what is left of it in the end."""
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        process.stderr = process.stdout
        server = Server(process)
        try:
            yield server
        except BaseException:
            sys.stderr.write(server.log)  # shown if the test fails
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
            server._reader.join(PATIENCE)
            assert process.stdout is not None
            process.stdout.close()
