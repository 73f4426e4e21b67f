"""How old an exit signal is when ``recv()`` returns it."""

from __future__ import annotations

import attrs

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES", "PNL_RATES", "under_rate"]

_UNITS = {
    "p50_us": "us p50",
    "p99_us": "us p99",
    "max_us": "us max",
    "cpu_pct": "% CPU",
}
_IDLE = Work(script="exits", exits=60, interval_ms=20)
_QUICK = Work(script="exits", exits=10, interval_ms=5)
_SLOW = Work(script="exits", pnl_rate=1_000, exits=40, interval_ms=100, step_ms=2.0)

PNL_RATES = (1_000, 5_000, 20_000)


def under_rate(rate: int) -> str:
    """Return the name of the case with this many PnL updates a second."""
    return f"exit-{rate}"


def _under_rate(rate: int, *budgets: Budget) -> Case:
    return Case(
        name=under_rate(rate),
        title=f"Exit signal under {rate:,} pnl/s, one way",
        job="latency",
        work=Work(script="exits", pnl_rate=rate, exits=200, interval_ms=10),
        units=_UNITS,
        budgets=budgets,
        quick=attrs.evolve(_QUICK, pnl_rate=rate),
    )


CASES = (
    Case(
        name=under_rate(0),
        title="Exit signal, idle, one way",
        job="latency",
        work=_IDLE,
        units=_UNITS,
        clients=("lasersell", "official", "raw"),
        budgets=(
            Budget(
                of="p50_us",
                most=1.5,
                times="raw",
                words="1.5 x (raw socket and one thread hop)",
            ),
        ),
        quick=_QUICK,
    ),
    *(_under_rate(rate) for rate in PNL_RATES[:-1]),
    _under_rate(PNL_RATES[-1], Budget(of="p99_us", most=1_000, words="p99 1 ms")),
    Case(
        name="exit-slow-consumer",
        title="Exit signal, 1,000 pnl/s, consumer needs 2 ms an event, after 4 s",
        job="latency",
        work=_SLOW,
        units=_UNITS,
        budgets=(
            Budget(
                of="max_us",
                most=(_SLOW.step_ms + 2) * 1_000,
                words="one consumer step + 2 ms",
            ),
        ),
        most_rounds=1,
        quick=attrs.evolve(_SLOW, exits=5, interval_ms=10),
    ),
    Case(
        name="exit-busy-thread",
        title="Exit signal beside one busy Python thread",
        job="latency",
        work=Work(script="exits", exits=100, interval_ms=20, busy_threads=1),
        units=_UNITS,
        clients=("lasersell", "official", "raw"),
        most_rounds=2,
        quick=attrs.evolve(_QUICK, busy_threads=1),
    ),
)
