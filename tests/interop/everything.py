"""A server that says everything the wire has, to a client that does its part."""

from __future__ import annotations

from typing import Literal

from lasersell.sim import Holding, SimServer
from lasersell.testing import OTHER_WALLET, WALLET, Script

__all__ = [
    "CONFIGURE",
    "EVERY_KIND",
    "EVERY_TYPE",
    "HelloOrder",
    "everything_server",
    "say_everything",
]

HelloOrder = Literal["first", "after_configure"]

EVERY_TYPE = {
    "hello_ok",
    "pong",
    "error",
    "balance_update",
    "position_opened",
    "position_closed",
    "exit_signal_with_tx",
    "pnl_update",
    "liquidity_snapshot",
    "trade_tick",
    "mirror_buy_signal",
    "mirror_buy_failed",
    "mirror_wallet_auto_disabled",
}
"""The thirteen messages of a server."""

EVERY_KIND = EVERY_TYPE - {"hello_ok", "pong", "error", "balance_update"} | {"message"}
"""The events of an official session; messages that have none of their own are one."""

CONFIGURE = {
    "wallet_pubkeys": [WALLET],
    "strategy": {"target_profit_pct": 5.0, "stop_loss_pct": 0.0},
    "send_mode": "rpc",
    "tip_lamports": 1000,
    "watch_wallets": [
        {
            "pubkey": OTHER_WALLET,
            "auto_buy": {"wallet_pubkey": WALLET, "amount_quote_units": 50_000_000},
            "mirror_sell": True,
        }
    ],
    "mirror_config": {
        "max_positions_per_wallet": 5,
        "cooldown_sec": 3600,
        "skip_creator_tokens": False,
        "max_active_sol": 5.0,
        "buy_slippage_bps": 2500,
        "min_liquidity_sol": 10.0,
        "max_entry_drift_pct": 50.0,
        "max_consecutive_losses": 1,
    },
}
"""
With what the client must configure; then it pings, asks for the exit of a position
that is not there, and reports every mirror buy as submitted.
"""


def everything_server(hello: HelloOrder) -> SimServer:
    """Return a server for :func:`say_everything`."""
    return SimServer(
        hello=hello,
        tier="professional",
        pnl_flush_ms=20,
        trade_ticks=True,
        auto_sell_after_ms=40,
        auto_buy_after_ms=0,
    )


def say_everything(sim: SimServer) -> Script:
    """Return the script by which the client is told everything."""
    script = Script(sim, timeout=15.0)
    script.expect("configure").expect("ping").expect("request_exit_signal")
    script.buy("theirs", OTHER_WALLET).buy("too soon", OTHER_WALLET)
    script.expect("mirror_buy_result", success=True)
    script.until(lambda: _copies(sim), "until the copy has landed")
    script.do(lambda: _lose(sim), "lose with the copy")
    script.buy("ours", profits_pct=[0, 2, 5])
    return script.expect_sold("ours", "target_profit")


def _copies(sim: SimServer) -> list[Holding]:
    return [h for h in sim.holdings(WALLET) if h.mirror_source == OTHER_WALLET]


def _lose(sim: SimServer) -> None:
    (copy,) = _copies(sim)
    sim.set_profit(copy, -50)
    sim.sell(copy)
