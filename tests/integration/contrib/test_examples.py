"""The two example applications, served by gunicorn and seen in a browser."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lasersell.sim import SimServer
from tests.browser import open_page
from tests.integration.contrib.servers import ROOT, Home
from tests.integration.contrib.site.notes import WALLET

PICTURES = os.environ.get("LASERSELL_PICTURES")
"""The directory that takes pictures of the pages; None takes none."""


@pytest.fixture
def example_home(home: Home) -> Home:
    """Return where an example runs."""
    database = home.path / "exits.sqlite3"
    home.environment.update(
        LASERSELL_WALLET=WALLET,
        EXITBOARD_DATABASE=str(database),
        DJANGO_SETTINGS_MODULE="exitboard.settings",
    )
    return home


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize("framework", ["django", "flask"])
def test_the_page_updates_itself(
    example_home: Home, sim: SimServer, framework: str
) -> None:
    """A position and its exit appear in the page without a reload, each once."""
    home = example_home
    home.directory = ROOT / "examples" / framework
    if framework == "django":
        with home.run("manage", "migrate", "--verbosity=0") as migration:
            assert migration.process.wait(30) == 0, migration.log
    with (
        home.run("gunicorn", "--bind=127.0.0.1:0") as server,
        open_page(server.url, home.path / "browser") as page,
    ):
        page.evaluate("window.isFirstLoad = true")
        page.wait_until(
            "document.querySelector('#positions td.empty, #positions .empty')"
        )
        sim.wait_for_connections(1, timeout=20)
        holdings = [sim.buy(WALLET) for _ in range(3)]
        account = holdings[0].token_account
        page.wait_until(
            f"document.querySelector('#positions').innerText.includes('{account}')"
        )
        sim.set_profit(holdings[0], 7.5)
        page.wait_until(
            "document.querySelector('#exits').innerText.includes('target profit')"
        )
        if PICTURES:
            page.screenshot(Path(PICTURES, f"web-{framework}.png"))
        sim.sell(holdings[0])
        page.wait_until(
            f"!document.querySelector('#positions').innerText.includes('{account}')"
        )
        assert page.evaluate("document.querySelectorAll('#exits tbody tr').length") == 1
        assert page.evaluate("window.isFirstLoad")
        assert sim.connection_count == 1
        # The page is still connected; who serves it ends all the same.
        assert server.end(signal.SIGTERM) == 0
