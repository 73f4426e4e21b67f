"""What the server says about a holding: facts of the chain as messages of the wire."""

from __future__ import annotations

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    LiquidityBand,
    LiquiditySnapshot,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
)
from lasersell.sim.chain import Market
from lasersell.sim.ledger import Holding
from lasersell.sim.market import SLIPPAGE_BANDS_BPS, Pool, liquidity_trend
from lasersell.sim.solana import unsigned_sell
from lasersell.sim.strategy import Valuation

__all__ = [
    "balance_update",
    "exit_signal",
    "liquidity_snapshot",
    "pnl_update",
    "position_closed",
    "position_opened",
]

_BPS = 10_000


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


def position_opened(
    position_id: int, holding: Holding, market: Market
) -> PositionOpened:
    """Return a holding as a position; entry, slot and time are those of its buy."""
    return PositionOpened(
        position_id=position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        token_program=holding.token_program,
        tokens=holding.tokens,
        entry_quote_units=holding.entry_quote_units,
        market_context=market.context,
        token_name=f"Simulated {market.symbol}",
        token_symbol=market.symbol,
        token_decimals=market.decimals,
        token_price_quote=market.token_price_quote,
        market_cap_quote=market.market_cap_quote,
        pool_liquidity_quote=market.pool.quote_reserve,
        opened_at_ms=holding.opened_at_ms,
        slot=holding.slot,
    )


def position_closed(
    position_id: int, holding: Holding, reason: str, slot: int
) -> PositionClosed:
    """Return the end of a position."""
    return PositionClosed(
        position_id=position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        reason=reason,
        slot=slot,
    )


def pnl_update(
    position_id: int, value: Valuation, market: Market, now_ms: int
) -> PnlUpdate:
    """Return a position's profit now."""
    return PnlUpdate(
        position_id=position_id,
        profit_units=value.profit_units,
        proceeds_units=value.proceeds_units,
        server_time_ms=now_ms,
        token_price_quote=market.token_price_quote,
        market_cap_quote=market.market_cap_quote,
    )


def liquidity_snapshot(
    position_id: int, held: int, before: Pool, now: Pool, now_ms: int
) -> LiquiditySnapshot:
    """Return how much of ``held`` tokens the pool could take in one sale."""
    bands = tuple(_band(now, held, bps) for bps in SLIPPAGE_BANDS_BPS)
    return LiquiditySnapshot(
        position_id=position_id,
        bands=bands,
        liquidity_trend=liquidity_trend(before, now),
        server_time_ms=now_ms,
    )


def _band(pool: Pool, held: int, slippage_bps: int) -> LiquidityBand:
    tokens = min(held, pool.max_tokens_within(slippage_bps))
    return LiquidityBand(
        slippage_bps=slippage_bps, max_tokens=tokens, coverage_pct=100 * tokens / held
    )


def exit_signal(
    holding: Holding,
    market: Market,
    value: Valuation,
    *,
    session_id: int,
    position_id: int,
    reason: str,
    slippage_bps: int,
    tip_lamports: int,
    slot: int,
    now_ms: int,
) -> ExitSignalWithTx:
    """
    Return an exit signal with a real unsigned transaction that sells everything.

    The transaction accepts proceeds down to ``slippage_bps`` below the value.
    """
    return ExitSignalWithTx(
        session_id=session_id,
        position_id=position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        token_program=holding.token_program,
        position_tokens=holding.tokens,
        profit_units=value.profit_units,
        reason=reason,
        triggered_at_ms=now_ms,
        market_context=market.context,
        unsigned_tx_b64=unsigned_sell(
            wallet=holding.wallet,
            mint=holding.mint,
            token_account=holding.token_account,
            pool=market.address,
            tokens=holding.tokens,
            min_quote_units=_less(value.proceeds_units, slippage_bps),
            tip_lamports=tip_lamports,
            slot=slot,
        ),
    )


def _less(quote_units: int, slippage_bps: int) -> int:
    return quote_units * max(0, _BPS - slippage_bps) // _BPS
