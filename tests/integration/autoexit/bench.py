"""A simulator, a chain, a session and an auto-exit on one bench."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solders.keypair import Keypair

from lasersell._clock import Deadline
from lasersell.exits.auto_events import AutoExitEvent
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.auto_plan import AutoExitSettings
from lasersell.exits.guard.policy import Policy
from lasersell.exits.keys import WalletKey
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.session import StreamSession
from lasersell.sim import Holding, SimServer
from lasersell.sim.ledger import Trade
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.autoexit.rpc import ChainRpc

__all__ = ["FAST", "POLICY", "Bench", "Steps", "sales"]

PATIENCE = 15.0

FAST = AutoExitSettings(
    ask_timeout=1.0, resend_interval=0.1, look_interval=0.05, blockhash_lifetime=60.0
)
"""Settings for a chain on this machine."""

POLICY = Policy.signer_only()
"""The simulator trades at no venue of the real chain."""


class Steps:
    """What an auto-exit reported, to be waited on from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[AutoExitEvent] = []

    def add(self, event: AutoExitEvent) -> None:
        """Take an event."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def of(self, type: str) -> list[AutoExitEvent]:
        """Return the events of a type."""
        with self._changed:
            return [event for event in self._events if event.type == type]

    def types(self) -> list[str]:
        """Return the types of all events, in their order."""
        with self._changed:
            return [event.type for event in self._events]

    def wait_for(self, type: str, count: int = 1, **facts: Any) -> AutoExitEvent:
        """Return the event of a type with these facts, once there are ``count``."""
        deadline = Deadline(PATIENCE)
        with self._changed:
            while True:
                found = [
                    event
                    for event in self._events
                    if event.type == type
                    and all(getattr(event, name) == facts[name] for name in facts)
                ]
                if len(found) >= count:
                    return found[count - 1]
                told = [str(event) for event in self._events]
                assert not deadline.has_passed(), f"no {type} {facts} in {told}"
                self._changed.wait(deadline.remaining())


class Bench:
    """
    A wallet on a simulator whose chain takes transactions.

    Args:
        sim: The simulator.
        rpc: The node of its chain.
    """

    def __init__(self, sim: SimServer, rpc: ChainRpc) -> None:
        self.sim = sim
        self.rpc = rpc
        self.key = WalletKey(Keypair())
        self.steps = Steps()

    @property
    def wallet(self) -> str:
        """The wallet's address."""
        return self.key.pubkey

    def buy(self, **more: Any) -> Holding:
        """Land a buy of the wallet."""
        return self.sim.buy(self.wallet, **more)

    @contextmanager
    def session(
        self, strategy: StrategyConfig | None = None, **more: Any
    ) -> Iterator[StreamSession]:
        """Connect a session that by itself sells at a profit of 5 percent."""
        configure = StreamConfigure(
            [self.wallet], strategy or StrategyConfig(target_profit_pct=5.0), **more
        )
        client = StreamClient("key", endpoint=self.sim.url)
        with StreamSession.connect(client, configure, wait_configured=0) as session:
            yield session

    @contextmanager
    def auto_exit(
        self,
        session: StreamSession,
        settings: AutoExitSettings = FAST,
        journal: Path | None = None,
        **more: Any,
    ) -> Iterator[AutoExit]:
        """Run an auto-exit on a session."""
        with (
            Submitter([SendTarget.rpc(self.rpc.url)], timeout=5.0) as submitter,
            AutoExit(
                session,
                self.key,
                submitter,
                settings=settings,
                journal=journal,
                policy=POLICY,
                on_event=self.steps.add,
                **more,
            ) as auto,
        ):
            auto.start()
            yield auto

    def sales(self, holding: Holding | None = None) -> list[Trade]:
        """Return the sales that landed, of one holding or all."""
        return sales(self.sim, holding)


def sales(sim: SimServer, holding: Holding | None = None) -> list[Trade]:
    """Return the sales that landed, of one holding or all."""
    return [
        trade
        for trade in sim.trades()
        if trade.side == "sell"
        and (holding is None or trade.holding.position_id == holding.position_id)
    ]
