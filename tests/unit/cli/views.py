"""Snapshots made up for tests."""

from __future__ import annotations

from typing import Any

from lasersell.cli.snapshot import EventLine, PositionRow, Snapshot

__all__ = ["WALLET", "position", "snapshot"]

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"


def position(number: int = 1, **changes: Any) -> PositionRow:
    """Return a position that has a profit."""
    fields: dict[str, Any] = {
        "token_account": f"account-{number}",
        "mint": f"mint-{number}",
        "symbol": f"SIM{number}",
        "wallet_pubkey": WALLET,
        "status": "open",
        "is_watched": False,
        "age_sec": 65.0,
        "deadline_sec": 5.0,
        "entry_quote_units": 1_000_000_000,
        "profit_units": 12_345_678,
        "pnl_pct": 1.2345678,
        "peak_pnl_pct": 2.0,
        "quote": "SOL",
        "quote_decimals": 9,
        "liquidity_trend": "growing",
    }
    return PositionRow(**{**fields, **changes})


def snapshot(*positions: PositionRow, **changes: Any) -> Snapshot:
    """Return a snapshot of a stream that is live."""
    fields: dict[str, Any] = {
        "at_ms": 1_700_000_000_000,
        "pid": 4711,
        "endpoint": "wss://stream.example/v1/ws",
        "state": "live",
        "error": None,
        "round_trip_ms": 12.34,
        "silent_sec": 0.1,
        "reconnects": 0,
        "frames_in": 100,
        "dropped": 0,
        "wallets": (WALLET,),
        "positions": positions,
        "events": (EventLine(at_ms=1_700_000_000_000, text="SIM1 opened"),),
    }
    return Snapshot(**{**fields, **changes})
