"""Beginnings: import, connect, reconnect; and many deadlines at once."""

from __future__ import annotations

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES"]

_LATENESS = {"p50_ms": "ms p50", "p99_ms": "ms p99", "max_ms": "ms max"}

CASES = (
    Case(
        name="import",
        title="Import, in a fresh interpreter",
        job="import_package",
        work=Work(),
        units={"import_ms": "ms", "modules": "modules"},
    ),
    Case(
        name="connect",
        title="Connect to the first position",
        job="connect",
        work=Work(repeats=20),
        units={"p50_ms": "ms p50"},
        quick=Work(repeats=2),
    ),
    Case(
        name="reconnect",
        title="Connection lost to the next one's first exit signal (100 ms of it back-off)",
        job="reconnect",
        work=Work(script="drop"),
        units={"live_ms": "ms"},
    ),
    Case(
        name="deadlines",
        title="10,000 deadlines, 2,000 a second: the request after the deadline",
        job="deadlines",
        work=Work(script="deadlines", exits=10_000, interval_ms=0.5, seconds=6.0),
        units=_LATENESS,
        budgets=(Budget(of="p99_ms", most=20.0, words="20 ms late, p99"),),
        most_rounds=1,
        quick=Work(script="deadlines", exits=100, interval_ms=0.5, seconds=1.0),
    ),
    Case(
        name="deadlines-at-once",
        title="10,000 deadlines at the same moment: the request after the deadline",
        job="deadlines",
        work=Work(script="deadlines", exits=10_000, seconds=3.0),
        units=_LATENESS,
        most_rounds=1,
        quick=Work(script="deadlines", exits=100, seconds=1.0),
    ),
)
