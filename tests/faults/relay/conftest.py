from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell.sim import SimServer
from tests.integration.relay.bench import Bench
from tests.integration.relay.redis_server import RedisServer, running_redis


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that has on the disk what it has acknowledged."""
    with running_redis(
        tmp_path / "redis", appendonly="yes", appendfsync="always"
    ) as server:
        yield server


@pytest.fixture
def bench(sim: SimServer, durable_redis: RedisServer) -> Bench:
    """Return a simulator and a Redis, to put publishers and subscribers between."""
    return Bench(sim, durable_redis)
