"""Publish the stream of a wallet; run it on two hosts, and the second one stands by."""

from __future__ import annotations

import os

import lasersell
from lasersell.relay import Relay

strategy = lasersell.StrategyConfig(target_profit_pct=5.0, stop_loss_pct=1.5)
relay = Relay(
    os.environ["LASERSELL_REDIS_URL"],
    lasersell.StreamClient(),
    lasersell.StreamConfigure([os.environ["LASERSELL_WALLET"]], strategy),
    groups=["sellers", "celery"],  # they get what comes before their first worker too
)
relay.run()  # `lasersell relay` does the same
