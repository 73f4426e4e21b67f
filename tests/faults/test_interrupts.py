"""Ctrl-C, at any moment."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from lasersell._clock import SYSTEM_CLOCK, Deadline
from tests.faults.client import connect, wait_for
from tests.faults.processes import running
from tests.faults.raw_server import Peer, RawServer, drain, live
from tests.patience import PATIENCE

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


def _interrupt(call: Callable[[], object]) -> None:
    """Make a call that a Ctrl-C ends in a moment."""
    timer = threading.Timer(
        0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
    )

    def started() -> None:
        # Not before: nobody but the call may be interrupted, however late it begins.
        timer.start()
        call()

    with pytest.raises(KeyboardInterrupt):
        started()
    timer.join()


def test_ctrl_c_ends_a_connect() -> None:
    """A connect that waits for its server is left at once, with nothing behind it."""
    late = Deadline(PATIENCE / 2)
    with RawServer(drain) as server:
        _interrupt(lambda: connect(server.endpoint, timeout=PATIENCE))
    assert not late.has_passed()


def test_ctrl_c_in_a_with_block_closes_the_stream() -> None:
    """Ctrl-C in recv() leaves the with block by closing the stream."""

    def receive() -> None:
        with connection:
            connection.recv(timeout=PATIENCE)

    with RawServer(live) as server:
        connection = connect(server.endpoint)
        wait_for(connection, "hello_ok")
        _interrupt(receive)
        assert connection.state == "closed"


def test_close_in_a_handler_during_close_returns_at_once() -> None:
    """A signal handler that calls close() while its thread is in close() never waits."""
    took: list[float] = []
    closed = threading.Event()
    main = threading.main_thread().ident or 0

    def on_signal(*_: object) -> None:
        started = SYSTEM_CLOCK.monotonic()
        connection.close(timeout=PATIENCE)
        took.append(SYSTEM_CLOCK.monotonic() - started)

    def send() -> None:
        while not closed.wait(0.005):
            signal.pthread_kill(main, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, on_signal)
    sender = threading.Thread(target=send)
    try:
        with RawServer(_mute) as server:
            connection = connect(server.endpoint)
            late = Deadline(PATIENCE / 2)
            sender.start()
            connection.close(timeout=PATIENCE)
            assert not late.has_passed()
            closed.set()
            sender.join(PATIENCE)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert len(took) > 10
    # Any one of them may be late on a busy machine, but none has waited for the close.
    assert sorted(took)[len(took) // 2] < 0.2
    assert max(took) < PATIENCE / 2


def _mute(peer: Peer) -> None:
    peer.greet()
    drain(peer)
