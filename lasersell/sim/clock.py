"""A clock that stands still, for servers that are stepped by hand."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """
    Time that moves only when told to, so that a run can be repeated to the frame.

    Args:
        start_ms: Where the wall clock starts, in Unix milliseconds.
    """

    def __init__(self, start_ms: int = 1_750_000_000_000) -> None:
        self._start_ms = start_ms
        self._now_ms = start_ms

    def advance(self, milliseconds: int) -> None:
        """Move both clocks forward."""
        self._now_ms += milliseconds

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return (self._now_ms - self._start_ms) / 1000

    def wall_ms(self) -> int:
        """Return Unix epoch milliseconds."""
        return self._now_ms
