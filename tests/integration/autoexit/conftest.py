"""A bench for each test."""

from __future__ import annotations

import pytest

from lasersell.sim import SimServer
from tests.integration.autoexit.bench import Bench


@pytest.fixture
def bench(sim: SimServer) -> Bench:
    """Return a wallet on a simulator."""
    return Bench(sim)
