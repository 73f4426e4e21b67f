"""What the server says about a holding: facts of the chain as messages of the wire."""

from __future__ import annotations

from typing import Literal

import attrs

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    LiquidityBand,
    LiquiditySnapshot,
    MirrorBuySignal,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    TradeTick,
)
from lasersell.sim.ledger import Holding, Trade
from lasersell.sim.market import SLIPPAGE_BANDS_BPS, Pool, liquidity_trend
from lasersell.sim.markets import Market
from lasersell.sim.orders import PendingBuy
from lasersell.sim.position import Position
from lasersell.sim.solana import (
    made_up_key,
    made_up_signature,
)
from lasersell.sim.strategy import Exit
from lasersell.sim.transactions import Place, unsigned_buy, unsigned_sell
from lasersell.sim.valuation import Valuation

__all__ = [
    "Sender",
    "balance_update",
    "exit_signal",
    "less",
    "liquidity_snapshot",
    "mirror_buy_signal",
    "move_tick",
    "pnl_update",
    "position_closed",
    "position_opened",
    "trade_tick",
]

_BPS = 10_000


@attrs.define(kw_only=True)
class Sender:
    """
    How the client of a session submits transactions, as its ``configure`` said.

    Attributes:
        session_id: The session.
        send_mode: How; None was not said.
        tip_lamports: The tip in each transaction; None was not said.
        has_table: Whether transactions keep accounts in a look-up table.
    """

    session_id: int
    send_mode: str | None = None
    tip_lamports: int | None = None
    has_table: bool = False

    def place(self, market: Market, wallet: str, blockhash: str) -> Place:
        """Return where a transaction of this client trades."""
        return Place(
            wallet=wallet,
            mint=market.mint,
            market_type=market.market_type,
            quote=market.quote,
            pool=market.address,
            blockhash=blockhash,
            tip_lamports=self.tip_lamports,
            has_table=self.has_table,
        )


def balance_update(holding: Holding, tokens: int, slot: int) -> BalanceUpdate:
    """Return the new balance of a holding's token account."""
    return BalanceUpdate(
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        token_program=holding.token_program,
        tokens=tokens,
        slot=slot,
    )


def position_opened(position: Position) -> PositionOpened:
    """Return a position; entry, slot and time are those of its buy."""
    holding, market = position.holding, position.market
    return PositionOpened(
        position_id=position.position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        token_program=holding.token_program,
        tokens=holding.tokens,
        entry_quote_units=holding.entry_quote_units,
        market_context=market.context(holding.wallet),
        token_name=f"Simulated {market.symbol}",
        token_symbol=market.symbol,
        token_decimals=market.decimals,
        token_price_quote=market.token_price_quote,
        market_cap_quote=market.market_cap_quote,
        pool_liquidity_quote=market.pool.quote_reserve,
        opened_at_ms=holding.opened_at_ms,
        slot=holding.slot,
        watched=position.is_watched,
        mirror_source=holding.mirror_source,
    )


def position_closed(position: Position, reason: str, slot: int) -> PositionClosed:
    """Return the end of a position."""
    holding = position.holding
    return PositionClosed(
        position_id=position.position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        reason=reason,
        slot=slot,
        mirror_source=holding.mirror_source,
        watched=position.is_watched,
    )


def pnl_update(position: Position, value: Valuation, now_ms: int) -> PnlUpdate:
    """Return a position's profit now, of what it is worth now."""
    market = position.market
    return PnlUpdate(
        position_id=position.position_id,
        profit_units=value.profit_units,
        proceeds_units=value.proceeds_units,
        server_time_ms=now_ms,
        token_price_quote=market.token_price_quote,
        market_cap_quote=market.market_cap_quote,
        watched=position.is_watched,
    )


def liquidity_snapshot(position: Position, now_ms: int) -> LiquiditySnapshot:
    """Return how much of a position the pool could take in one sale."""
    pool, held = position.market.pool, position.holding.tokens
    return LiquiditySnapshot(
        position_id=position.position_id,
        bands=tuple(_band(pool, held, bps) for bps in SLIPPAGE_BANDS_BPS),
        liquidity_trend=liquidity_trend(position.pool, pool),
        server_time_ms=now_ms,
        watched=position.is_watched,
    )


def _band(pool: Pool, held: int, slippage_bps: int) -> LiquidityBand:
    tokens = min(held, pool.max_tokens_within(slippage_bps))
    return LiquidityBand(
        slippage_bps=slippage_bps, max_tokens=tokens, coverage_pct=100 * tokens / held
    )


def trade_tick(position: Position, trade: Trade) -> TradeTick:
    """Return somebody's trade of a position's token."""
    return TradeTick(
        position_id=position.position_id,
        time_ms=trade.time_ms,
        side=trade.side,
        token_amount=trade.tokens,
        quote_amount=trade.quote_units,
        price_quote=position.market.token_price_quote,
        maker=trade.holding.wallet,
        tx_signature=trade.signature or made_up_signature("trade", trade.slot),
        watched=position.is_watched,
    )


def move_tick(position: Position, now_ms: int) -> TradeTick:
    """Return the trade of an unknown maker that moved a pool since the last tick."""
    before, market = position.pool, position.market
    quote_moved = market.pool.quote_reserve - before.quote_reserve
    side: Literal["buy", "sell"] = "buy" if quote_moved > 0 else "sell"
    return TradeTick(
        position_id=position.position_id,
        time_ms=now_ms,
        side=side,
        token_amount=abs(market.pool.token_reserve - before.token_reserve),
        quote_amount=abs(quote_moved),
        price_quote=market.token_price_quote,
        maker=made_up_key("maker", market.mint, now_ms),
        tx_signature=made_up_signature("move", market.mint, now_ms),
        watched=position.is_watched,
    )


def exit_signal(
    position: Position,
    decision: Exit,
    sender: Sender,
    *,
    slippage_bps: int,
    blockhash: str,
    now_ms: int,
) -> ExitSignalWithTx:
    """
    Return an exit signal with a real unsigned transaction.

    It sells what was decided, or what is left of it, for proceeds down to
    ``slippage_bps`` below what that would bring now. ``profit_units`` is the profit
    of the whole position.
    """
    holding, market = position.holding, position.market
    tokens = min(decision.tokens or holding.tokens, holding.tokens)
    return ExitSignalWithTx(
        session_id=sender.session_id,
        position_id=position.position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        token_program=holding.token_program,
        position_tokens=holding.tokens,
        profit_units=position.value().profit_units,
        reason=decision.reason,
        triggered_at_ms=now_ms,
        market_context=market.context(holding.wallet),
        unsigned_tx_b64=unsigned_sell(
            sender.place(market, holding.wallet, blockhash),
            tokens=tokens,
            min_quote_units=less(market.pool.proceeds(tokens), slippage_bps),
        ),
        sell_tokens=tokens if tokens < holding.tokens else None,
        level_index=decision.level_index,
        mirror_source=holding.mirror_source,
        watched=position.is_watched,
    )


def mirror_buy_signal(
    buy: PendingBuy,
    market: Market,
    sender: Sender,
    *,
    slippage_bps: int,
    blockhash: str,
) -> MirrorBuySignal:
    """Return the order to copy a buy, with a real unsigned transaction."""
    return MirrorBuySignal(
        session_id=sender.session_id,
        watched_wallet=buy.watched_wallet,
        mint=buy.mint,
        user_wallet=buy.wallet,
        amount_quote_units=buy.quote_units,
        input=market.quote,
        unsigned_tx_b64=unsigned_buy(
            sender.place(market, buy.wallet, blockhash),
            quote_units=buy.quote_units,
            min_tokens=less(market.pool.tokens_for(buy.quote_units), slippage_bps),
        ),
        slippage_bps=slippage_bps,
        send_mode=sender.send_mode,
        tip_lamports=sender.tip_lamports,
        market_context=market.context(buy.wallet),
    )


def less(units: int, slippage_bps: int) -> int:
    """Return what is left of an amount at the worst slippage allowed."""
    return units * max(0, _BPS - slippage_bps) // _BPS
