from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay, RelaySession
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.autoexit.bench import Bench
from tests.integration.relay.redis_server import RedisServer


@contextlib.contextmanager
def _relay(bench: Bench, server: RedisServer) -> Iterator[Relay]:
    """Publish the stream of the wallet, which sells at a profit of 5 percent."""
    client = StreamClient("key", endpoint=bench.sim.url)
    configure = StreamConfigure([bench.wallet], StrategyConfig(target_profit_pct=5.0))
    with Relay(server.url, client, configure) as relay:
        yield relay


@contextlib.contextmanager
def _seller(bench: Bench, server: RedisServer, group: str | None) -> Iterator[None]:
    """Run an auto-exit over the relay."""
    with (
        RelaySession.connect(server.url, group=group) as session,
        bench.auto_exit(session),
    ):
        yield


def test_an_auto_exit_sells_over_a_relay(
    sim: SimServer, redis_server: RedisServer
) -> None:
    """The signal of another process's stream ends in one sale."""
    bench = Bench(sim)
    with _seller(bench, redis_server, None), _relay(bench, redis_server):
        holding = bench.buy(profits_pct=[6.0])
        bench.steps.wait_for("landed")
    assert len(bench.sales(holding)) == 1


def test_two_sellers_of_a_group_sell_each_position_once(
    sim: SimServer, redis_server: RedisServer
) -> None:
    """Whichever of them a signal goes to, one sale lands for each position."""
    bench = Bench(sim)
    with (
        _seller(bench, redis_server, "sellers"),
        _seller(bench, redis_server, "sellers"),
        _relay(bench, redis_server),
    ):
        holdings = [bench.buy(profits_pct=[6.0]) for _ in range(6)]
        bench.steps.wait_for("landed", count=6)
    assert [len(bench.sales(holding)) for holding in holdings] == [1] * 6
    assert len(bench.submitted) == 6
