"""A bench for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lasersell.sim import SimServer
from tests.integration.autoexit.bench import Bench
from tests.integration.autoexit.rpc import ChainRpc


@pytest.fixture
def bench(sim: SimServer) -> Iterator[Bench]:
    """Run a simulator and its chain."""
    with ChainRpc(sim) as rpc:
        yield Bench(sim, rpc)
