from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from solders.keypair import Keypair

from lasersell.sim import SimServer

_EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
_KEYPAIR = Keypair.from_seed(bytes([1]) * 32)
_WALLET = str(_KEYPAIR.pubkey())
_EXPECTED = {
    "callbacks.py": ["opened: ", "exit: "],
    "change_strategy.py": ["SIM1 open", "exit with +"],
    "deadline_exits.py": ["opened: ", "exit: "],
    "otel_spans.py": ['"name": "exit"', '"status_code": "UNSET"'],
    "raw_client.py": ["session 1", "asking for its exit", "exit by sell_now: "],
    "recv_loop.py": ["opened SIM1: ", "exit by target_profit, profit ", "sign and "],
    "sell_exits.py": ["sold in slot 28", "closed by target_profit in slot 28"],
    "split_lanes.py": ["profit ", "exit by target_profit"],
}
_LINES_AT_MOST = 25


@pytest.fixture
def rising_market() -> Iterator[SimServer]:
    """Run a server on which a position gains, and reaches 7 % within a second."""
    with SimServer(seed=1, auto_sell_after_ms=200) as server:
        server.buy(_WALLET, profits_pct=[0.5 * tick for tick in range(15)])
        yield server


def _run(example: Path, server: SimServer) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example)],
        env={
            **os.environ,
            "LASERSELL_API_KEY": "a-made-up-key",
            "LASERSELL_STREAM_ENDPOINT": server.url,
            "LASERSELL_RPC_URL": server.rpc_url,
            "LASERSELL_PRIVATE_KEY": str(_KEYPAIR),
            "LASERSELL_WALLET": _WALLET,
            "PYTHONWARNINGS": "error",
        },
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_does_what_it_says(example: Path, rising_market: SimServer) -> None:
    """Each example runs as it stands, shows its exit, and ends by itself, clean."""
    if example.name == "sell_exits.py":
        # No sale but its own, however slow the machine is.
        rising_market.change_options(auto_sell_after_ms=None)
    result = _run(example, rising_market)
    assert result.stderr == ""
    assert result.returncode == 0
    for text in _EXPECTED[example.name]:
        assert text in result.stdout
    rising_market.wait_for_connections(0)


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_fits_on_a_screen(example: Path) -> None:
    """An example is short enough to be read at once."""
    assert len(example.read_text(encoding="utf-8").splitlines()) <= _LINES_AT_MOST


def test_every_example_is_tried() -> None:
    """No example is left out of the tests of this file, and none is missing."""
    assert {example.name for example in _EXAMPLES} == set(_EXPECTED)
