"""A soak of seconds, so that the one of hours is known to work."""

from __future__ import annotations

import sys

import pytest

from tests.soak.soak import run_client


@pytest.mark.slow
def test_a_short_soak_finds_nothing() -> None:
    """Under load from five threads, through jitter, nothing is lost and nothing ends."""
    outcome = run_client(sys.executable, 3.0)
    assert outcome.problems == []
    assert outcome.connections == 1
    assert min(outcome.client.events, outcome.commands, outcome.pongs) > 10
