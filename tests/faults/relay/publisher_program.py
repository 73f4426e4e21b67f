"""A publisher as a process of its own: Redis, stream and wallet are its arguments."""

from __future__ import annotations

import logging
import sys

from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure


def main(url: str, endpoint: str, wallet: str) -> None:
    """Publish until killed."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("lasersell").setLevel(logging.INFO)
    relay = Relay(
        url,
        StreamClient("a-made-up-key", endpoint=endpoint),
        StreamConfigure([wallet], StrategyConfig(target_profit_pct=5.0)),
        groups=["sellers"],
        session_options={"wait_configured": 0},
    )
    relay.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
