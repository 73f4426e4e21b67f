"""The Flask extension, against the simulator."""

from __future__ import annotations

import gc
import queue
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from lasersell.contrib.flask import LaserSell, signals
from lasersell.errors import ConfigurationError
from lasersell.session.exclusive import DIRECTORY_VARIABLE
from lasersell.sim import SimServer
from tests.integration.contrib.site.notes import WALLET
from tests.patience import PATIENCE


@pytest.fixture
def app(
    sim: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """Return an application with the setting, and no extension yet."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "locks"))
    app = Flask("an_app")
    app.config["LASERSELL"] = {
        "stream": {"api_key": "made-up", "endpoint": sim.url},
        "configure": {"wallet_pubkeys": [WALLET]},
        "strategy": {"target_profit_pct": 5.0},
        "session": {"wait_configured": 0},
    }
    yield app
    for worker in app.extensions.values():
        worker.stop()


def test_each_callback_has_an_app_context_of_its_own(
    app: Flask, sim: SimServer
) -> None:
    """It ends with the callback, also if that raised; the next callback still runs."""
    lasersell = LaserSell()
    steps: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @lasersell.on("position_opened")
    def fail(_event: object) -> None:
        steps.put(current_app.name)
        raise ValueError("made up")

    @lasersell.on("position_opened")
    def work(_event: object) -> None:
        steps.put("worked")

    lasersell.on("callback_error", lambda event: steps.put(event.message.callback))
    app.teardown_appcontext(lambda error: steps.put(type(error)))
    lasersell.init_app(app)
    lasersell.worker(app).start()
    sim.buy(WALLET)
    seen = [steps.get(timeout=PATIENCE) for _ in range(6)]
    assert seen == ["an_app", ValueError, "worked", type(None), fail, type(None)]


def test_signals(app: Flask, sim: SimServer) -> None:
    """A receiver gets the app, the event, and a session that can be commanded."""
    lasersell = LaserSell(app)
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive(sender: Flask, *, event: Any, session: Any) -> None:
        session.request_exit_signal(event.handle)
        got.put((sender, event.type))

    def receive_all(_sender: Flask, *, event: Any, **_: Any) -> None:
        got.put(event.message.reason)

    with (
        signals["position_opened"].connected_to(receive, sender=app),
        signals["exit_signal_with_tx"].connected_to(receive_all),
    ):
        lasersell.worker(app).start()
        sim.buy(WALLET)
        assert got.get(timeout=PATIENCE) == (app, "position_opened")
        assert got.get(timeout=PATIENCE) == "sell_now"


def test_a_signal_of_another_app(app: Flask, sim: SimServer) -> None:
    """A receiver for one app does not hear the events of another."""
    lasersell = LaserSell(app)
    heard: list[Any] = []
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lasersell.on("position_opened", done.put)

    def receive(_sender: Flask, **_: Any) -> None:
        heard.append(1)

    with signals["*"].connected_to(receive, sender=Flask("another")):
        lasersell.worker(app).start()
        sim.buy(WALLET)
        done.get(timeout=PATIENCE)
    assert not heard


def test_an_unknown_type_is_refused() -> None:
    """A type that is misspelt is told when the callback is registered."""
    with pytest.raises(ConfigurationError, match="no type 'exit_signal'"):
        LaserSell().on("exit_signal", print)


def test_an_app_that_was_not_initialised(app: Flask) -> None:
    """Its worker cannot be asked for."""
    with pytest.raises(ConfigurationError, match="init_app"):
        LaserSell().worker(app)


def test_init_app_starts_nothing(app: Flask, sim: SimServer) -> None:
    """An application that is made, as for a test, has no stream, and needs no setting."""
    del app.config["LASERSELL"]
    lasersell = LaserSell(app)
    assert lasersell.worker(app).state == "idle"
    assert not sim.upgrades.entries()


def test_an_app_is_collected(sim: SimServer) -> None:
    """An extension that lives as long as the module does not keep its apps alive."""
    lasersell = LaserSell()

    def make() -> weakref.ref[Flask]:
        app = Flask("an_app")
        lasersell.init_app(app)
        return weakref.ref(app)

    app = make()
    gc.collect()
    assert app() is None
