"""
The simulated chain: markets, wallets and time, shared by every connection.

Pure: no socket and no thread. It outlives connections, so a drop loses nothing
that landed. One thread at a time may use it; the server keeps to its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from lasersell._clock import Clock
from lasersell.errors import ConfigurationError
from lasersell.protocol.pubkey import check_pubkey
from lasersell.sim.blockhashes import Blockhashes
from lasersell.sim.ledger import Holding, Ledger, Trade
from lasersell.sim.market import Pool
from lasersell.sim.markets import Market, Markets
from lasersell.sim.orders import Orders, PendingBuy, PendingExit
from lasersell.sim.paths import ProfitPath, proceeds_at
from lasersell.sim.solana import TOKEN_PROGRAM, associated_token_account

__all__ = ["DEFAULT_QUOTE_UNITS", "Chain"]

DEFAULT_QUOTE_UNITS = 100_000_000
"""What a buy costs if nothing is said: 0.1 SOL in lamports, or 100 USD1."""

_FIRST_SLOT = 280_000_000
_SLOT_MS = 400


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
        markets: Where it trades.
        orders: What clients were told to trade, and has not landed.
        blockhashes: What bounds the life of transactions.

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
        self.markets = Markets(seed=seed, volatility_pct=volatility_pct)
        self.orders = Orders()
        self.blockhashes = Blockhashes()
        self._clock = clock
        self._takes_any = wallets is None
        self._wallets = _checked(wallets or ())
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

    def blockhash(self) -> str:
        """Return the newest block hash; base58."""
        return self.blockhashes.latest(self.slot)

    def _stamp(self) -> tuple[int, int]:
        # No two trades share a slot or a millisecond, so that selling and buying
        # again at once cannot be taken for the same position.
        self._last_slot = self.slot + 1
        self._last_trade_ms = max(self._last_trade_ms + 1, self.now_ms())
        return self._last_slot, self._last_trade_ms

    # --- wallets --------------------------------------------------------------

    def is_registered(self, wallet: str) -> bool:
        """Tell whether a session may be configured with this wallet."""
        if not self._takes_any:
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
        self._wallets.add(wallet)

    def unregister(self, wallet: str) -> bool:
        """Forget a wallet that was registered; tell whether it was."""
        was_registered = wallet in self._wallets
        self._wallets.discard(wallet)
        return was_registered

    def holds(self, wallet: str) -> bool:
        """Tell whether a wallet holds anything."""
        return bool(self.ledger.holdings(wallet))

    # --- prices ---------------------------------------------------------------

    def market(self, mint: str) -> Market:
        """Return the market of a token, opened when it is first asked for."""
        return self.markets[mint]

    def proceeds(self, holding: Holding) -> int:
        """Return what selling a holding at once would bring, slippage included."""
        return self.markets[holding.mint].pool.proceeds(holding.tokens)

    def set_profit(self, holding: Holding, profit_pct: float) -> None:
        """Move the price so that a holding has this profit, and leave it there."""
        self.set_profit_path(holding, ())
        market = self.markets[holding.mint]
        market.pool = market.pool.paying(
            holding.tokens, proceeds_at(holding.entry_quote_units, profit_pct)
        )

    def set_profit_path(self, holding: Holding, profits_pct: Iterable[float]) -> None:
        """Script a holding's profit, one value per tick; it stays at the last."""
        self.markets[holding.mint].path = ProfitPath(
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
        mirror_source: str | None = None,
        signature: str | None = None,
    ) -> Trade:
        """
        Land a buy; the arguments are those of ``SimServer.buy``.

        ``signature`` is that of the transaction that was submitted for it, if any was.

        Raises:
            InsufficientFundsError: If the wallet was funded, with less than it costs.
            ConfigurationError: If an argument is wrong, or the wallet holds the
                token already.
        """
        check_pubkey(wallet, "wallet")
        if mint is not None:
            check_pubkey(mint, "mint")
        if quote_units < 1 or (tokens is not None and tokens < 1):
            raise ConfigurationError("a buy needs quote_units and tokens of at least 1")
        market = self.markets.add() if mint is None else self.markets[mint]
        pool, tokens = _pool_after_buy(market.pool, quote_units, tokens)
        slot, now_ms = self._stamp()
        trade = self.ledger.buy(
            Holding(
                position_id=self.next_position_id(),
                wallet=wallet,
                mint=market.mint,
                token_account=associated_token_account(wallet, market.mint),
                token_program=TOKEN_PROGRAM,
                tokens=tokens,
                entry_quote_units=quote_units,
                slot=slot,
                opened_at_ms=now_ms,
                quote=market.quote,
                decimals=market.decimals,
                mirror_source=mirror_source,
            ),
            signature,
        )
        market.pool = pool
        if profits_pct is not None:
            self.set_profit_path(trade.holding, profits_pct)
        return trade

    def next_position_id(self) -> int:
        """Return a position id that was never used before."""
        return next(self._position_ids)

    def sell(
        self,
        holding: Holding,
        *,
        tokens: int | None = None,
        reason: str,
        level_index: int | None = None,
        signature: str | None = None,
    ) -> Trade:
        """
        Land a sale at the current price; None sells everything.

        Raises:
            ConfigurationError: If the wallet does not hold that much any more.
        """
        market = self.markets[holding.mint]
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
            level_index=level_index,
            signature=signature,
        )
        market.pool = market.pool.after_sell(tokens)
        if trade.balance == 0:
            self.orders.forget_exits(holding.token_account)
        return trade

    # --- trades that clients were told to make --------------------------------

    def land_exit(self, holding: Holding, pending: PendingExit) -> Trade:
        """
        Land the sale of an exit signal; of a partial one, as much as is held.

        Raises:
            ConfigurationError: If the wallet holds nothing of it any more.
        """
        held = self.ledger.holding(holding.token_account)
        tokens = pending.tokens
        if tokens is not None and held is not None:
            tokens = min(tokens, held.tokens)
        return self.land_sale(holding, tokens, pending)

    def land_sale(
        self,
        holding: Holding,
        tokens: int | None,
        pending: PendingExit,
        signature: str | None = None,
    ) -> Trade:
        """
        Land the sale of so many tokens as that of an exit; None is all.

        Raises:
            ConfigurationError: If the wallet does not hold that much any more.
        """
        trade = self.sell(
            holding,
            tokens=tokens,
            reason=pending.reason,
            level_index=pending.level_index,
            signature=signature,
        )
        self.orders.forget_exit(holding.token_account, pending.level_index)
        return trade

    def land_buy(self, buy: PendingBuy) -> Trade:
        """
        Land a mirror buy.

        Raises:
            InsufficientFundsError: If the wallet cannot pay.
            ConfigurationError: If it holds the token already.
        """
        self.orders.forget_buy(buy)
        return self.buy(
            buy.wallet,
            buy.mint,
            quote_units=buy.quote_units,
            mirror_source=buy.watched_wallet,
        )

    def land_due(self, now_ms: int) -> list[Trade]:
        """Land what has its time: sales before buys, oldest signal first."""
        trades = []
        for token_account, pending in self.orders.due_exits(now_ms):
            holding = self.ledger.holding(token_account)
            if holding is not None:
                trades.append(self.land_exit(holding, pending))
        for buy in self.orders.due_buys(now_ms):
            try:
                trades.append(self.land_buy(buy))
            except ConfigurationError:
                # As on the chain: who cannot pay, or holds it by now, buys nothing.
                continue
        return trades


def _checked(wallets: Iterable[str]) -> set[str]:
    return {check_pubkey(wallet, "wallets") for wallet in wallets}


def _pool_after_buy(
    pool: Pool, quote_units: int, tokens: int | None
) -> tuple[Pool, int]:
    if tokens is not None:
        # A given size sets the price at which it costs what it costs.
        return pool.paying(tokens, quote_units), tokens
    return pool.after_buy(quote_units), pool.tokens_for(quote_units)
