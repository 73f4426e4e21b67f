from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim.background import Background


def _background(
    enter: Callable[[], object] = lambda: None,
    leave: Callable[[], object] = lambda: None,
    port: int = 0,
) -> Background:
    @asynccontextmanager
    async def serve(_listener: socket.socket) -> AsyncIterator[None]:
        enter()
        yield
        leave()

    return Background(serve, "127.0.0.1", port)


def test_work_is_done_in_the_thread() -> None:
    """What is called runs in the named thread, and its answer comes back."""
    background = _background()
    background.start()
    name = background.call(lambda: threading.current_thread().name)
    background.stop(5)
    assert name.startswith("lasersell-sim-")


def test_an_error_of_the_work_is_raised_in_the_caller() -> None:
    """A failing call raises where it was made, and the thread lives on."""
    background = _background()
    background.start()
    with pytest.raises(ZeroDivisionError):
        background.call(lambda: 1 // 0)
    assert background.call(lambda: 3) == 3
    background.stop(5)


def test_a_call_from_the_thread_itself_does_not_wait() -> None:
    """Work that calls again is done at once."""
    background = _background()
    background.start()
    assert background.call(lambda: background.call(lambda: 3)) == 3
    background.stop(5)


def test_without_a_thread_the_caller_does_the_work() -> None:
    """Before the start and after the stop a call runs where it was made."""
    background = _background()
    assert background.call(threading.current_thread) is threading.current_thread()


def test_an_error_of_the_entry_is_raised_by_the_start() -> None:
    """A context that cannot be entered fails the start, and no thread is left."""

    def fail() -> None:
        raise OSError("no more of that")

    background = _background(enter=fail)
    with pytest.raises(OSError, match="no more"):
        background.start()
    assert not background.is_running


def test_a_port_that_is_taken_is_refused_and_can_be_tried_again() -> None:
    """Where nothing can be listened on, nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        background = _background(port=port)
        with pytest.raises(ConfigurationError, match=f"cannot listen on .*:{port}"):
            background.start()
    background.start()
    assert background.address == f"127.0.0.1:{port}"
    background.stop(5)


def test_a_free_port_is_kept() -> None:
    """Started again it listens where it did before."""
    background = _background()
    background.start()
    port = background.port
    background.stop(5)
    background.start()
    assert background.port == port
    background.stop(5)


def test_it_is_not_started_twice() -> None:
    """A second start is refused before it listens."""
    background = _background()
    background.start()
    with pytest.raises(ConfigurationError, match="already"):
        background.start()
    background.stop(5)


def test_a_stop_that_takes_too_long_says_so() -> None:
    """A context that is not left in time is an error; a later stop can succeed."""
    may_leave = threading.Event()
    background = _background(leave=lambda: may_leave.wait(10))
    background.start()
    with pytest.raises(TimeoutError, match="did not end"):
        background.stop(0.01)
    may_leave.set()
    background.stop(5)
