"""A Redis of the tests' own: started, killed, frozen and started again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from lasersell._clock import Deadline
from tests.patience import PATIENCE

__all__ = ["RedisServer", "free_port", "running_redis"]


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """
    One Redis; a context manager that ends it.

    Args:
        directory: Where it keeps its files, and what it says.
        answers_at: The port, where the options say it otherwise; None takes a free one.
        options: Settings of redis.conf, with ``_`` for ``-``.
    """

    def __init__(
        self, directory: Path, *, answers_at: int | None = None, **options: Any
    ) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("no redis-server: apt-get install redis-server")
        self.port = answers_at or free_port()
        given = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": directory,
            "save": "",
            "appendonly": "no",
            # Else a second Redis of the same machine may swap this one's memory.
            "maxmemory": "512mb",
            "maxmemory_policy": "noeviction",
            **options,
        }
        self._command = [program]
        for name, value in given.items():
            self._command += [f"--{name.replace('_', '-')}", str(value)]
        self._log = directory / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL to give to a relay."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return once it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = Deadline(PATIENCE)
        tick = threading.Event()
        while not self._answers():
            assert not deadline.has_passed(), self._log.read_text()
            assert process.poll() is None, self._log.read_text()
            # Redis tells nobody that it is ready.
            tick.wait(0.02)

    def _answers(self) -> bool:
        try:
            probe = socket.create_connection(("127.0.0.1", self.port), 1.0)
        except OSError:
            return False
        with probe:
            probe.settimeout(1.0)
            probe.sendall(b"PING\r\n")
            try:
                answer = probe.recv(64)
            except ConnectionResetError:
                return True  # it wants TLS
            except OSError:
                return False
        # One that wants a password answers too; one that loads says so.
        return not answer.startswith(b"-LOADING")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it from doing anything, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """Return a client of the test's own."""
        with contextlib.closing(redis.Redis(port=self.port, protocol=2)) as client:
            yield client

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def running_redis(directory: Path, **options: Any) -> Iterator[RedisServer]:
    """Run a Redis in a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    with RedisServer(directory, **options) as server:
        yield server
