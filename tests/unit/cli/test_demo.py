from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from lasersell.cli import demo as module
from lasersell.cli.demo import demo
from lasersell.sim import SimServer


@pytest.mark.slow
def test_the_demonstration_succeeds() -> None:
    """All four exits are sold over a forced reconnect, in at most 20 seconds."""
    result = CliRunner().invoke(demo, ["--json"])
    document = json.loads(result.stdout)
    assert document["problems"] == []
    assert [row["reason"] for row in document["exits"]] == [
        "target_profit",
        "stop_loss",
        "trailing_stop",
        "sell_now",
    ]
    for row in document["exits"]:
        assert row["closed_slot"] == row["slot"]
        assert len(row["signature"]) > 80
    assert document["reconnects"] == 1
    assert document["took_sec"] <= 20
    assert result.exit_code == 0


def test_a_demonstration_without_all_exits_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exit code is 0 only if every expected exit arrived."""
    monkeypatch.setattr(module, "_AT_MOST_SEC", 0.2)
    result = CliRunner().invoke(demo, [])
    assert "gave up waiting" in result.stdout
    assert "0 of 4 expected exits" in result.stdout
    assert result.exit_code == 1


@pytest.mark.slow
def test_a_sale_that_does_not_land_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the node refuses is told, and spoils the demonstration."""

    def server_without_node() -> SimServer:
        server = sound_server()
        server.refuse_calls("sendTransaction")
        return server

    sound_server = module._server
    monkeypatch.setattr(module, "_server", server_without_node)
    monkeypatch.setattr(module, "_AT_MOST_SEC", 4.0)
    result = CliRunner().invoke(demo, ["--json"])
    document = json.loads(result.stdout)
    assert "HTTP 503" in document["problems"][0]
    assert result.exit_code == 1
