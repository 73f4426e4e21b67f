"""
A server under load on one core, measured in a process of its own; run as a program.

Arguments: sessions, positions each, ticks to measure. Prints one line of JSON when
clients may connect, and a second one with the processor time that the process spent
from each tick to the next, in seconds, and how long all of them took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from typing import Any

import attrs

from lasersell.protocol.client import Configure
from lasersell.sim import DEFAULT_LIMITS, SimServer
from lasersell.sim.solana import made_up_key

__all__ = ["wallet"]


def wallet(number: int) -> str:
    """Return the wallet of a session."""
    return made_up_key("wallet", number)


def main(sessions: int, positions: int, ticks: int) -> None:
    """Serve, wait for all sessions, measure, and report."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    limits = attrs.evolve(
        DEFAULT_LIMITS,
        max_sessions_per_api_key=0,
        max_positions_per_wallet=0,
        max_positions_per_session=0,
    )
    with SimServer(limits=limits) as sim:
        for number in range(sessions):
            for _ in range(positions):
                sim.buy(wallet(number))
        _say(url=sim.url)
        for _ in range(sessions):
            sim.received.wait_for(Configure, timeout=60)
        starts = _note_ticks(sim)
        sim.wait_until(lambda: len(starts) > ticks, timeout=90)
        spent = [after[0] - before[0] for before, after in pairwise(starts)]
        _say(spent=spent[:ticks], seconds=starts[ticks][1] - starts[0][1])


def _note_ticks(sim: SimServer) -> list[tuple[float, float]]:
    """Return a list that gets the processor's time and the wall's at each tick."""
    hub: Any = sim._hub
    tick = hub.tick
    starts: list[tuple[float, float]] = []

    def noted_tick() -> None:
        starts.append((time.process_time(), time.monotonic()))
        tick()

    hub.tick = noted_tick
    return starts


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
