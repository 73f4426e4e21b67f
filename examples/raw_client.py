"""The wire without a session: messages as they come; ends after one exit signal."""

from __future__ import annotations

import os

from lasersell import StrategyConfig, StreamClient, StreamConfigure
from lasersell.protocol import ExitSignalWithTx, HelloOk, PositionOpened

configure = StreamConfigure(
    wallet_pubkeys=[os.environ["LASERSELL_WALLET"]],
    strategy=StrategyConfig(target_profit_pct=500.0),
)
with StreamClient().connect(configure) as connection:
    while (message := connection.recv(timeout=600)) is not None:
        match message:
            case HelloOk():
                print(f"session {message.session_id}, {message.limits}")
            case PositionOpened():
                print(f"opened {message.token_account}, asking for its exit")
                connection.sender.request_exit_signal(position_id=message.position_id)
            case ExitSignalWithTx():
                print(f"exit by {message.reason}: {message.unsigned_tx_b64[:32]}...")
                break
