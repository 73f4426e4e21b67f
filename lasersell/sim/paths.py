"""
How prices move: one call per tick, and the same seed gives the same path.

A path is asked for one move at each tick on which some session watches the
market, so a scripted path cannot run past a client that is not there yet.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Protocol

from lasersell.sim.market import Pool

__all__ = ["PricePath", "ProfitPath", "RandomWalk", "Still", "proceeds_at"]


class PricePath(Protocol):
    """Where the price of a market goes, tick by tick."""

    def move(self, pool: Pool) -> Pool:
        """Return the pool one tick later."""
        ...


class Still:
    """A price that only moves when someone trades or a test says so."""

    __slots__ = ()

    def move(self, pool: Pool) -> Pool:
        """Return the pool as it is."""
        return pool


class RandomWalk:
    """
    A seeded geometric random walk.

    Args:
        seed: What the path depends on; equal seeds give equal paths.
        volatility_pct: Standard deviation of one tick's move, in percent.
        drift_pct: Mean of one tick's move, in percent.
    """

    __slots__ = ("_drift", "_random", "_volatility")

    def __init__(
        self, seed: str, *, volatility_pct: float = 0.4, drift_pct: float = 0.0
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a price path, no secret
        self._volatility = volatility_pct / 100
        self._drift = drift_pct / 100

    def move(self, pool: Pool) -> Pool:
        """Return the pool after one random step of its price."""
        return pool.scaled(math.exp(self._random.gauss(self._drift, self._volatility)))


class ProfitPath:
    """
    A script of one position's profit: one value per tick, then still.

    Args:
        tokens: Size of the position, in token atomic units.
        entry_quote_units: What it cost.
        profits_pct: Profit at each tick in percent of the entry, slippage
            included; may be endless.
    """

    __slots__ = ("_entry", "_profits", "_tokens")

    def __init__(
        self, tokens: int, entry_quote_units: int, profits_pct: Iterable[float]
    ) -> None:
        self._tokens = tokens
        self._entry = entry_quote_units
        self._profits = iter(profits_pct)

    def move(self, pool: Pool) -> Pool:
        """Return the pool in which the position has its next scripted profit."""
        profit_pct = next(self._profits, None)
        if profit_pct is None:
            return pool
        return pool.paying(self._tokens, proceeds_at(self._entry, profit_pct))


def proceeds_at(entry_quote_units: int, profit_pct: float) -> int:
    """Return the proceeds at which a position has ``profit_pct``; never below 0."""
    return max(0, entry_quote_units + round(entry_quote_units * profit_pct / 100))
