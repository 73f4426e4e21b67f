"""Messages of a server about positions, with facts that fit together."""

from __future__ import annotations

from typing import Any

from lasersell.protocol.market import MarketContext, Venue
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    HelloOk,
    Limits,
    LiquidityBand,
    LiquiditySnapshot,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    TradeTick,
)

__all__ = [
    "OTHER_WALLET",
    "START_MS",
    "WALLET",
    "balance",
    "closed",
    "exit_signal",
    "hello",
    "liquidity",
    "mint_of",
    "opened",
    "pnl",
    "tick",
]

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
OTHER_WALLET = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"
START_MS = 1_700_000_000_000
"""Where the fake clock of the tests starts, and the server's clock with it."""


def mint_of(account: str) -> str:
    """Return the token that an account holds here."""
    return f"mint of {account}"


def opened(position_id: int = 1, account: str = "A", **changes: Any) -> PositionOpened:
    """Return a position of ``account``: 100 tokens for 1,000, opened at the start."""
    facts: dict[str, Any] = {
        "wallet_pubkey": WALLET,
        "mint": mint_of(account),
        "token_account": account,
        "tokens": 100,
        "entry_quote_units": 1000,
        "opened_at_ms": START_MS,
        "slot": 50,
        "market_context": MarketContext(
            market_type="pump_swap", pumpswap=Venue(pool="pool")
        ),
    }
    return PositionOpened(position_id=position_id, **{**facts, **changes})


def closed(
    position_id: int = 1, account: str | None = "A", **changes: Any
) -> PositionClosed:
    """Return the end of the position on ``account``."""
    facts: dict[str, Any] = {
        "wallet_pubkey": WALLET,
        "mint": mint_of(account or "A"),
        "reason": "manual",
        "slot": 99,
    }
    return PositionClosed(
        position_id=position_id, token_account=account, **{**facts, **changes}
    )


def exit_signal(
    position_id: int | None = 1, account: str | None = "A", **changes: Any
) -> ExitSignalWithTx:
    """Return an exit of the whole position on ``account``."""
    facts: dict[str, Any] = {
        "session_id": 1,
        "wallet_pubkey": WALLET,
        "mint": mint_of(account or "A"),
        "position_tokens": 100,
        "profit_units": 10,
        "reason": "target_profit",
        "triggered_at_ms": START_MS,
        "unsigned_tx_b64": "AA==",
    }
    return ExitSignalWithTx(
        position_id=position_id, token_account=account, **{**facts, **changes}
    )


def balance(tokens: int, account: str | None = "A", **changes: Any) -> BalanceUpdate:
    """Return a new balance of ``account``."""
    facts: dict[str, Any] = {
        "wallet_pubkey": WALLET,
        "mint": mint_of(account or "A"),
        "slot": 60,
    }
    return BalanceUpdate(tokens=tokens, token_account=account, **{**facts, **changes})


def pnl(
    position_id: int = 1, profit_units: int = 10, server_time_ms: int = START_MS
) -> PnlUpdate:
    """Return a profit of a position that cost 1,000."""
    return PnlUpdate(
        position_id=position_id,
        profit_units=profit_units,
        proceeds_units=1000 + profit_units,
        server_time_ms=server_time_ms,
    )


def liquidity(position_id: int = 1) -> LiquiditySnapshot:
    """Return what can be sold of a position within 1 % and within 2 %."""
    return LiquiditySnapshot(
        position_id=position_id,
        bands=(
            LiquidityBand(slippage_bps=100, max_tokens=30, coverage_pct=30.0),
            LiquidityBand(slippage_bps=200, max_tokens=70, coverage_pct=70.0),
        ),
        liquidity_trend="stable",
        server_time_ms=START_MS,
    )


def tick(position_id: int = 1) -> TradeTick:
    """Return a trade of a position's token."""
    return TradeTick(
        position_id=position_id,
        time_ms=START_MS,
        side="buy",
        token_amount=5,
        quote_amount=50,
        price_quote=10,
    )


def hello(
    session_id: int = 1, server_time_ms: int = START_MS, **limits: Any
) -> HelloOk:
    """Return a greeting of a server that limits nothing unless told to."""
    facts: dict[str, Any] = {
        "hi_capacity": 1024,
        "pnl_flush_ms": 100,
        "max_positions_per_session": 0,
    }
    return HelloOk(
        session_id=session_id,
        server_time_ms=server_time_ms,
        limits=Limits(**{**facts, **limits}),
    )
