"""
All cases, in the order of the table.
"""

from __future__ import annotations

from benchmarks.case import Case
from benchmarks.cases import (
    commands,
    latency,
    lifecycle,
    resources,
    sales,
    throughput,
    watching,
)

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (
    *throughput.CASES,
    *latency.CASES,
    *sales.CASES,
    *commands.CASES,
    *resources.CASES,
    *lifecycle.CASES,
    *watching.CASES,
)
