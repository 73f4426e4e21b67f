"""What holds for every test against the simulator."""

from __future__ import annotations

import pytest

from lasersell.stream import backoff


@pytest.fixture
def documented_delays() -> None:
    """Leave the delays of reconnects as they are, for a test that is about them."""


@pytest.fixture(autouse=True)
def quick_reconnects(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reconnect ten times sooner than documented: hundreds of tests lose a connection."""
    if "documented_delays" not in request.fixturenames:
        monkeypatch.setattr(backoff, "FIRST_DELAY", 0.01)
