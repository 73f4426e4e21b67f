from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell.sim import SimServer
from tests.integration.contrib.servers import Home


@pytest.fixture
def home(tmp_path: Path, short_path: Path, sim: SimServer) -> Iterator[Home]:
    """Return where the servers of a test run."""
    home = Home(tmp_path, short_path, sim)
    yield home
    home.box.close()
