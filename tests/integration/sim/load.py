"""
A server under load, measured in a process of its own; run as a program.

Arguments: sessions, positions each, ticks to measure. Prints one line of JSON when
clients may connect, and a second one with the processor time of each tick, in
seconds, in which every session is told all its profits.
"""

from __future__ import annotations

import json
import sys
import time
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
        spent = _time_ticks(sim)
        sim.wait_until(lambda: len(spent) >= ticks, timeout=90)
        _say(ticks=spent)


def _time_ticks(sim: SimServer) -> list[float]:
    hub: Any = sim._hub
    tick = hub.tick
    spent: list[float] = []

    def timed_tick() -> None:
        before = time.thread_time()
        tick()
        spent.append(time.thread_time() - before)

    hub.tick = timed_tick
    return spent


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
