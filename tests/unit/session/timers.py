"""Timers that a fake clock drives."""

from __future__ import annotations

from collections.abc import Callable

from tests.clock import FakeClock

__all__ = ["FakeTimer", "FakeTimers"]


class FakeTimer:
    """One timer that was started."""

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action = action
        self.is_waiting = True

    def cancel(self) -> None:
        """Make it do nothing."""
        self.is_waiting = False

    def join(self, timeout: float | None = None) -> None:
        """Return: nothing runs by itself here."""


class FakeTimers:
    """
    Starts timers on a fake clock.

    Attributes:
        started: Every timer, oldest first.
        can_start: Whether a thread can be had.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.started: list[FakeTimer] = []
        self.can_start = True
        self._clock = clock

    def start(self, delay: float, action: Callable[[], None]) -> FakeTimer:
        """Start one, as ``threading.Timer`` does."""
        assert delay >= 0
        if not self.can_start:
            raise RuntimeError("can't start new thread")
        timer = FakeTimer(self._clock.monotonic() + delay, action)
        self.started.append(timer)
        return timer

    @property
    def waiting(self) -> list[FakeTimer]:
        """Those that have neither fired nor been cancelled."""
        return [timer for timer in self.started if timer.is_waiting]

    def next_due(self) -> float | None:
        """Return when the next one fires."""
        return min((timer.at for timer in self.waiting), default=None)

    def fire_due(self) -> None:
        """Fire what is due by now."""
        for timer in self.waiting:
            if timer.at <= self._clock.monotonic():
                timer.is_waiting = False
                timer.action()

    def advance(self, seconds: float) -> None:
        """Let time pass, from one timer to the next."""
        end = self._clock.monotonic() + seconds
        while (at := self.next_due()) is not None and at <= end:
            self._clock.advance(max(0.0, at - self._clock.monotonic()))
            self.fire_due()
        self._clock.advance(end - self._clock.monotonic())
