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
    throughput,
    watching,
)

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (
    *throughput.CASES,
    *latency.CASES,
    *commands.CASES,
    *resources.CASES,
    *lifecycle.CASES,
    *watching.CASES,
)
