"""Ctrl-C, at any moment."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from lasersell._clock import SYSTEM_CLOCK, Deadline
from tests.faults.client import connect, wait_for
from tests.faults.processes import running
from tests.faults.raw_server import Peer, RawServer, drain, live

# CPython 3.10 may raise between the return of any function and the use of its
# result, so there a plain call can lose what it returned; the iterator cannot.
_LOOPS = ["for", "recv"] if sys.version_info >= (3, 11) else ["for"]


@pytest.mark.parametrize("loop", _LOOPS)
@pytest.mark.parametrize(
    "times", [30, pytest.param(300, marks=pytest.mark.slow)], ids=str
)
def test_ctrl_c_under_load_loses_no_event(times: int, loop: str) -> None:
    """Interrupted at random moments, a loop that is started again misses nothing."""
    with running("tests.faults.interrupt_program", str(times), loop) as program:
        answer, complaints = program.communicate(timeout=25)
    assert complaints == ""
    report = json.loads(answer)
    assert report["lost"] == []
    assert report["interrupted"] == times
    assert report["sent"] > times
    assert report["reconnects"] == 0


@pytest.fixture
def interrupt_soon() -> Iterator[threading.Timer]:
    """Interrupt the main thread in a moment, once started."""
    timer = threading.Timer(
        0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    )
    yield timer
    timer.cancel()
    timer.join()


def test_ctrl_c_ends_a_connect(interrupt_soon: threading.Timer) -> None:
    """A connect that waits for its server is left at once, with nothing behind it."""
    late = Deadline(3.0)
    with RawServer(drain) as server:
        interrupt_soon.start()
        with pytest.raises(KeyboardInterrupt):
            connect(server.endpoint, timeout=20)
    assert not late.has_passed()


def test_ctrl_c_in_a_with_block_closes_the_stream(
    interrupt_soon: threading.Timer,
) -> None:
    """Ctrl-C in recv() leaves the with block by closing the stream."""
    with RawServer(live) as server:
        connection = connect(server.endpoint)
        wait_for(connection, "hello_ok")
        interrupt_soon.start()
        with pytest.raises(KeyboardInterrupt), connection:
            connection.recv(timeout=10)
        assert connection.state == "closed"


def test_close_in_a_handler_during_close_returns_at_once() -> None:
    """A signal handler that calls close() while its thread is in close() never waits."""
    took: list[float] = []
    closed = threading.Event()
    main = threading.main_thread().ident or 0

    def on_signal(*_: object) -> None:
        started = SYSTEM_CLOCK.monotonic()
        connection.close()
        took.append(SYSTEM_CLOCK.monotonic() - started)

    def send() -> None:
        while not closed.wait(0.005):
            signal.pthread_kill(main, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, on_signal)
    sender = threading.Thread(target=send)
    try:
        with RawServer(_mute) as server:
            connection = connect(server.endpoint)
            late = Deadline(3.0)
            sender.start()
            connection.close()
            assert not late.has_passed()
            closed.set()
            sender.join(5)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert len(took) > 10
    assert max(took) < 0.2


def _mute(peer: Peer) -> None:
    peer.greet()
    drain(peer)
