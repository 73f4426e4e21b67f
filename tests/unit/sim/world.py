"""A chain that stands still, and the wallets of the test vectors."""

from __future__ import annotations

from typing import Any

from solders.keypair import Keypair

from lasersell.protocol.client import Configure
from lasersell.protocol.server import ServerMessage
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.chain import Chain
from lasersell.sim.clock import ManualClock
from lasersell.sim.options import SimOptions
from lasersell.sim.position import Memory
from lasersell.sim.session import SimSession
from lasersell.sim.trading import Swap
from lasersell.sim.transactions import SignedTransaction

__all__ = ["KEYPAIR", "MINT", "OTHER", "WALLET", "World", "swap_of", "types"]

KEYPAIR = Keypair.from_seed(bytes([1]) * 32)
WALLET = str(KEYPAIR.pubkey())
OTHER = str(Keypair.from_seed(bytes([2]) * 32).pubkey())
MINT = str(Keypair.from_seed(bytes([11]) * 32).pubkey())

_TICK_MS = 100


class World:
    """A chain under a manual clock, and one session on it."""

    def __init__(
        self,
        *,
        wallets: list[str] | None = None,
        seed: int = 0,
        volatility_pct: float = 0.0,
        **options: Any,
    ) -> None:
        self.clock = ManualClock()
        self.chain = Chain(
            clock=self.clock, wallets=wallets, seed=seed, volatility_pct=volatility_pct
        )
        self.options = SimOptions(**options)
        self.memory: Memory = {}
        self.session = SimSession(42, self.chain, self.options, self.memory)

    def reconnect(self) -> None:
        """Replace the session by a new one of the same key, on the same chain."""
        self.session = SimSession(43, self.chain, self.options, self.memory)

    def configure(self, *wallets: str, **strategy: Any) -> list[ServerMessage]:
        """Configure the session; by default the first wallet, stop at 10 %."""
        return self.session.receive(
            Configure(
                wallet_pubkeys=wallets or (WALLET,),
                strategy=StrategyConfig(**(strategy or {"stop_loss_pct": 10})),
            )
        )

    def buy(self, wallet: str = WALLET, **arguments: Any) -> list[ServerMessage]:
        """Land a buy and return what the session is told."""
        return self.session.see_trade(self.chain.buy(wallet, **arguments))

    def tick(self) -> list[ServerMessage]:
        """Let one flush interval pass, as the server does; return what it brings."""
        self.clock.advance(_TICK_MS)
        messages = [
            message
            for trade in self.chain.land_due(self.clock.wall_ms())
            for message in self.session.see_trade(trade)
        ]
        self.chain.markets.advance(self.session.mints)
        return messages + self.session.tick()


def types(messages: list[ServerMessage]) -> list[str]:
    """Return the wire types of messages, in order."""
    return [message.type for message in messages]


def swap_of(text: str) -> Swap:
    """Return the one trade in a transaction in base64."""
    ((_, swap),) = SignedTransaction(text).swaps()
    return swap
