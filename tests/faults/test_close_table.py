"""
close() keeps its promise in every state, whoever calls it.

The default run takes each state and each caller at least once; the whole table
runs with the slow tests.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.errors import ForkedError
from lasersell.stream.client import StreamConnection
from tests.faults.close_program import CLOSE_TIMEOUT, threads_of_ours
from tests.faults.descriptors import client_sockets
from tests.faults.processes import run_in_fork, running
from tests.faults.states import STATES
from tests.patience import PATIENCE

QUICK = 10.0
"""Seconds within which close() returns in each of these states, though it may take 15."""


def _close_quickly(connection: StreamConnection) -> None:
    started = SYSTEM_CLOCK.monotonic()
    connection.close(timeout=CLOSE_TIMEOUT)
    assert SYSTEM_CLOCK.monotonic() - started < QUICK
    assert threads_of_ours() == []


def _check_closed(connection: StreamConnection) -> None:
    assert connection.state == "closed"
    assert connection.error is None
    while connection.recv(timeout=1) is not None:
        pass  # what had arrived comes first
    assert connection.recv() is None


def _in_main_thread(state: str) -> None:
    with STATES[state]() as connection:
        _close_quickly(connection)
        _check_closed(connection)
        connection.close()


def _in_thread(
    make: Callable[[Callable[[], None]], threading.Thread],
) -> Callable[[str], None]:
    def cell(state: str) -> None:
        failures: list[BaseException] = []

        def close() -> None:
            try:
                _close_quickly(connection)
            except BaseException as failure:  # noqa: BLE001 - raised below
                failures.append(failure)

        with STATES[state]() as connection:
            thread = make(close)
            thread.start()
            thread.join(CLOSE_TIMEOUT + 1)
            assert not thread.is_alive()
            for failure in failures:
                raise failure
            _check_closed(connection)

    return cell


def _in_signal_handler(state: str) -> None:
    with running("tests.faults.close_program", state, "signal") as program:
        answer, complaints = program.communicate(timeout=PATIENCE)
    assert complaints == ""
    assert program.returncode == 0
    report = json.loads(answer)
    assert max(report["took"]) < QUICK
    assert (report["state"], report["after"]) == ("closed", None)
    assert report["threads"] == []


def _in_forked_child(state: str) -> None:
    with STATES[state]() as connection:
        port = connection._stream.options.url.port or 0
        assert client_sockets(port) != []
        child = run_in_fork(lambda: _use_in_child(connection, port))
        assert child["sockets"] == []
        assert (child["state"], child["error"]) == ("failed", "ForkedError")
        assert (child["recv"], child["ping"]) == ("ForkedError", "ForkedError")
        assert child["took"] < QUICK
        # The parent goes on as if nothing had happened.
        assert connection.state not in ("closed", "failed")
        _close_quickly(connection)
        _check_closed(connection)


def _use_in_child(connection: StreamConnection, port: int) -> dict[str, Any]:
    sockets = client_sockets(port)
    started = SYSTEM_CLOCK.monotonic()
    connection.close(timeout=CLOSE_TIMEOUT)
    return {
        "took": SYSTEM_CLOCK.monotonic() - started,
        "sockets": sockets,
        "state": connection.state,
        "error": type(connection.error).__name__,
        "recv": _error_of(lambda: connection.recv(timeout=1)),
        "ping": _error_of(connection.sender.ping),
    }


def _error_of(call: Callable[[], object]) -> str:
    try:
        return repr(call())
    except ForkedError as error:
        return type(error).__name__


def _at_interpreter_exit(state: str) -> None:
    with running("tests.faults.close_program", state, "exit") as program:
        assert program.stdout is not None
        assert json.loads(program.stdout.readline()) == {"ready": True}
        late = Deadline(QUICK)
        _, complaints = program.communicate(timeout=PATIENCE)
    assert not late.has_passed()
    assert complaints == ""
    assert program.returncode == 0


CALLERS: dict[str, Callable[[str], None]] = {
    "main thread": _in_main_thread,
    "another thread": _in_thread(lambda close: threading.Thread(target=close)),
    "Timer thread": _in_thread(lambda close: threading.Timer(0, close)),
    "signal handler": _in_signal_handler,
    "forked child": _in_forked_child,
    "interpreter exit": _at_interpreter_exit,
}

_DIAGONAL = set(zip(STATES, itertools.cycle(CALLERS)))


def _cells() -> list[Any]:
    return [
        pytest.param(
            state,
            caller,
            id=f"{state}-{caller}",
            marks=[] if (state, caller) in _DIAGONAL else pytest.mark.slow,
        )
        for state in STATES
        for caller in CALLERS
    ]


@pytest.mark.parametrize(("state", "caller"), _cells())
def test_close(state: str, caller: str) -> None:
    """close() returns in time, leaves nothing behind, and recv() says it is over."""
    CALLERS[caller](state)
