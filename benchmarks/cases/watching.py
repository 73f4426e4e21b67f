"""What looking on costs: the live view of a notebook, a scrape of the metrics."""

from __future__ import annotations

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES"]

_WORK = Work(
    script="exits",
    positions=50,
    pnl_rate=1_000,
    exits=1_600,
    interval_ms=20,
    repeats=16,
)
_QUICK = Work(script="exits", positions=5, pnl_rate=100, exits=20, interval_ms=10)
_DELAYS = {
    "exit_p99_us": "us p99 exit without",
    "exit_beside_p99_us": "us p99 exit beside it",
    "delay_p99_us": "us more",
}

CASES = (
    Case(
        name="live-view",
        title="Live view of 50 positions at 20 pnl/s each, in a kernel",
        job="live_view",
        work=_WORK,
        units={
            "view_cpu_pct": "% CPU for the view",
            **_DELAYS,
        },
        clients=("lasersell",),
        budgets=(
            Budget(of="view_cpu_pct", most=10.0, words="10 % of one core"),
            Budget(of="delay_p99_us", most=5_000, words="5 ms later, p99"),
        ),
        most_rounds=1,
        quick=_QUICK,
    ),
    Case(
        name="scrape",
        title="Scrape of the metrics under 1,000 pnl/s, 20 a second",
        job="scrape",
        work=_WORK,
        units={
            "scrape_cpu_us": "us CPU a scrape",
            "scrape_p50_us": "us p50 scrape",
            "scrape_p99_us": "us p99 scrape",
            **_DELAYS,
        },
        clients=("lasersell",),
        budgets=(Budget(of="scrape_p99_us", most=5_000, words="a scrape: 5 ms"),),
        most_rounds=1,
        quick=_QUICK,
    ),
)
