"""
Copy trading: which buys of watched wallets are copied, and why others are not.

A buy of a watched wallet with ``auto_buy`` is looked at in this order:

1. Passed over without a word: the wallet is disabled; it created the token and
   ``skip_creator_tokens`` is set; the market trades in USD1 and no
   ``amount_usd1_units`` is given; a copy of the same token is under way, as
   ``mirror_buy_result`` names nothing but the mint.
2. Refused with ``mirror_buy_failed``: ``no_route``, ``below_min_liquidity``,
   ``max_entry_drift_exceeded``, ``cooldown_active``, ``max_positions_reached``,
   ``max_active_sol_reached``, ``already_held``, ``insufficient_balance``. Those
   without a documented code are named here.

Liquidity and exposure are counted in SOL markets only: no document gives a price
of USD1. What is copied is on the chain, not in the session, and outlives it.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.server import (
    MirrorBuyFailed,
    MirrorWalletAutoDisabled,
    ServerMessage,
)
from lasersell.sim.chain import Chain
from lasersell.sim.ledger import Holding, Trade
from lasersell.sim.markets import Market
from lasersell.sim.options import SimOptions
from lasersell.sim.orders import PendingBuy
from lasersell.sim.reports import Sender, mirror_buy_signal
from lasersell.sim.solana import associated_token_account

__all__ = ["MirrorDesk"]

_DEFAULT_SLIPPAGE_BPS = 2500
_LAMPORTS = 1_000_000_000


class MirrorDesk:
    """
    The copy trading of one session.

    Args:
        chain: Where the buys are.
        options: How to behave.
        sender: How the client submits transactions.

    Attributes:
        wallets: The wallets watched.
        config: The limits on what is copied.
    """

    def __init__(self, chain: Chain, options: SimOptions, sender: Sender) -> None:
        self.wallets: tuple[WatchWallet, ...] = ()
        self.config: MirrorConfig = options.mirror_defaults
        self._sender = sender
        self._chain = chain
        self._options = options
        self._last_buy_ms: dict[str, int] = {}
        self._losses: dict[str, int] = {}
        self._disabled: set[str] = set()

    def watch(self, wallets: Iterable[WatchWallet]) -> None:
        """Replace the list of watched wallets; one that was disabled is enabled."""
        self.wallets = tuple(wallets)
        self._losses.clear()
        self._disabled.clear()

    @property
    def pubkeys(self) -> tuple[str, ...]:
        """The public keys of the wallets watched."""
        return tuple(wallet.pubkey for wallet in self.wallets)

    def see_trade(self, trade: Trade) -> list[ServerMessage]:
        """Return what a trade that landed means for copies, past and to come."""
        if trade.side == "sell":
            return self._see_sale(trade)
        return [
            message
            for wallet in self.wallets
            if wallet.pubkey == trade.holding.wallet and wallet.auto_buy is not None
            for message in self._copy(wallet.pubkey, wallet.auto_buy, trade)
        ]

    def follows(self, holding: Holding, sale: Trade) -> bool:
        """Tell whether a holding is a copy that a watched wallet's sale sells too."""
        return (
            self._options.readings.mirror_sell == "exit"
            and holding.mint == sale.holding.mint
            and holding.mirror_source == sale.holding.wallet
            and any(
                wallet.mirror_sell and wallet.pubkey == sale.holding.wallet
                for wallet in self.wallets
            )
        )

    def report(self, mint: str, success: bool) -> list[ServerMessage]:
        """Take note of what became of the copies of a token that are under way."""
        messages: list[ServerMessage] = []
        for buy in self._under_way():
            if buy.mint != mint or buy.is_submitted:
                continue
            if success:
                self._submit(buy)
            else:
                self._chain.orders.forget_buy(buy)
            if self._options.readings.mirror_losses == "failed_buys":
                messages += self._count(buy.watched_wallet, is_loss=not success)
        return messages

    def _submit(self, buy: PendingBuy) -> None:
        delay_ms = self._options.auto_buy_after_ms
        due_ms = None if delay_ms is None else self._chain.now_ms() + delay_ms
        submitted = attrs.evolve(buy, is_submitted=True, due_ms=due_ms)
        self._chain.orders.expect_buy(submitted)

    # --- buys -----------------------------------------------------------------

    def _copy(
        self, watched_wallet: str, auto_buy: AutoBuy, trade: Trade
    ) -> list[ServerMessage]:
        market = self._chain.market(trade.holding.mint)
        quote_units = _amount(auto_buy, market)
        if quote_units is None or self._is_passed_over(watched_wallet, market):
            return []
        buy = PendingBuy(
            auto_buy.wallet_pubkey, market.mint, quote_units, watched_wallet
        )
        problem = self._problem(buy, market, trade)
        if problem is not None:
            return [
                MirrorBuyFailed(
                    watched_wallet=watched_wallet, mint=market.mint, reason=problem
                )
            ]
        self._chain.orders.expect_buy(buy)
        self._last_buy_ms[watched_wallet] = self._chain.now_ms()
        signal = mirror_buy_signal(
            buy,
            market,
            self._sender,
            slippage_bps=self.config.buy_slippage_bps or _DEFAULT_SLIPPAGE_BPS,
            blockhash=self._chain.blockhash(),
        )
        self._chain.orders.offer(signal.unsigned_tx_b64, buy)
        return [signal]

    def _is_passed_over(self, watched_wallet: str, market: Market) -> bool:
        is_creator = market.creator == watched_wallet
        return (
            watched_wallet in self._disabled
            or (is_creator and self.config.skip_creator_tokens)
            or any(
                buy.mint == market.mint and not buy.is_submitted
                for buy in self._under_way()
            )
        )

    def _problem(self, buy: PendingBuy, market: Market, trade: Trade) -> str | None:
        if not market.is_routable:
            return "no_route"
        return (
            self._market_problem(market, trade)
            or self._limit_problem(buy, market)
            or self._wallet_problem(buy, market)
        )

    def _market_problem(self, market: Market, trade: Trade) -> str | None:
        floor_sol = self.config.min_liquidity_sol
        is_floored = floor_sol is not None and market.quote == "SOL"
        if is_floored and market.pool.quote_reserve < (floor_sol or 0) * _LAMPORTS:
            return "below_min_liquidity"
        drift_pct = 100 * (market.token_price_quote / max(1, trade.price_quote) - 1)
        most = self.config.max_entry_drift_pct
        return (
            "max_entry_drift_exceeded"
            if most is not None and drift_pct > most
            else None
        )

    def _limit_problem(self, buy: PendingBuy, market: Market) -> str | None:
        config, source = self.config, buy.watched_wallet
        last_ms = self._last_buy_ms.get(source)
        cooldown_ms = config.cooldown_sec * 1000
        if last_ms is not None and self._chain.now_ms() - last_ms < cooldown_ms:
            return "cooldown_active"
        held, under_way = self._copies(), self._under_way()
        active = sum(holding.mirror_source == source for holding in held)
        active += sum(other.watched_wallet == source for other in under_way)
        if 0 < config.max_positions_per_wallet <= active:
            return "max_positions_reached"
        lamports = sum(h.entry_quote_units for h in held if h.quote == "SOL")
        lamports += sum(
            other.quote_units
            for other in under_way
            if self._chain.market(other.mint).quote == "SOL"
        )
        most = config.max_active_sol * _LAMPORTS
        if market.quote == "SOL" and 0 < most < lamports + buy.quote_units:
            return "max_active_sol_reached"
        return None

    def _wallet_problem(self, buy: PendingBuy, market: Market) -> str | None:
        if associated_token_account(buy.wallet, buy.mint) in self._chain.ledger:
            return "already_held"
        funds = self._chain.ledger.funds(buy.wallet, market.quote)
        if funds is not None and funds < buy.quote_units:
            return "insufficient_balance"
        return None

    def _copies(self) -> list[Holding]:
        """Return what our wallets hold as copies of wallets we watch."""
        payers, watched = self._payers(), self.pubkeys
        return [
            holding
            for holding in self._chain.ledger.holdings()
            if holding.wallet in payers and holding.mirror_source in watched
        ]

    def _under_way(self) -> list[PendingBuy]:
        return self._chain.orders.buys(self._payers())

    def _payers(self) -> set[str]:
        return {
            wallet.auto_buy.wallet_pubkey
            for wallet in self.wallets
            if wallet.auto_buy is not None
        }

    # --- losses ---------------------------------------------------------------

    def _see_sale(self, trade: Trade) -> list[ServerMessage]:
        holding = trade.holding
        is_copy = (
            trade.balance == 0
            and holding.mirror_source in self.pubkeys
            and holding.wallet in self._payers()
        )
        counts = self._options.readings.mirror_losses == "losing_trades"
        if holding.mirror_source is None or not (is_copy and counts):
            return []
        gain = self._chain.ledger.gain(holding.position_id)
        return self._count(holding.mirror_source, is_loss=gain < 0)

    def _count(self, watched_wallet: str, *, is_loss: bool) -> list[ServerMessage]:
        losses = self._losses.get(watched_wallet, 0) + 1 if is_loss else 0
        self._losses[watched_wallet] = losses
        most = self.config.max_consecutive_losses
        if not most or losses < most or watched_wallet in self._disabled:
            return []
        self._disabled.add(watched_wallet)
        return [
            MirrorWalletAutoDisabled(
                watched_wallet=watched_wallet,
                reason="consecutive_loss_limit_reached",
                loss_count=losses,
            )
        ]


def _amount(auto_buy: AutoBuy, market: Market) -> int | None:
    """Return what a copy costs in a market; None if it is not to be copied there."""
    if market.quote == "USD1":
        return auto_buy.amount_usd1_units
    return auto_buy.amount_quote_units
