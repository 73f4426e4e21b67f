"""A clock that moves only when a test says so."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """
    A :class:`lasersell._clock.Clock` that stands still until :meth:`advance`.

    Args:
        wall_ms: Unix epoch milliseconds at the start.
    """

    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = wall_ms
        self._elapsed = 0.0

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed

    def wall_ms(self) -> int:
        """Return the start plus what was advanced, in epoch milliseconds."""
        return self._start_ms + round(self._elapsed * 1000)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        assert seconds >= 0, "time does not run backwards"
        self._elapsed += seconds
