"""
A constant-product pool: what a token costs, and what selling it really brings.

Amounts are integers in atomic units; only a move of the price that others make is a
float. A pool is a value: whatever changes it returns a new one.
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

__all__ = ["SLIPPAGE_BANDS_BPS", "Pool", "liquidity_trend"]

SLIPPAGE_BANDS_BPS = (100, 200, 500, 1000)
"""The bands of a ``liquidity_snapshot``, in basis points."""

_STEADY_PER_MILLE = 1
_BPS = 10_000


class Pool(NamedTuple):
    """
    The two reserves of a pool whose product stays constant while people trade.

    Attributes:
        quote_reserve: Quote units, such as lamports, in the pool.
        token_reserve: Token atomic units in the pool.
    """

    quote_reserve: int
    token_reserve: int

    def price_of(self, tokens: int) -> int:
        """Return what ``tokens`` are worth at the current price, in quote units."""
        return self.quote_reserve * tokens // self.token_reserve

    def proceeds(self, tokens: int) -> int:
        """Return what selling ``tokens`` at once would bring, slippage included."""
        return self.quote_reserve * tokens // (self.token_reserve + tokens)

    def tokens_for(self, quote_units: int) -> int:
        """Return how many tokens ``quote_units`` buy, slippage included."""
        return self.token_reserve * quote_units // (self.quote_reserve + quote_units)

    def max_tokens_within(self, slippage_bps: int) -> int:
        """
        Return the most tokens one sale can take without losing more to slippage.

        Slippage is what the sale brings below the price before it; in this pool
        selling n tokens loses n / (token_reserve + n) of it.
        """
        return self.token_reserve * slippage_bps // (_BPS - slippage_bps)

    def after_buy(self, quote_units: int) -> Pool:
        """Return the pool after someone spent ``quote_units`` on tokens."""
        return Pool(
            self.quote_reserve + quote_units,
            self.token_reserve - self.tokens_for(quote_units),
        )

    def after_sell(self, tokens: int) -> Pool:
        """Return the pool after someone sold ``tokens`` into it."""
        return Pool(
            self.quote_reserve - self.proceeds(tokens), self.token_reserve + tokens
        )

    def scaled(self, factor: float) -> Pool:
        """Return the pool after trades of others multiplied its price by ``factor``."""
        root = factor**0.5
        return Pool(
            int(self.quote_reserve * root) or 1, int(self.token_reserve / root) or 1
        )

    def paying(self, tokens: int, proceeds: int) -> Pool:
        """
        Return the pool after trades of others, such that ``tokens`` bring ``proceeds``.

        Exact: ``pool.paying(n, p).proceeds(n) == p`` for any n of at least 1 and
        any p of at least 0. The product of the reserves stays what it was, up to
        rounding: with product k the token reserve t solves k n = p t (t + n).
        """
        if proceeds == 0:
            return Pool(0, self.token_reserve)
        product = self.quote_reserve * self.token_reserve
        root = isqrt(tokens * tokens + 4 * product * tokens // proceeds)
        token_reserve = max(1, (root - tokens) // 2)
        quote_reserve = -(-proceeds * (token_reserve + tokens) // tokens)
        return Pool(quote_reserve, token_reserve)


def liquidity_trend(before: Pool, now: Pool) -> str:
    """Return ``growing``, ``stable`` or ``draining``, by the quote side of the pool."""
    change = 1000 * (now.quote_reserve - before.quote_reserve)
    if change > _STEADY_PER_MILLE * before.quote_reserve:
        return "growing"
    if change < -_STEADY_PER_MILLE * before.quote_reserve:
        return "draining"
    return "stable"
