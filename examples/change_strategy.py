"""Tighten the strategy once a position is open; ends after its exit signal."""

from __future__ import annotations

import os

from lasersell import StrategyConfig, StreamClient, StreamConfigure, StreamSession

configure = StreamConfigure(
    wallet_pubkeys=[os.environ["LASERSELL_WALLET"]],
    strategy=StrategyConfig(target_profit_pct=500.0, stop_loss_pct=50.0),
)
with StreamSession.connect(StreamClient(), configure) as session:
    print(session.wait_for("position_opened", timeout=600).handle)

    # Of the strategy for all positions, change only what is named.
    session.update_strategy_optional(target_profit_pct=50.0, trailing_stop_pct=2.0)
    # Give the positions that are open a strategy of their own.
    for position in session.positions():
        session.update_position_strategy(position, StrategyConfig(target_profit_pct=3))

    signal = session.wait_for("exit_signal_with_tx", timeout=600)
    print(f"exit with {signal.handle and signal.handle.pnl_pct:+.1f} %")
