from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell.sim import SimServer
from tests.integration.relay.bench import Bench
from tests.integration.relay.redis_server import RedisServer, running_redis


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that keeps nothing."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def bench(sim: SimServer, redis_server: RedisServer) -> Bench:
    """Return a simulator and a Redis, to put publishers and subscribers between."""
    return Bench(sim, redis_server)
