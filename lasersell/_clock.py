"""
The only file that reads a clock.

``Clock`` is what the rest of the package is given; tests hand in a fake one.
Seconds are floats on the monotonic clock unless a name ends in ``_ms``, which
is Unix epoch milliseconds on the wall clock.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "Deadline", "SystemClock"]


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean anything."""
        ...

    def wall_ms(self) -> int:
        """Return Unix epoch milliseconds."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)

    def wall_ms(self) -> int:
        """Return Unix epoch milliseconds."""
        return time.time_ns() // 1_000_000


SYSTEM_CLOCK = SystemClock()


class Deadline:
    """
    One point in time that many steps share.

    Args:
        timeout: Seconds from now; None means never, 0 or less means at once.
        clock: Where time comes from.
    """

    __slots__ = ("_at", "_clock")

    def __init__(self, timeout: float | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._at = None if timeout is None else clock.monotonic() + timeout

    def remaining(self) -> float | None:
        """Return the seconds left, never below 0; None when there is no limit."""
        if self._at is None:
            return None
        return max(0.0, self._at - self._clock.monotonic())

    def has_passed(self) -> bool:
        """Tell whether the time is up."""
        return self._at is not None and self._clock.monotonic() >= self._at

    def within(self, timeout: float) -> Deadline:
        """Return the earlier of this deadline and ``timeout`` seconds from now."""
        sooner = Deadline(timeout, self._clock)
        if self._at is not None and sooner._at is not None and self._at < sooner._at:
            return self
        return sooner
