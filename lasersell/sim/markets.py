"""Every token there is, the pool it trades in, and where its price goes."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.market import MarketContext
from lasersell.protocol.pubkey import check_pubkey
from lasersell.sim.ledger import Quote
from lasersell.sim.market import Pool
from lasersell.sim.paths import PricePath, RandomWalk, Still
from lasersell.sim.solana import made_up_key
from lasersell.sim.venues import GRADUATES_TO, check_market, market_context

__all__ = ["Market", "Markets"]

_NEW_POOLS: dict[Quote, Pool] = {
    "SOL": Pool(quote_reserve=85_000_000_000, token_reserve=200_000_000_000_000),
    "USD1": Pool(quote_reserve=15_000_000_000, token_reserve=200_000_000_000_000),
}
_DECIMALS = 6
_SUPPLY = 10**15


@attrs.define(eq=False)
class Market:
    """
    One token and the pool it trades in.

    Attributes:
        mint: The token; base58.
        symbol: Its ticker symbol.
        pool: The reserves now.
        path: Where the price goes by itself.
        market_type: Kind of market, in the stream's spelling.
        quote: What it trades against.
        creator: The wallet that created the token; None if nobody we know.
        is_routable: Whether a buy can be routed to it.
        graduations: How often it moved to another kind of market.
        decimals: Decimal places of the token.
        supply: Tokens in existence, in atomic units.
    """

    mint: str
    symbol: str
    pool: Pool
    path: PricePath
    market_type: str = "pump_swap"
    quote: Quote = "SOL"
    creator: str | None = None
    is_routable: bool = True
    graduations: int = 0
    decimals: int = _DECIMALS
    supply: int = _SUPPLY

    @property
    def address(self) -> str:
        """The account of the pool; base58."""
        return made_up_key("pool", self.market_type, self.mint)

    @property
    def token_price_quote(self) -> int:
        """
        The price of one whole token, in quote units.

        The documents leave the scale open; per atomic unit most tokens would be 0.
        """
        return self.pool.price_of(10**self.decimals)

    @property
    def market_cap_quote(self) -> int:
        """The price of all tokens, in quote units."""
        return self.pool.price_of(self.supply)

    def context(self, wallet: str) -> MarketContext:
        """Return where it trades, as the messages to a wallet's owner say it."""
        return market_context(self.market_type, self.quote, self.address, wallet)

    def graduate(self) -> None:
        """
        Move the token from its launch platform to the full market.

        Raises:
            ConfigurationError: If it is not on a launch platform.
        """
        if self.market_type not in GRADUATES_TO:
            raise ConfigurationError(
                f"a token on {self.market_type} does not graduate; open its market "
                f"as one of {', '.join(GRADUATES_TO)}"
            )
        self.market_type = GRADUATES_TO[self.market_type]
        self.graduations += 1

    def set_liquidity(self, quote_units: int) -> None:
        """
        Give the pool this much on its quote side; the price stays.

        Raises:
            ConfigurationError: If that is nothing.
        """
        if quote_units < 1:
            raise ConfigurationError("a pool has a quote side of at least 1 quote unit")
        tokens = (
            self.pool.token_reserve * quote_units // max(1, self.pool.quote_reserve)
        )
        self.pool = Pool(quote_units, max(1, tokens))


class Markets:
    """
    The markets, by mint; one is opened when it is first asked for.

    Args:
        seed: What made-up mints and price paths depend on.
        volatility_pct: Standard deviation of one tick's price move in percent,
            of markets that are given no path of their own.
    """

    def __init__(self, *, seed: int, volatility_pct: float) -> None:
        self._seed = seed
        self._volatility_pct = volatility_pct
        self._by_mint: dict[str, Market] = {}

    def __getitem__(self, mint: str) -> Market:
        market = self._by_mint.get(mint)
        return self.add(mint) if market is None else market

    def __contains__(self, mint: object) -> bool:
        return mint in self._by_mint

    def add(
        self,
        mint: str | None = None,
        *,
        market_type: str = "pump_swap",
        quote: Quote = "SOL",
        liquidity: int | None = None,
        creator: str | None = None,
        is_routable: bool = True,
    ) -> Market:
        """
        Open a market; the arguments are those of ``SimServer.add_market``.

        Raises:
            ConfigurationError: If an argument is wrong, or the token has a market.
        """
        check_market(market_type, quote)
        if mint is None:
            mint = made_up_key("mint", self._seed, len(self._by_mint))
        elif check_pubkey(mint, "mint") in self._by_mint:
            raise ConfigurationError(f"{mint} has a market already")
        if creator is not None:
            check_pubkey(creator, "creator")
        market = Market(
            mint=mint,
            symbol=f"SIM{len(self._by_mint) + 1}",
            pool=_NEW_POOLS[quote],
            path=self._default_path(mint),
            market_type=market_type,
            quote=quote,
            creator=creator,
            is_routable=is_routable,
        )
        if liquidity is not None:
            market.set_liquidity(liquidity)
        self._by_mint[mint] = market
        return market

    def _default_path(self, mint: str) -> PricePath:
        if self._volatility_pct == 0:
            return Still()
        return RandomWalk(f"{self._seed}:{mint}", volatility_pct=self._volatility_pct)

    def advance(self, mints: Iterable[str]) -> None:
        """Move the prices of the given tokens on by one tick."""
        for mint in mints:
            market = self._by_mint[mint]
            market.pool = market.path.move(market.pool)
