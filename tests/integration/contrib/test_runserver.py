"""``manage.py runserver`` and the commands that have the stream alone."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest

from lasersell.sim import SimServer
from tests.integration.contrib.servers import SITE, Home, Server
from tests.integration.contrib.site.notes import WALLET
from tests.integration.contrib.test_gunicorn import SLACK, STOP_SEC

pytestmark = pytest.mark.timeout(180)

_SETTINGS = f"from {SITE}.settings import *  # noqa: F403\n"


def change_until_noticed(home: Home, settings: Path) -> dict[str, Any]:
    """Change the code until there is another process with the stream; return its note."""
    for number in range(10):
        settings.write_text(f"{_SETTINGS}NUMBER = {number}\n")
        # What changes before the autoreloader has looked at it once is not seen.
        with contextlib.suppress(AssertionError):
            return home.box.wait_for("connected", timeout=10)
    raise AssertionError("no change was noticed")


@pytest.mark.slow
def test_the_autoreloader(home: Home, sim: SimServer) -> None:
    """The process that serves has the stream; after a change of the code, its successor."""
    settings = home.path / "changing_settings.py"
    settings.write_text(_SETTINGS)
    home.environment["DJANGO_SETTINGS_MODULE"] = "changing_settings"
    with home.run("django", "runserver", "127.0.0.1:0") as server:
        first = home.box.wait_for("connected")["pid"]
        assert first != server.process.pid  # that of the autoreloader
        server.wait_for("Watching for file changes")
        assert sim.connection_count == 1

        assert change_until_noticed(home, settings)["pid"] not in (
            first,
            server.process.pid,
        )
        assert sim.connection_count == 1
        assert len(home.box.of("connected")) == len(sim.upgrades.entries())
        assert server.press_ctrl_c() < SLACK * STOP_SEC
    sim.wait_for_connections(0)


@pytest.mark.slow
def test_without_the_autoreloader(home: Home, sim: SimServer) -> None:
    """With --noreload there is one process, which serves and has the stream."""
    with home.run("django", "runserver", "--noreload", "127.0.0.1:0") as server:
        assert home.box.wait_for("connected")["pid"] == server.process.pid
        server.press_ctrl_c()
    sim.wait_for_connections(0)


@pytest.mark.slow
def test_no_stream(home: Home, sim: SimServer) -> None:
    """With --no-stream the server serves, and the stream stays closed."""
    command = ["runserver", "--noreload", "--no-stream", "127.0.0.1:0"]
    with home.run("django", *command) as server:
        server.wait_for("Quit the server")
        assert server.get() == "idle"
    assert not sim.upgrades.entries()


def lead_and_stop(home: Home, sim: SimServer, server: Server, number: int) -> None:
    """Handle an exit, and end by a signal."""
    holding = sim.buy(WALLET)
    pid = home.box.wait_for("position_opened")["pid"]
    sim.set_profit(holding, 10.0)
    assert home.box.wait_for("exit_signal_with_tx") == {
        "pid": pid,
        "type": "exit_signal_with_tx",
        "account": holding.token_account,
    }
    assert pid == server.process.pid
    assert server.end(number) == 0, server.log


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("django lasersell_run", signal.SIGTERM),
        ("flask lasersell run", signal.SIGINT),
        pytest.param("django lasersell_run", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("flask lasersell run", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_process_of_its_own(
    home: Home, sim: SimServer, command: str, number: signal.Signals
) -> None:
    """The command of either framework has the stream until a signal, and ends well."""
    with home.run(*command.split()) as server:
        lead_and_stop(home, sim, server, number)
    sim.wait_for_connections(0)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["django lasersell_run", "flask lasersell run"])
def test_a_key_that_is_refused(home: Home, sim: SimServer, command: str) -> None:
    """The command ends with the reason, and not with a traceback."""
    sim.refuse_upgrades(401)
    with home.run(*command.split()) as server:
        assert server.process.wait(20) == 1
        server._reader.join()
    assert "Error: the server refused the API key" in server.log
    assert "Traceback" not in server.log
    assert len(sim.upgrades.entries()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["django check", "django migrate", "django shell -c pass", "flask routes"],
)
def test_other_commands(home: Home, sim: SimServer, command: str) -> None:
    """No other command opens a stream, though each loads the application."""
    with home.run(*command.split(" ", 3)) as server:
        assert server.process.wait(20) == 0, server.log
    assert not sim.upgrades.entries()
