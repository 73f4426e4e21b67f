"""
Programs that end in ways nobody planned, with a stream still open.

Run as ``python -m tests.faults.exit_program <way>``; prints "ready" and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from lasersell.errors import LaserSellError
from lasersell.stream.client import StreamConnection
from tests.faults.client import connect
from tests.faults.raw_server import RawServer, live

__all__ = ["WAYS"]


def _fall_off(connection: StreamConnection) -> None:
    globals()["kept"] = connection


def _raise(connection: StreamConnection) -> None:
    _fall_off(connection)
    raise SystemExit("as planned")


def _leave_consumer(connection: StreamConnection) -> None:
    _fall_off(connection)
    threading.Thread(target=lambda: list(connection), daemon=True).start()


def _exit_in_with(connection: StreamConnection) -> None:
    with connection:
        sys.exit()


def _terminate(connection: StreamConnection) -> None:
    _fall_off(connection)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    for _ in connection:
        pass


def _leave_writer(connection: StreamConnection) -> None:
    _fall_off(connection)

    def ping() -> None:
        with contextlib.suppress(LaserSellError):
            while True:
                connection.sender.ping()

    threading.Thread(target=ping, daemon=True).start()


WAYS: dict[str, Callable[[StreamConnection], None]] = {
    "falls off its end": _fall_off,
    "raises": _raise,
    "leaves a daemon in recv": _leave_consumer,
    "leaves a daemon writing": _leave_writer,
    "exits inside a with block": _exit_in_with,
    "is terminated": _terminate,
}


def main(way: str) -> None:
    """Connect, and end."""
    server = RawServer(live)
    server.__enter__()
    globals()["server"] = server
    connection = connect(server.endpoint)
    print("ready", flush=True)  # noqa: T201 - the answer to the test
    WAYS[way](connection)


if __name__ == "__main__":
    main(sys.argv[1])
