"""A blocking loop over the events of a session; ends after the first exit signal."""

from __future__ import annotations

import os

from lasersell import StrategyConfig, StreamClient, StreamConfigure, StreamSession
from lasersell.protocol import ExitSignalWithTx, PositionOpened

configure = StreamConfigure(
    wallet_pubkeys=[os.environ["LASERSELL_WALLET"]],
    strategy=StrategyConfig(target_profit_pct=5.0, stop_loss_pct=1.5),
)
with StreamSession.connect(StreamClient(), configure) as session:
    for event in session:
        message = event.message
        if isinstance(message, PositionOpened):
            print(f"opened {message.token_symbol}: {message.tokens} tokens")
        if isinstance(message, ExitSignalWithTx):
            print(f"exit by {message.reason}, profit {message.profit_units} units")
            print(f"sign and send {message.unsigned_tx_b64[:32]}...")
            break
