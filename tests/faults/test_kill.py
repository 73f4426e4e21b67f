"""``lasersell run`` killed at any point of an exit, and started again."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from lasersell._threads import start_thread
from lasersell.exits.journal_report import JournalReader
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.sim import Call, Holding, SimServer, Submission, SubmissionFault
from tests.integration.autoexit.daemon import Daemon, DaemonHome
from tests.patience import PATIENCE

POINTS = int(os.environ.get("LASERSELL_KILL_POINTS", "10"))
"""How many random kill points are tried; `make stress` sets more."""

_FAULTS: tuple[SubmissionFault, ...] = (
    "none",
    "none",
    "none",
    "lose_answer",
    "lose_request",
    "delay",
    "duplicate",
    "slippage_exceeded",
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
LONG = 60.0
"""Seconds for what takes one: hundreds of daemons are started on a busy machine."""
AT_MOST_SEC = 2.0
"""How long a daemon lives whose point does not come."""


class Killer:
    """
    Kills a daemon at a point of its exit that a seed chooses.

    A point is a call of the chain, before or after it is served, or a moment after the
    signal.

    Args:
        chance: What chooses.
        sim: Whose signals start the clock, and whose calls are counted.
    """

    def __init__(self, chance: random.Random, sim: SimServer) -> None:
        self._chance = chance
        self._sim = sim
        self.points: list[str] = []
        """The points that were chosen, in words."""

    @contextmanager
    def aimed_at(self, daemon: Daemon) -> Iterator[None]:
        """Kill a daemon at the next point, or else at the end of the block."""
        if self._chance.random() < 0.6:
            self._at_call(daemon, self._chance.randrange(8))
            yield
        else:
            waiter = self._after_signal(daemon, self._chance.uniform(0.0, 0.25))
            yield
            waiter.join(PATIENCE)
        daemon.kill()
        self._sim.watch_calls(None)

    def _at_call(self, daemon: Daemon, number: int) -> None:
        self.points.append(f"call {number}")
        numbers = count()

        def see(call: Call) -> None:
            # The connections are kept warm at moments of their own.
            if call.name != "getHealth" and next(numbers) == number:
                daemon.process.kill()

        self._sim.watch_calls(see)

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
        sim: The service and the chain.
    """

    def __init__(self, seed: int, path: Path, sim: SimServer) -> None:
        self.chance = random.Random(seed)
        self.sim = sim
        self.home = DaemonHome(path, sim)
        self.killer = Killer(self.chance, sim)
        sim.faults.submissions(*self.chance.choices(_FAULTS, k=4))

    def play(self, holding: Holding, profit_pct: float) -> None:
        """Start the daemon, trigger the exit, kill it, up to three times."""
        for number in range(self.chance.randint(1, 3)):
            with self.home.start() as daemon, self.killer.aimed_at(daemon):
                if number == 0:
                    daemon.wait_for("selling for", timeout=LONG)
                    self.sim.set_profit(holding, profit_pct)
                # It may never come to the point that was chosen.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.process.wait(AT_MOST_SEC)
            if self.chance.random() < 0.5:
                self.sim.faults.land_delayed()

    def wait_until(self, is_there: Callable[[], object], daemon: Daemon) -> None:
        """Wait for the end; if it does not come, tell all that is known."""
        try:
            self.sim.wait_until(is_there, timeout=LONG)
        except TimeoutError:
            raise AssertionError(f"{self.story()}\n{daemon.log}") from None

    def story(self) -> str:
        """Return what happened, for a failure to tell."""
        with JournalReader(self.home.journal) as reader:
            told = [
                (sale.level, sale.outcome, [a.outcome for a in sale.attempts])
                for sale in reader.sales()
            ]
        submitted = [
            (item.level_index, item.fault)
            for item in self.sim.submissions.of(Submission)
        ]
        return f"killed at {self.killer.points}; chain: {submitted}; journal: {told}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_position_is_sold_exactly_once(
    seed: int, tmp_path: Path, sim: SimServer
) -> None:
    """Killed at any point of its exit and started again, the daemon sells it once."""
    scene = Scene(seed, tmp_path, sim)
    holding = sim.buy(scene.home.wallet, tokens=_TOKENS)
    scene.play(holding, 10.0)
    with scene.home.start() as daemon:
        scene.wait_until(lambda: not sim.holdings(), daemon)
        daemon.wait_for("selling for", timeout=LONG)
        sim.faults.land_delayed()
        assert daemon.end(15) == 0, daemon.log
    assert [sale.tokens for sale in sim.ledger.sales()] == [_TOKENS], scene.story()
    with JournalReader(scene.home.journal) as reader:
        outcomes = [sale.outcome for sale in reader.sales()]
    assert outcomes in (["sold"], ["closed"]), scene.story()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(POINTS))
def test_each_level_is_sold_exactly_once(
    seed: int, tmp_path: Path, sim: SimServer
) -> None:
    """Killed in the middle of a ladder, the daemon sells no level twice, and each once."""
    scene = Scene(1000 + seed, tmp_path, sim)
    scene.home.configure(strategy=_LADDER)
    holding = sim.buy(scene.home.wallet, tokens=_TOKENS)
    scene.play(holding, 35.0)
    with scene.home.start() as daemon:
        scene.wait_until(lambda: len(sim.ledger.sales()) >= 3, daemon)
        daemon.wait_for("selling for", timeout=LONG)
        assert daemon.end(15) == 0, daemon.log
    sales = sim.ledger.sales()
    levels = Counter(sale.level_index for sale in sales)
    assert levels == {0: 1, 1: 1, 2: 1}, scene.story()
    offered = {(s.level_index, s.sell_tokens) for s in sim.sent.of(ExitSignalWithTx)}
    offered |= {
        (s.level_index, s.position_tokens) for s in sim.sent.of(ExitSignalWithTx)
    }
    for sale in sales:
        assert (sale.level_index, sale.tokens) in offered, scene.story()
