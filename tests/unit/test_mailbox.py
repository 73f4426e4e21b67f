from __future__ import annotations

import math
import queue
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell._mailbox import Doorbell, Mailbox
from tests.patience import PATIENCE


def _in_a_handler_of(seconds: float) -> None:
    """Have a signal handler come in 10 ms that takes so long."""

    def handle(*_: object) -> None:
        deadline = Deadline(seconds)
        while not deadline.has_passed():
            pass

    signal.signal(signal.SIGUSR1, handle)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.start()


@pytest.fixture
def former_handler() -> Iterator[None]:
    """Put the signal handler back that a test replaces."""
    former = signal.getsignal(signal.SIGUSR1)
    yield
    # A signal that is still to come would meet the default, and end the run.
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(PATIENCE)
    signal.signal(signal.SIGUSR1, former)


def test_a_ring_wakes_the_waiting_thread() -> None:
    """The thread that waits returns, and the ring is over."""
    bell = Doorbell()
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(bell.wait(None)))
    thread.start()
    bell.ring()
    thread.join(PATIENCE)
    assert woken == [True]
    assert not bell.wait(0)


def test_a_ring_is_not_missed_by_who_comes_later() -> None:
    """However often it was rung, one wait ends it."""
    bell = Doorbell()
    for _ in range(3):
        bell.ring()
    assert bell.wait(None)
    assert not bell.wait(0)


@pytest.mark.parametrize("timeout", [0, 0.0, -1, -0.5, 1e-9, 1e-6, 0.001])
def test_a_short_wait_ends(timeout: float) -> None:
    """Also one of no time at all, and again and again."""
    for _ in range(20):
        assert not Doorbell().wait(timeout)
        with pytest.raises(queue.Empty):
            Mailbox[int]().get(timeout)


@pytest.mark.parametrize("timeout", [1e12, math.inf])
def test_a_wait_may_be_longer_than_the_platform_can(timeout: float) -> None:
    """It is for ever, then."""
    bell = Doorbell()
    threading.Timer(0.01, bell.ring).start()
    assert bell.wait(timeout)


@pytest.mark.usefixtures("former_handler")
def test_a_wait_ends_though_a_signal_handler_outlasts_it() -> None:
    """The time is up when the handler returns, and the wait is over."""
    for wait in (Doorbell().wait, Mailbox[int]().get):
        _in_a_handler_of(0.06)
        before = SYSTEM_CLOCK.monotonic()
        try:
            assert not wait(0.03)
        except queue.Empty:
            pass
        assert SYSTEM_CLOCK.monotonic() - before < PATIENCE


@pytest.mark.usefixtures("former_handler")
def test_a_signal_handler_may_put() -> None:
    """Into the mailbox that its own thread waits on."""
    mailbox: Mailbox[str] = Mailbox()
    signal.signal(signal.SIGUSR1, lambda *_: mailbox.put("from the handler"))
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGUSR1)).start()
    assert mailbox.get(PATIENCE) == "from the handler"


def test_items_come_in_order() -> None:
    """First in, first out, without a wait while there are any."""
    mailbox: Mailbox[int] = Mailbox()
    for number in range(3):
        mailbox.put(number)
    assert [mailbox.get(0) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(queue.Empty):
        mailbox.get(0.001)


def test_no_item_is_slept_through() -> None:
    """Under the wildest switching of threads everything arrives."""
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def receive() -> None:
        taken.extend(mailbox.get(PATIENCE) for _ in range(4000))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=receive)
    try:
        thread.start()
        for number in range(4000):
            mailbox.put(number)
        thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    assert taken == list(range(4000))


def test_an_item_in_the_last_moment_is_taken() -> None:
    """What came while the time ran out is returned."""
    mailbox: Mailbox[str] = Mailbox()

    class _LateBell(Doorbell):
        def wait(self, timeout: float | None) -> bool:  # noqa: ARG002 - it is over
            mailbox._items.append("just in time")
            return False

    mailbox._bell = _LateBell()
    assert mailbox.get(1.0) == "just in time"
