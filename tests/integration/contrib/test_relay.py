"""A relay as the source: every worker has the events, each exit signal goes to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.contrib.servers import Home
from tests.integration.contrib.site.notes import RELAY_VARIABLE, WALLET
from tests.integration.contrib.test_gunicorn import SLACK, STOP_SEC, WORKERS, command
from tests.integration.relay.redis_server import running_redis

EXITS = 6


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_each_exit_signal_goes_to_one_worker(
    home: Home, sim: SimServer, tmp_path: Path
) -> None:
    """Four workers get every position from the relay, and each exit signal goes to one."""
    strategy = StrategyConfig(target_profit_pct=5.0)
    client = StreamClient("made-up", endpoint=sim.url)
    with running_redis(tmp_path / "redis") as redis:
        home.environment[RELAY_VARIABLE] = redis.url
        with (
            Relay(redis.url, client, StreamConfigure([WALLET], strategy)),
            home.run(*command("flask", "gthread", False)) as server,
        ):
            server.wait_until(lambda log: log.count("this process has") == WORKERS)
            holdings = [sim.buy(WALLET) for _ in range(EXITS)]
            for _ in range(WORKERS * EXITS):
                home.box.wait_for("position_opened")
            for holding in holdings:
                sim.set_profit(holding, 10.0)
            signals = [home.box.wait_for("exit_signal_with_tx") for _ in holdings]
            for holding in holdings:
                sim.sell(holding)
            for _ in range(WORKERS * EXITS):
                home.box.wait_for("position_closed")
            assert {signal["account"] for signal in signals} == {
                holding.token_account for holding in holdings
            }
            assert len(home.box.of("exit_signal_with_tx")) == EXITS
            assert sim.connection_count == 1
            assert server.press_ctrl_c() < SLACK * STOP_SEC
