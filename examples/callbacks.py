"""Callbacks instead of a loop; ends after the first exit signal."""

from __future__ import annotations

import os

import lasersell

strategy = lasersell.StrategyConfig(target_profit_pct=5.0, stop_loss_pct=1.5)
configure = lasersell.StreamConfigure([os.environ["LASERSELL_WALLET"]], strategy)
session = lasersell.StreamSession.connect(lasersell.StreamClient(), configure)


@session.on("position_opened")
def report(event: lasersell.StreamEvent) -> None:
    print(f"opened: {event.handle}")


@session.on("exit_signal_with_tx")
def sell(event: lasersell.StreamEvent) -> None:
    print(f"exit: {event.handle}")
    session.close()


session.run()  # start() would dispatch in a thread of its own
