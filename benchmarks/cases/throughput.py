"""What one frame costs, from the socket to ``recv()``, when nothing else limits."""

from __future__ import annotations

import attrs

from benchmarks.case import Budget, Case
from benchmarks.work import Work

__all__ = ["CASES"]

_UNITS = {"cpu_us": "us CPU/frame", "frames_s": "frames/s", "dropped": "dropped"}
_PNL = Work(script="flood", warm_up=4_800, frames=48_000)
_MIXED = Work(script="flood", warm_up=2_400, frames=24_000, mixed=True)
_NOTHING_DROPPED = Budget(of="dropped", most=0, words="nothing dropped")


def _with_positions(count: int) -> Case:
    return Case(
        name=f"positions-{count}",
        title=f"The same with {count:,} open positions",
        job="consume",
        work=Work(script="flood", warm_up=10_000, frames=30_000, positions=count),
        units=_UNITS,
        budgets=(_NOTHING_DROPPED,),
        most_rounds=3,
        quick=Work(script="flood", warm_up=100, frames=1_000, positions=min(count, 50)),
    )


CASES = (
    Case(
        name="pnl",
        title="CPU per pnl_update, socket to recv()",
        job="consume",
        work=_PNL,
        units=_UNITS,
        clients=("lasersell", "official", "typescript"),
        budgets=(
            Budget(of="cpu_us", most=2.5, words="2.5 us on a quiet machine"),
            Budget(
                of="cpu_us",
                most=0.1,
                times="official",
                words="a tenth of the official Python SDK",
            ),
            Budget(
                of="cpu_us",
                most=1.0,
                times="typescript",
                words="below the official TypeScript SDK",
            ),
            _NOTHING_DROPPED,
        ),
        quick=attrs.evolve(_PNL, warm_up=100, frames=1_000),
    ),
    Case(
        name="mixed",
        title="The same for every type of message in turn",
        job="consume",
        work=_MIXED,
        units=_UNITS,
        clients=("lasersell", "official", "typescript"),
        budgets=(_NOTHING_DROPPED,),
        quick=attrs.evolve(_MIXED, warm_up=120, frames=1_200),
    ),
    *(_with_positions(count) for count in (1, 100, 10_000)),
)
