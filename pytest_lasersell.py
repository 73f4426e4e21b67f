"""
The pytest plugin: a stream server and a session as fixtures.

It is a module of its own, outside of the package, so that pytest can load it in any
project without importing anything but pytest; the package is imported when a fixture
is first used. What the fixtures are for is in ``docs/testing.md``.
"""

# Every import of lasersell is inside a function, for the reason above.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lasersell.session.session import StreamSession
    from lasersell.sim import SimServer
    from lasersell.testing import Script

__all__ = [
    "lasersell_script",
    "lasersell_session",
    "lasersell_sim",
    "pytest_configure",
]

_MARKERS = (
    "lasersell_sim(**options): options of the server that the fixture lasersell_sim "
    "runs, those of lasersell.sim.SimServer; realtime=True lets it tick by itself",
    "lasersell_session(**fields): fields of the StreamConfigure with which the fixture "
    "lasersell_session connects",
)


def pytest_configure(config: pytest.Config) -> None:
    """Announce the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def lasersell_sim(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimServer]:
    """
    Run a stream server of this test's own, and point the environment to it.

    Time stands still until ``lasersell_sim.step()``, and prices until they are set.
    ``StreamClient()``, ``ExitApiClient()`` and ``Submitter()`` without arguments use
    it, and ``WalletKey.from_env()`` is the key of ``lasersell.testing.WALLET``. Nothing
    is left of it after the test.
    """
    from lasersell.testing.fixtures import environment, make_sim

    with make_sim(_options(request, "lasersell_sim")) as sim:
        for name, value in environment(sim).items():
            monkeypatch.setenv(name, value)
        yield sim


@pytest.fixture
def lasersell_session(
    request: pytest.FixtureRequest, lasersell_sim: SimServer
) -> Iterator[StreamSession]:
    """Connect a session to the server, for ``lasersell.testing.WALLET`` if not said."""
    from lasersell.testing.fixtures import connect

    with connect(lasersell_sim, _options(request, "lasersell_session")) as session:
        yield session


@pytest.fixture
def lasersell_script(lasersell_sim: SimServer) -> Script:
    """Return an empty script for the server."""
    from lasersell.testing import Script

    return Script(lasersell_sim)


def _options(request: pytest.FixtureRequest, marker: str) -> dict[str, Any]:
    """Return what the markers of a test say, the nearest one last."""
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(marker))):
        if mark.args:
            raise pytest.UsageError(f"@pytest.mark.{marker} takes keywords only")
        options |= mark.kwargs
    return options
