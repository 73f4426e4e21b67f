"""
The simulated chain: markets, wallets and time, shared by every connection.

Pure: no socket and no thread. It outlives connections, so a drop loses nothing
that landed. One thread at a time may use it; the server keeps to its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import attrs

from lasersell._clock import Clock
from lasersell.errors import ConfigurationError
from lasersell.protocol.market import MarketContext, Venue
from lasersell.protocol.pubkey import check_pubkey
from lasersell.sim.ledger import Holding, Ledger, Trade
from lasersell.sim.market import Pool
from lasersell.sim.paths import PricePath, ProfitPath, RandomWalk, Still, proceeds_at
from lasersell.sim.solana import TOKEN_PROGRAM, associated_token_account, made_up_key

__all__ = ["DEFAULT_QUOTE_UNITS", "Chain", "Market", "PendingExit"]

DEFAULT_QUOTE_UNITS = 100_000_000
"""What a buy costs if nothing is said, in lamports: 0.1 SOL."""

_FIRST_SLOT = 280_000_000
_SLOT_MS = 400
_NEW_POOL = Pool(quote_reserve=85_000_000_000, token_reserve=200_000_000_000_000)
_DECIMALS = 6
_SUPPLY = 10**15


@attrs.define(eq=False)
class Market:
    """
    One token and the pool it trades in.

    Attributes:
        mint: The token; base58.
        symbol: Its ticker symbol.
        context: Where it trades, as the wire says it.
        pool: The reserves now.
        path: Where the price goes by itself.
        decimals: Decimal places of the token.
        supply: Tokens in existence, in atomic units.
    """

    mint: str
    symbol: str
    context: MarketContext
    pool: Pool
    path: PricePath
    decimals: int = _DECIMALS
    supply: int = _SUPPLY

    @property
    def address(self) -> str:
        """The account of the pool; base58."""
        return made_up_key("pool", self.mint)

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


@attrs.frozen
class PendingExit:
    """
    An exit signal that went out and whose sale has not landed yet.

    Attributes:
        reason: The reason of the signal.
        due_ms: When the sale lands by itself, in Unix milliseconds; None if it
            waits to be told.
    """

    reason: str
    due_ms: int | None


class Chain:
    """
    The world the server reports on.

    Args:
        clock: Where time comes from.
        seed: What made-up mints and price paths depend on.
        volatility_pct: Standard deviation of one tick's price move in percent,
            of markets that are given no path of their own.
        wallets: The registered wallets; None accepts any valid public key.

    Attributes:
        ledger: Who holds what.

    Raises:
        ConfigurationError: If a wallet is no public key.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        seed: int = 0,
        volatility_pct: float = 0.0,
        wallets: Iterable[str] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self._clock = clock
        self._seed = seed
        self._volatility_pct = volatility_pct
        self._wallets = None if wallets is None else _checked(wallets)
        self._markets: dict[str, Market] = {}
        self._pending: dict[str, PendingExit] = {}
        self._position_ids = count(1)
        self._start_ms = clock.wall_ms()
        self._last_slot = _FIRST_SLOT
        self._last_trade_ms = 0

    # --- time -----------------------------------------------------------------

    def now_ms(self) -> int:
        """Return the server's clock, in Unix milliseconds."""
        return self._clock.wall_ms()

    @property
    def slot(self) -> int:
        """The slot the chain is in; never goes back."""
        elapsed = (self.now_ms() - self._start_ms) // _SLOT_MS
        self._last_slot = max(self._last_slot, _FIRST_SLOT + elapsed)
        return self._last_slot

    def _stamp(self) -> tuple[int, int]:
        # No two trades share a slot or a millisecond, so that selling and buying
        # again at once cannot be taken for the same position.
        self._last_slot = self.slot + 1
        self._last_trade_ms = max(self._last_trade_ms + 1, self.now_ms())
        return self._last_slot, self._last_trade_ms

    # --- wallets --------------------------------------------------------------

    def is_registered(self, wallet: str) -> bool:
        """Tell whether a session may be configured with this wallet."""
        if self._wallets is not None:
            return wallet in self._wallets
        try:
            check_pubkey(wallet, "wallet_pubkeys")
        except ConfigurationError:
            return False
        return True

    def register(self, wallet: str) -> None:
        """
        Accept a wallet from now on.

        Raises:
            ConfigurationError: If it is no public key.
        """
        check_pubkey(wallet, "wallet")
        if self._wallets is not None:
            self._wallets.add(wallet)

    def holds(self, wallet: str) -> bool:
        """Tell whether a wallet holds anything."""
        return bool(self.ledger.holdings(wallet))

    # --- markets --------------------------------------------------------------

    def market(self, mint: str) -> Market:
        """Return the market of a token, opened when it is first asked for."""
        market = self._markets.get(mint)
        if market is None:
            market = self._markets[mint] = self._new_market(mint)
        return market

    def new_mint(self) -> str:
        """Return the next made-up token of this seed."""
        return made_up_key("mint", self._seed, len(self._markets))

    def _new_market(self, mint: str) -> Market:
        return Market(
            mint=mint,
            symbol=f"SIM{len(self._markets) + 1}",
            context=MarketContext(
                market_type="pump_swap",
                pumpswap=Venue(pool=made_up_key("pool", mint)),
            ),
            pool=_NEW_POOL,
            path=self._default_path(mint),
        )

    def _default_path(self, mint: str) -> PricePath:
        if self._volatility_pct == 0:
            return Still()
        return RandomWalk(f"{self._seed}:{mint}", volatility_pct=self._volatility_pct)

    def advance(self, mints: Iterable[str]) -> None:
        """Move the prices of the given tokens on by one tick."""
        for mint in mints:
            market = self._markets[mint]
            market.pool = market.path.move(market.pool)

    def proceeds(self, holding: Holding) -> int:
        """Return what selling a holding at once would bring, slippage included."""
        return self._markets[holding.mint].pool.proceeds(holding.tokens)

    def set_profit(self, holding: Holding, profit_pct: float) -> None:
        """Move the price so that a holding has this profit, and leave it there."""
        self.set_profit_path(holding, ())
        market = self._markets[holding.mint]
        market.pool = market.pool.paying(
            holding.tokens, proceeds_at(holding.entry_quote_units, profit_pct)
        )

    def set_profit_path(self, holding: Holding, profits_pct: Iterable[float]) -> None:
        """Script a holding's profit, one value per tick; it stays at the last."""
        self._markets[holding.mint].path = ProfitPath(
            holding.tokens, holding.entry_quote_units, profits_pct
        )

    # --- trades ---------------------------------------------------------------

    def buy(
        self,
        wallet: str,
        mint: str | None = None,
        *,
        quote_units: int = DEFAULT_QUOTE_UNITS,
        tokens: int | None = None,
        profits_pct: Iterable[float] | None = None,
    ) -> Trade:
        """
        Land a buy; the arguments are those of ``SimServer.buy``.

        Raises:
            ConfigurationError: If an argument is wrong, or the wallet holds the
                token already.
        """
        check_pubkey(wallet, "wallet")
        if mint is not None:
            check_pubkey(mint, "mint")
        if quote_units < 1 or (tokens is not None and tokens < 1):
            raise ConfigurationError("a buy needs quote_units and tokens of at least 1")
        mint = mint or self.new_mint()
        token_account = associated_token_account(wallet, mint)
        pool, tokens = self._pool_after_buy(mint, quote_units, tokens)
        slot, now_ms = self._stamp()
        trade = self.ledger.buy(
            Holding(
                position_id=self.next_position_id(),
                wallet=wallet,
                mint=mint,
                token_account=token_account,
                token_program=TOKEN_PROGRAM,
                tokens=tokens,
                entry_quote_units=quote_units,
                slot=slot,
                opened_at_ms=now_ms,
            )
        )
        self._markets[mint].pool = pool
        if profits_pct is not None:
            self.set_profit_path(trade.holding, profits_pct)
        return trade

    def _pool_after_buy(
        self, mint: str, quote_units: int, tokens: int | None
    ) -> tuple[Pool, int]:
        pool = self.market(mint).pool
        if tokens is not None:
            # A given size sets the price at which it costs what it costs.
            return pool.paying(tokens, quote_units), tokens
        return pool.after_buy(quote_units), pool.tokens_for(quote_units)

    def next_position_id(self) -> int:
        """Return a position id that was never used before."""
        return next(self._position_ids)

    def sell(
        self, holding: Holding, *, tokens: int | None = None, reason: str
    ) -> Trade:
        """
        Land a sale at the current price; None sells everything.

        Raises:
            ConfigurationError: If the wallet does not hold that much any more.
        """
        market = self._markets[holding.mint]
        held = self.ledger.holding(holding.token_account)
        if tokens is None:
            tokens = 0 if held is None else held.tokens
        slot, now_ms = self._stamp()
        trade = self.ledger.sell(
            holding,
            tokens,
            quote_units=market.pool.proceeds(tokens),
            reason=reason,
            slot=slot,
            time_ms=now_ms,
        )
        market.pool = market.pool.after_sell(tokens)
        self._pending.pop(holding.token_account, None)
        return trade

    # --- exits under way ------------------------------------------------------

    def expect_exit(self, holding: Holding, reason: str, due_ms: int | None) -> None:
        """Remember that an exit signal went out; one for the same holding comes after."""
        pending = self._pending.get(holding.token_account)
        if pending is None or pending.due_ms is None:
            self._pending[holding.token_account] = PendingExit(reason, due_ms)

    def pending_exit(self, holding: Holding) -> PendingExit | None:
        """Return the exit under way for a holding, if there is one."""
        return self._pending.get(holding.token_account)

    def land_due(self, now_ms: int) -> list[Trade]:
        """Land the sales whose time has come, oldest signal first."""
        due = [
            (token_account, pending.reason)
            for token_account, pending in self._pending.items()
            if pending.due_ms is not None and pending.due_ms <= now_ms
        ]
        trades = []
        for token_account, reason in due:
            holding = self.ledger.holding(token_account)
            if holding is not None:
                trades.append(self.sell(holding, reason=reason))
        return trades


def _checked(wallets: Iterable[str]) -> set[str]:
    return {check_pubkey(wallet, "wallets") for wallet in wallets}
