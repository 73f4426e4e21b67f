"""
The stream under load; prints its report as JSON.

``python -m tests.soak.client ENDPOINT CA_FILE SECONDS`` needs nothing but the
package itself, so that it runs in a bare environment of any interpreter.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import ssl
import sys

from lasersell._clock import Deadline
from lasersell.errors import LaserSellError
from lasersell.protocol.server import BalanceUpdate
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.client import StreamClient, StreamConnection
from lasersell.stream.lifecycle import Connected, Disconnected
from lasersell.stream.options import StreamConfigure
from tests.soak.load import under_load
from tests.soak.report import Report

CONFIGURE = StreamConfigure(
    wallet_pubkeys=["AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"],
    strategy=StrategyConfig(target_profit_pct=5.0),
)
PATIENCE = 10.0
"""Seconds without an event, or without the answer to a ping, that are a failure."""


def main(endpoint: str, ca_file: str, seconds: float) -> Report:
    """Keep one stream under load for a while."""
    client = StreamClient(
        "for-the-soak-only",
        endpoint=endpoint,
        ssl_context=ssl.create_default_context(cafile=ca_file),
        ping_interval=0.05,
    )
    report = Report()
    with client.connect(CONFIGURE, wait_configured=0) as connection:

        def ping() -> None:
            connection.sender.ping().wait(PATIENCE)
            report.pings += 1

        def write(text: str) -> None:
            connection.sender.mirror_buy_result(text, success=True)

        with under_load(write, ping, failed=LaserSellError):
            _read(connection, report, Deadline(seconds))
    return report


def _read(connection: StreamConnection, report: Report, end: Deadline) -> None:
    last = 0
    while not end.has_passed():
        message = connection.recv(timeout=PATIENCE)
        assert message is not None, "the stream is closed"
        if isinstance(message, BalanceUpdate):
            report.events += 1
            report.lost_events += message.slot != last + 1
            last = message.slot
        elif isinstance(message, Connected):
            last = 0
        elif isinstance(message, Disconnected):
            report.disconnects.append(message.cause)


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], float(sys.argv[3])).to_json())
