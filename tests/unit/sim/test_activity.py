from __future__ import annotations

import threading

import pytest

from lasersell._threads import start_thread
from lasersell.sim.activity import Activity


def test_a_wait_ends_when_it_becomes_true() -> None:
    """The predicate is asked again whenever something happened, until it is true."""
    activity, asked, value = Activity(), threading.Event(), 0

    def predicate() -> bool:
        asked.set()
        return value == 3

    waiter = start_thread("test-waiter", lambda: activity.wait_until(predicate, 5))
    for number in (1, 2, 3):
        assert asked.wait(5)
        asked.clear()
        value = number
        activity.ring()
    waiter.join(5)
    assert not waiter.is_alive()


def test_what_is_true_already_is_not_waited_for() -> None:
    """The predicate is asked once at least, even with no time at all."""
    Activity().wait_until(lambda: True, 0)


def test_a_wait_in_vain_says_so() -> None:
    """What stays untrue is a TimeoutError."""
    with pytest.raises(TimeoutError, match="within 0 s"):
        Activity().wait_until(lambda: False, 0)


def test_a_predicate_may_ring_itself() -> None:
    """It is called without a lock, so that it may ask whoever rings."""
    activity, rings = Activity(), iter([False, False, True])

    def predicate() -> bool:
        activity.ring()
        return next(rings)

    activity.wait_until(predicate, 5)
