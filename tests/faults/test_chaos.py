"""One fault after the other, at random, against a whole server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lasersell._clock import Deadline
from lasersell.sim import Holding, SimServer
from lasersell.stream import backoff
from lasersell.stream.client import StreamConnection
from tests.faults.chaos_proxy import ChaosProxy
from tests.faults.client import CONFIGURE, connect
from tests.patience import PATIENCE

WALLET = CONFIGURE.wallet_pubkeys[0]


@pytest.fixture
def sim() -> Iterator[SimServer]:
    """Run a server that renews position ids with every connection."""
    with SimServer(pnl_flush_ms=20, position_ids="renewed") as server:
        yield server


class _Chronicle:
    """Takes everything from a stream, and checks that its story is consistent."""

    def __init__(self, connection: StreamConnection) -> None:
        self._connection = connection
        self.is_connected = False
        self._number = 0
        self.seen: set[str] = set()
        """Token accounts of the positions that were opened, or opened again."""

    def read_until(self, is_reached: Callable[[], bool]) -> None:
        """Take messages until something is true."""
        late = Deadline(PATIENCE)
        while not is_reached():
            assert not late.has_passed()
            self._take(self._connection.recv(timeout=PATIENCE))

    def _take(self, message: Any) -> None:
        assert message is not None, "the stream ended by itself"
        if message.type == "connected":
            assert not self.is_connected, "connected twice"
            assert message.number == self._number + 1
            self.is_connected, self._number = True, message.number
        elif message.type == "disconnected":
            assert message.delay is not None, "the stream gave up"
            self.is_connected = False
        else:
            assert self.is_connected, f"{message.type} came after disconnected"
        if message.type == "position_opened":
            self.seen.add(message.token_account)


def _spoil(proxy: ChaosProxy) -> None:
    proxy.to_client.spoils = True


def _cut_frame(proxy: ChaosProxy) -> None:
    proxy.to_client.stall(after=3)
    proxy.drop()


def _hang_up(proxy: ChaosProxy) -> None:
    proxy.hangs_up = True
    proxy.reset()


FAULTS: list[Callable[[ChaosProxy], None]] = [
    ChaosProxy.drop,
    ChaosProxy.reset,
    _spoil,
    _cut_frame,
    _hang_up,
]


def _heal(proxy: ChaosProxy) -> None:
    proxy.to_client.spoils = proxy.hangs_up = False
    proxy.to_client.flow()


@pytest.mark.parametrize("rounds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_the_story_stays_consistent_through_any_faults(
    sim: SimServer, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every fault the stream is live again, knows all positions, and never lied."""
    monkeypatch.setattr(backoff, "LARGEST_DELAY", 0.1)
    chance = random.Random(rounds)
    held: list[Holding] = []
    with (
        ChaosProxy(sim.port) as proxy,
        connect(f"ws://127.0.0.1:{proxy.port}/v1/ws") as connection,
    ):
        chronicle = _Chronicle(connection)
        for _ in range(rounds):
            held.append(sim.buy(WALLET))
            chronicle.read_until(lambda: held[-1].token_account in chronicle.seen)
            chronicle.seen.clear()
            chance.choice(FAULTS)(proxy)
            chronicle.read_until(lambda: not chronicle.is_connected)
            if len(held) > 5:
                sim.sell(held.pop(chance.randrange(5)))
            _heal(proxy)
            everything = {holding.token_account for holding in held}
            chronicle.read_until(lambda: everything <= chronicle.seen)  # noqa: B023
