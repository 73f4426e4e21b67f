"""``lasersell run`` killed at any point of an exit, and started again."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from lasersell._threads import start_thread
from lasersell.exits.journal_report import JournalReader
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.sim import Holding, SimServer
from tests.integration.autoexit.bench import sales
from tests.integration.autoexit.daemon import PATIENCE, Daemon, DaemonHome
from tests.integration.autoexit.rpc import Answer, ChainRpc

POINTS = int(os.environ.get("LASERSELL_KILL_POINTS", "10"))
"""How many random kill points are tried; `make stress` sets more."""

_ANSWERS: tuple[Answer, ...] = (
    "ok",
    "ok",
    "ok",
    "lose_answer",
    "lose_request",
    "ignore",
    "fail",
    "preflight_slippage",
)
_LADDER = """
take_profit_levels = [
  { profit_pct = 10, sell_pct = 25 },
  { profit_pct = 20, sell_pct = 40 },
  { profit_pct = 30, sell_pct = 100 },
]
"""
_TOKENS = 1_000_000
AT_MOST_SEC = 2.0
"""How long a daemon lives whose point does not come."""


class Killer:
    """
    Kills a daemon at a point of its exit that a seed chooses.

    A point is a request to the chain, before or after it is served, or a moment after
    the signal.

    Args:
        chance: What chooses.
        sim: Whose signals start the clock.
        rpc: Whose requests are counted.
    """

    def __init__(self, chance: random.Random, sim: SimServer, rpc: ChainRpc) -> None:
        self._chance = chance
        self._sim = sim
        self._rpc = rpc
        self.points: list[str] = []
        """The points that were chosen, in words."""

    @contextmanager
    def aimed_at(self, daemon: Daemon) -> Iterator[None]:
        """Kill a daemon at the next point, or else at the end of the block."""
        if self._chance.random() < 0.6:
            self._at_request(daemon, self._chance.randrange(8))
            yield
        else:
            waiter = self._after_signal(daemon, self._chance.uniform(0.0, 0.25))
            yield
            waiter.join(PATIENCE)
        daemon.kill()
        self._rpc.on_request = lambda _: None

    def _at_request(self, daemon: Daemon, number: int) -> None:
        self.points.append(f"request {number}")
        numbers = count()
        mutex = threading.Lock()

        def see(event: str) -> None:
            # The connections are kept warm at moments of their own.
            if event.startswith("getHealth"):
                return
            with mutex:
                is_it = next(numbers) == number
            if is_it:
                daemon.process.kill()

        self._rpc.on_request = see

    def _after_signal(self, daemon: Daemon, delay: float) -> threading.Thread:
        self.points.append(f"{delay:.3f} s after the signal")
        seen = len(self._sim.sent.of(ExitSignalWithTx))

        def wait() -> None:
            with contextlib.suppress(TimeoutError):
                self._sim.wait_until(
                    lambda: len(self._sim.sent.of(ExitSignalWithTx)) > seen, AT_MOST_SEC
                )
                # The moment itself; nothing ends it earlier.
                threading.Event().wait(delay)
                daemon.process.kill()

        return start_thread("killer", wait)


class Scene:
    """
    One exit with kills in it.

    Args:
        seed: What chooses what goes wrong, and when.
        path: A directory.
        sim: The stream.
        rpc: The chain.
    """

    def __init__(self, seed: int, path: Path, sim: SimServer, rpc: ChainRpc) -> None:
        self.chance = random.Random(seed)
        self.sim = sim
        self.rpc = rpc
        self.home = DaemonHome(path, sim, rpc)
        self.killer = Killer(self.chance, sim, rpc)
        rpc.script.extend(self.chance.choices(_ANSWERS, k=4))

    def play(self, holding: Holding, profit_pct: float) -> None:
        """Start the daemon, trigger the exit, kill it, up to three times."""
        for number in range(self.chance.randint(1, 3)):
            with self.home.start() as daemon, self.killer.aimed_at(daemon):
                if number == 0:
                    daemon.wait_for("selling for")
                    self.sim.set_profit(holding, profit_pct)
                # It may never come to the point that was chosen.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.process.wait(AT_MOST_SEC)
            if self.chance.random() < 0.5:
                self.rpc.land_delayed()

    def story(self) -> str:
        """Return what happened, for a failure to tell."""
        with JournalReader(self.home.journal) as reader:
            told = [
                (sale.level, sale.outcome, [a.outcome for a in sale.attempts])
                for sale in reader.sales()
            ]
        answers = [(item.level, item.answer) for item in self.rpc.submitted]
        return f"killed at {self.killer.points}; chain: {answers}; journal: {told}"


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_position_is_sold_exactly_once(
    seed: int, tmp_path: Path, sim: SimServer
) -> None:
    """Killed at any point of its exit and started again, the daemon sells it once."""
    with ChainRpc(sim) as rpc:
        scene = Scene(seed, tmp_path, sim, rpc)
        holding = sim.buy(scene.home.wallet, tokens=_TOKENS)
        scene.play(holding, 10.0)
        with scene.home.start() as daemon:
            sim.wait_until(lambda: not sim.holdings(), timeout=60)
            daemon.wait_for("selling for")
            rpc.land_delayed()
            assert daemon.end(15) == 0, daemon.log
        sold = [trade.tokens for trade in sales(sim)]
        assert sold == [_TOKENS], scene.story()
        with JournalReader(scene.home.journal) as reader:
            outcomes = [sale.outcome for sale in reader.sales()]
        assert outcomes in (["sold"], ["closed"]), scene.story()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(POINTS))
def test_each_level_is_sold_exactly_once(
    seed: int, tmp_path: Path, sim: SimServer
) -> None:
    """Killed in the middle of a ladder, the daemon sells no level twice, and each once."""
    with ChainRpc(sim) as rpc:
        scene = Scene(1000 + seed, tmp_path, sim, rpc)
        scene.home.configure(strategy=_LADDER)
        holding = sim.buy(scene.home.wallet, tokens=_TOKENS)
        scene.play(holding, 35.0)
        with scene.home.start() as daemon:
            rpc.wait_for(lambda: len(sales(sim)) >= 3, timeout=60)
            daemon.wait_for("selling for")
            assert daemon.end(15) == 0, daemon.log
        levels = Counter(trade.level_index for trade in sales(sim))
        assert levels == {0: 1, 1: 1, 2: 1}, scene.story()
        offered = {
            (s.level_index, s.sell_tokens) for s in sim.sent.of(ExitSignalWithTx)
        }
        for trade in sales(sim):
            assert (trade.level_index, trade.tokens) in offered, scene.story()
