"""What the commands find in their environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lasersell.cli.group import group
from lasersell.session.exclusive import DIRECTORY_VARIABLE
from lasersell.sim import SimServer
from tests.integration.cli.terminal import API_KEY, WALLET

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a test an API key, and keep its lock files and its settings to itself."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "locks"))
    monkeypatch.setenv("LASERSELL_API_KEY", API_KEY)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("STREAM_ENDPOINT", "API_URL", "RPC_URL", "WALLET", "PRIVATE_KEY"):
        monkeypatch.delenv(f"LASERSELL_{name}", raising=False)


@pytest.fixture
def server() -> Iterator[SimServer]:
    """Run a server that lets in one key and knows one wallet."""
    with SimServer(volatility_pct=0.0, api_keys=[API_KEY], wallets=[WALLET]) as running:
        yield running


@pytest.fixture
def run() -> Run:
    """Return what runs a command in this process."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(group, arguments)

    return invoke
