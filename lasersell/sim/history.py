"""Past and present positions, as the REST API tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from lasersell.sim.ledger import Holding, Trade

__all__ = ["positions_of"]


def positions_of(
    trades: Iterable[Trade], market_type_of: Callable[[str], str]
) -> list[dict[str, Any]]:
    """
    Return each position that was ever opened, newest first.

    The ledger knows neither sessions nor strategies, so the session is 0 and the
    strategy's fields are None.

    Args:
        trades: What landed, oldest first.
        market_type_of: Returns the kind of market that a mint trades on.
    """
    told: dict[int, dict[str, Any]] = {}
    brought: dict[int, int] = {}
    for trade in trades:
        position_id = trade.holding.position_id
        if trade.side == "buy":
            market_type = market_type_of(trade.holding.mint)
            told[position_id] = _opened(trade.holding, market_type)
            brought[position_id] = 0
            continue
        brought[position_id] += trade.quote_units
        if trade.balance == 0:
            told[position_id] |= _closed(trade, told[position_id], brought[position_id])
    return list(reversed(told.values()))


def _opened(holding: Holding, market_type: str) -> dict[str, Any]:
    return {
        "id": holding.position_id,
        "session_id": 0,
        "position_id": holding.position_id,
        "wallet_pubkey": holding.wallet,
        "mint": holding.mint,
        "entry_quote_units": holding.entry_quote_units,
        "tokens": holding.tokens,
        "opened_at": _iso(holding.opened_at_ms),
        "exit_quote_units": None,
        "profit_quote_units": None,
        "exit_reason": None,
        "market_kind": "".join(word.capitalize() for word in market_type.split("_")),
        "strategy_target_profit_pct": None,
        "strategy_stop_loss_pct": None,
        "strategy_trailing_stop_pct": None,
        "closed_at": None,
    }


def _closed(trade: Trade, opened: dict[str, Any], brought: int) -> dict[str, Any]:
    return {
        "exit_quote_units": brought,
        "profit_quote_units": brought - opened["entry_quote_units"],
        "exit_reason": trade.reason,
        "closed_at": _iso(trade.time_ms),
    }


def _iso(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, tz=timezone.utc).isoformat()
