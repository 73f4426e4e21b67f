"""What the demonstration plays: two wallets, four positions, one exit of each kind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from attrs import frozen
from solders.keypair import Keypair

from lasersell.exits.keys import WalletKey
from lasersell.protocol.strategy import StrategyConfig

__all__ = ["DEADLINE_SEC", "KEYS", "ROLES", "STRATEGY", "TICK_MS", "WALLETS", "Role"]

KEYS = tuple(WalletKey(Keypair.from_seed(bytes([n]) * 32)) for n in (1, 2))
"""Keys that everybody knows; nobody's money."""
WALLETS = tuple(key.pubkey for key in KEYS)

STRATEGY = StrategyConfig(
    target_profit_pct=25.0, stop_loss_pct=10.0, trailing_stop_pct=8.0
)
DEADLINE_SEC = 9.0
TICK_MS = 100
"""Milliseconds between two moves of the price."""

_SOL = 1_000_000_000


@frozen
class Role:
    """
    One position of the scenario and the exit it is there to show.

    Attributes:
        exit: Name of the exit, for people.
        reason: Reason of its exit signal on the wire. A deadline is the client's
            own request, which the server answers with ``sell_now``.
        wallet: Who holds it.
        cost_lamports: What it costs.
        legs: Where its profit goes: (tick, profit in percent), in order of ticks.
        is_late: Whether it is bought only once the session is live.
    """

    exit: str
    reason: str
    wallet: str
    cost_lamports: int
    legs: tuple[tuple[int, float], ...]
    is_late: bool = False

    def profits_pct(self) -> Iterator[float]:
        """Yield the profit at each tick: straight from leg to leg, with some noise."""
        for (start, low), (end, high) in pairwise(((0, 0.0), *self.legs)):
            for tick in range(start, end):
                share = (tick + 1 - start) / (end - start)
                yield low + (high - low) * share + 0.4 * math.sin(1.7 * tick)


# The exits are more than a second apart, and the deadline comes long after the
# last other one, so that a slow machine does not change who exits by what.
ROLES = (
    Role("take-profit", "target_profit", WALLETS[0], 2 * _SOL, ((5, 6.0), (16, 27.0))),
    Role("stop-loss", "stop_loss", WALLETS[0], _SOL, ((15, 4.0), (36, -12.0))),
    Role(
        "trailing stop",
        "trailing_stop",
        WALLETS[1],
        3 * _SOL // 2,
        ((25, 1.0), (44, 18.0), (58, 6.0)),
    ),
    Role(
        "deadline",
        "sell_now",
        WALLETS[1],
        _SOL // 2,
        ((30, 5.0), (60, -3.0), (200, 2.0)),
        is_late=True,
    ),
)
