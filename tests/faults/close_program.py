"""
A program whose stream is closed by a signal, or by nobody before it ends.

Run as ``python -m tests.faults.close_program <state> <signal|exit>``; it prints
one line of JSON about what happened, or just ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

from lasersell._clock import SYSTEM_CLOCK
from lasersell.stream.client import StreamConnection
from tests.faults.states import (
    STATES,
    tell_when_stuck,
    unread,
    write_until_stuck,
)
from tests.patience import PATIENCE

__all__ = ["CLOSE_TIMEOUT", "threads_of_ours"]

CLOSE_TIMEOUT = 15.0


def threads_of_ours() -> list[str]:
    """Return the names of the threads that close() must not leave behind."""
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith(("lasersell-reader", "lasersell-supervisor"))
    ]


def _say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201 - the answer to the test


def _close_by_signal(state: str) -> None:
    took: list[float] = []
    handled = threading.Event()

    def on_signal(*_: object) -> None:
        started = SYSTEM_CLOCK.monotonic()
        connection.close(timeout=CLOSE_TIMEOUT)
        took.append(SYSTEM_CLOCK.monotonic() - started)
        handled.set()

    signal.signal(signal.SIGUSR1, on_signal)
    if state == "writer stuck":
        # The main thread itself is the writer, and so inside a call of ours.
        with unread() as connection, tell_when_stuck() as stuck:
            _signal_when(stuck, until=handled)
            write_until_stuck(connection)
            connection.close(timeout=CLOSE_TIMEOUT)
            _report(connection, took)
        return
    with STATES[state]() as connection:
        now = threading.Event()
        now.set()
        _signal_when(now, until=handled)
        if state == "reader held back":
            handled.wait(PATIENCE)  # whoever received would make room
        for _ in connection:
            pass  # the handler runs in here
        _report(connection, took)


def _signal_when(ready: threading.Event, until: threading.Event) -> None:
    def send() -> None:
        ready.wait(PATIENCE)
        # A signal that comes just before a system call begins is not seen until
        # the call returns, so one may not be enough.
        while not until.wait(0.1):
            os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=send).start()


def _report(connection: StreamConnection, took: list[float]) -> None:
    messages = [str(message) for message in connection]
    _say(
        took=took,
        state=connection.state,
        last=messages[-1:],
        after=connection.recv(),
        threads=threads_of_ours(),
    )


def _exit_without_close(state: str) -> None:
    scene = STATES[state]()
    scene.__enter__()
    # Never collected: leaving the scene would close the stream in order.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(scene))
    _say(ready=True)


if __name__ == "__main__":
    {"signal": _close_by_signal, "exit": _exit_without_close}[sys.argv[2]](sys.argv[1])
