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
from lasersell.exits.auto_source import ExitSource
from lasersell.exits.keys import WalletKey
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.session import StreamSession
from lasersell.sim import Call, Holding, SimServer, Submission
from lasersell.sim.ledger import Trade
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.patience import PATIENCE

__all__ = ["FAST", "Bench", "Steps", "sales"]


FAST = AutoExitSettings(
    resend_interval=0.1, look_interval=0.05, blockhash_lifetime=60.0
)
"""Settings for a chain on this machine."""


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
    A wallet on a simulator.

    Args:
        sim: The simulator.
    """

    def __init__(self, sim: SimServer) -> None:
        self.sim = sim
        self.key = WalletKey(Keypair())
        self.steps = Steps()

    @property
    def wallet(self) -> str:
        """The wallet's address."""
        return self.key.pubkey

    @property
    def submitted(self) -> list[Submission]:
        """Every transaction that was submitted, oldest first."""
        return self.sim.submissions.of(Submission)

    @property
    def orders(self) -> list[dict[str, Any]]:
        """Every sale that was ordered at the REST API, oldest first."""
        return [call.params for call in self._calls_of("/v1/sell")]

    def calls(self, name: str) -> int:
        """Return how often the node was called by a name."""
        return len(self._calls_of(name))

    def _calls_of(self, name: str) -> list[Call]:
        return [call for call in self.sim.calls.of(Call) if call.name == name]

    def offer(
        self, holding: Holding, tokens: int, *, level: int | None = None
    ) -> ExitSignalWithTx:
        """Return a signal that sells tokens of a holding, like no other one."""
        return self.sim.offer_exit(holding, tokens=tokens, level_index=level)

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
        session: ExitSource,
        settings: AutoExitSettings = FAST,
        journal: Path | None = None,
        **more: Any,
    ) -> Iterator[AutoExit]:
        """Run an auto-exit on a session."""
        with (
            Submitter([SendTarget.rpc(self.sim.rpc_url)], timeout=5.0) as submitter,
            AutoExit(
                session,
                self.key,
                submitter,
                settings=settings,
                journal=journal,
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
