"""How long a sale takes from its exit signal to the node."""

from __future__ import annotations

import attrs

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES"]

_SALES = Work(script="exits", exits=100, interval_ms=20)

CASES = (
    Case(
        name="sale",
        title="Exit signal signed and submitted, to its last byte at the node",
        job="sale",
        work=_SALES,
        units={
            "signal_p50_us": "us p50 from the server's signal",
            "sale_p50_us": "us p50 from recv()",
            "sale_p99_us": "us p99",
        },
        budgets=(
            Budget(of="signal_p50_us", most=2_000, words="signal to bytes: 2 ms"),
            Budget(
                of="sale_p50_us",
                most=1 / 3,
                times="official",
                words="a third of the official Python SDK's sign and send",
            ),
        ),
        quick=attrs.evolve(_SALES, exits=5, interval_ms=5),
    ),
)
