from __future__ import annotations

import pytest

from lasersell._clock import SYSTEM_CLOCK, Deadline
from tests.clock import FakeClock


def test_a_deadline_counts_down_with_its_clock(clock: FakeClock) -> None:
    """What is left shrinks by what the clock advances."""
    deadline = Deadline(10.0, clock)
    clock.advance(4.0)
    assert deadline.remaining() == 6.0
    assert not deadline.has_passed()


def test_a_deadline_passes_at_its_time(clock: FakeClock) -> None:
    """A deadline has passed at its moment, not only after it."""
    deadline = Deadline(10.0, clock)
    clock.advance(10.0)
    assert deadline.has_passed()


def test_what_remains_is_never_negative(clock: FakeClock) -> None:
    """A deadline long gone leaves 0 seconds, which every wait takes for "only look"."""
    deadline = Deadline(1.0, clock)
    clock.advance(100.0)
    assert deadline.remaining() == 0.0


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_has_passed_at_once(clock: FakeClock, timeout: float) -> None:
    """A timeout of 0 or less does not wait."""
    assert Deadline(timeout, clock).has_passed()


def test_no_timeout_never_passes(clock: FakeClock) -> None:
    """None means for ever."""
    deadline = Deadline(None, clock)
    clock.advance(1e9)
    assert deadline.remaining() is None
    assert not deadline.has_passed()


def test_within_takes_the_earlier_end(clock: FakeClock) -> None:
    """A step of a longer task gets its own bound, but never more than is left."""
    deadline = Deadline(10.0, clock)
    assert deadline.within(3.0).remaining() == 3.0
    assert deadline.within(30.0).remaining() == 10.0


def test_within_bounds_a_task_without_an_end(clock: FakeClock) -> None:
    """A step of an endless task still has its own bound."""
    assert Deadline(None, clock).within(3.0).remaining() == 3.0


def test_the_system_clock_reads_epoch_milliseconds() -> None:
    """The wall clock is in milliseconds: between the years 2020 and 2100."""
    assert 1_577_836_800_000 < SYSTEM_CLOCK.wall_ms() < 4_102_444_800_000


def test_the_system_clock_never_goes_back() -> None:
    """Two looks at the monotonic clock are in order."""
    first = SYSTEM_CLOCK.monotonic()
    assert SYSTEM_CLOCK.monotonic() >= first
