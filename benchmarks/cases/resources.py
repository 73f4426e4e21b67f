"""What a stream costs that nobody reads, or that says nothing."""

from __future__ import annotations

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES"]

CASES = (
    Case(
        name="stalled",
        title="Memory, consumer stalled for 200,000 pnl_update",
        job="stall",
        # The warm-up is less than the lane holds: none of it may be dropped.
        work=Work(script="flood", warm_up=1_000, frames=200_000),
        units={"grown_mb": "MB more"},
        budgets=(Budget(of="grown_mb", most=3.0, words="3 MB"),),
        most_rounds=1,
        quick=Work(script="flood", warm_up=100, frames=2_000),
    ),
    Case(
        name="idle",
        title="Idle, one position open",
        job="idle",
        work=Work(seconds=10.0),
        units={"wake_ups_s": "wake-ups/s", "cpu_pct": "% CPU"},
        budgets=(Budget(of="wake_ups_s", most=1.0, words="1 wake-up a second"),),
        most_rounds=1,
        quick=Work(seconds=0.5),
    ),
)
