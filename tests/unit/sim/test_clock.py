from __future__ import annotations

from lasersell.sim.clock import ManualClock


def test_a_manual_clock_moves_when_it_is_told_to() -> None:
    """Both clocks stand still, and advance together."""
    clock = ManualClock(5_000)
    assert (clock.monotonic(), clock.wall_ms()) == (0.0, 5_000)
    clock.advance(250)
    assert (clock.monotonic(), clock.wall_ms()) == (0.25, 5_250)
