"""Exit signals in one thread, profits in another; ends after the first exit signal."""

from __future__ import annotations

import os
from threading import Thread

from lasersell import StrategyConfig, StreamClient, StreamConfigure
from lasersell.protocol import ExitSignalWithTx, PnlUpdate

strategy = StrategyConfig(target_profit_pct=5.0, stop_loss_pct=1.5)
configure = StreamConfigure([os.environ["LASERSELL_WALLET"]], strategy)
with StreamClient().connect_lanes(configure, low_priority_capacity=64) as lanes:
    sender, high, low = lanes.split()

    def show_profits() -> None:
        for message in low:
            if isinstance(message, PnlUpdate):
                print(f"profit {message.profit_units} units")

    Thread(target=show_profits).start()  # ends with the stream
    for message in high:
        if isinstance(message, ExitSignalWithTx):
            print(f"exit by {message.reason}")
            break
