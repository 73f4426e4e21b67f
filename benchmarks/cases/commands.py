"""How long a command takes to its socket, to the server, and to its answer."""

from __future__ import annotations

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES"]

CASES = (
    Case(
        name="command",
        title="request_exit_signal: the call, to the server, to the exit signal",
        job="commands",
        work=Work(script="answer", repeats=200, interval_ms=8),
        units={
            "call_us": "us p50 call",
            "one_way_us": "us p50 to server",
            "round_trip_us": "us p50 round trip",
            "round_trip_p99_us": "us p99 round trip",
        },
        clients=("lasersell", "official", "raw"),
        budgets=(
            Budget(
                of="one_way_us",
                most=2.0,
                times="raw",
                words="command to the server's socket: 2 raw sends",
            ),
        ),
        most_rounds=3,
        quick=Work(script="answer", repeats=10, interval_ms=2),
    ),
)
