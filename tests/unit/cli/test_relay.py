from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from lasersell import StreamClient, StreamConfigure
from lasersell.cli import relay as module
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay
from tests.patience import PATIENCE
from tests.unit.session.frames import WALLET


def test_a_signal_in_the_moment_before_it_runs_ends_it_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not told that a relay runs once."""
    relay = Relay(
        "redis://localhost:1",
        StreamClient("a-key"),
        StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0)),
    )

    def interrupt(**state: Any) -> None:
        if "READY" in state:
            os.kill(os.getpid(), signal.SIGTERM)
            assert relay.wait_for_role("stopped", PATIENCE)

    monkeypatch.setattr(module, "notify", interrupt)
    module._run(relay)
    assert relay.role == "stopped"
