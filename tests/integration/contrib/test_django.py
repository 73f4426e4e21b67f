"""The Django app, against the simulator."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.dispatch import Signal
from django.test import override_settings

from lasersell.contrib.django import signals
from lasersell.contrib.worker import StreamWorker
from lasersell.protocol.server import PositionOpened
from lasersell.session.exclusive import DIRECTORY_VARIABLE
from lasersell.sim import SimServer
from tests.integration.contrib.django_here import set_up
from tests.integration.contrib.site.notes import WALLET
from tests.patience import PATIENCE

TABLES: dict[str, Any] = {
    "configure": {"wallet_pubkeys": [WALLET]},
    "strategy": {"target_profit_pct": 5.0},
    "session": {"wait_configured": 0},
}

Connect = Callable[[Signal, Callable[..., object]], None]


@pytest.fixture(autouse=True)
def project() -> None:
    """Have a project."""
    set_up()


@pytest.fixture
def worker(
    sim: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StreamWorker]:
    """Return the worker of the project, for a stream of the simulator."""
    from lasersell.contrib.django.stream import worker  # noqa: PLC0415 - needs a project

    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "locks"))
    stream = {"api_key": "made-up", "endpoint": sim.url}
    with override_settings(LASERSELL={**TABLES, "stream": stream}):
        yield worker
        worker.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return what connects a receiver for the time of a test."""
    connected: list[tuple[Signal, Callable[..., object]]] = []

    def connect(signal: Signal, receiver: Callable[..., object]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_a_receiver(worker: StreamWorker, connect: Connect, sim: SimServer) -> None:
    """It gets the class of the message, the event, and a session that can be commanded."""
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive(sender: type, event: Any, session: Any, **_: Any) -> None:
        session.request_exit_signal(event.handle)
        got.put((sender, event.type))

    def receive_exit(event: Any, **_: Any) -> None:
        got.put(event.message.reason)

    connect(signals.position_opened, receive)
    connect(signals.exit_signal_with_tx, receive_exit)
    worker.start()
    sim.buy(WALLET)
    assert got.get(timeout=PATIENCE) == (PositionOpened, "position_opened")
    assert got.get(timeout=PATIENCE) == "sell_now"


def test_a_receiver_that_raises(
    worker: StreamWorker, connect: Connect, sim: SimServer
) -> None:
    """It is reported with its error; the others still run, and so do those of all events."""
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def fail(**_: Any) -> None:
        raise ValueError("made up")

    def work(**_: Any) -> None:
        got.put("worked")

    def report(event: Any, **_: Any) -> None:
        got.put((event.message.callback, str(event.message.error)))

    connect(signals.position_opened, fail)
    connect(signals.position_opened, work)
    connect(signals.callback_error, report)
    worker.start()
    sim.buy(WALLET)
    assert got.get(timeout=PATIENCE) == "worked"
    assert got.get(timeout=PATIENCE) == (fail, "made up")


def test_a_signal_for_all_events(
    worker: StreamWorker, connect: Connect, sim: SimServer
) -> None:
    """One signal has every event, in order."""
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    connect(signals.event, lambda event, **_: got.put(event.type))
    worker.start()
    sim.buy(WALLET)
    seen = [got.get(timeout=PATIENCE) for _ in range(3)]
    assert seen[:2] == ["connected", "hello_ok"]


def ids(**changes: Any) -> list[str | None]:
    """Return what the system checks say about the setting."""
    with override_settings(**changes):
        return [
            message.id for message in run_checks() if "lasersell" in str(message.id)
        ]


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        (TABLES, []),
        (None, ["lasersell.E001"]),
        ([], ["lasersell.E001"]),
        ({**TABLES, "stratgy": {}}, ["lasersell.E001"]),
        ({**TABLES, "configure": {"wallet_pubkeys": ["x"]}}, ["lasersell.E001"]),
        ({**TABLES, "strategy": {"target_profit_pct": -1}}, ["lasersell.E001"]),
        ({**TABLES, "session": {"exclusive": True}}, ["lasersell.E001"]),
        ({**TABLES, "source": "somewhere"}, ["lasersell.E001"]),
        ({**TABLES, "source": "relay"}, ["lasersell.E001"]),
        ({"source": "relay", "relay": {"url": "redis://127.0.0.1"}}, []),
        ({"source": "relay", "relay": {"url": "http://127.0.0.1"}}, ["lasersell.E001"]),
        ({"source": "relay", "relay": {}}, ["lasersell.E001"]),
    ],
)
def test_the_setting_is_checked(
    monkeypatch: pytest.MonkeyPatch, setting: Any, found: list[str]
) -> None:
    """A mistake in the setting is an error of ``manage.py check``."""
    monkeypatch.setenv("LASERSELL_API_KEY", "made-up")
    assert ids(LASERSELL=setting) == found


def test_a_key_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the rest is checked all the same; a build has none, and goes on."""
    monkeypatch.delenv("LASERSELL_API_KEY", raising=False)
    assert ids(LASERSELL=TABLES) == ["lasersell.W001"]
    wrong = {**TABLES, "strategy": {}}
    assert ids(LASERSELL=wrong) == ["lasersell.W001", "lasersell.E001"]


def test_no_check_shows_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that stands where it should not is not in what the checks say."""
    monkeypatch.delenv("LASERSELL_API_KEY", raising=False)
    for setting in ("sk-secret", {"stream": "sk-secret"}, {"stream": ["sk-secret"]}):
        with override_settings(LASERSELL=setting):
            assert "sk-secret" not in str(run_checks())


def test_the_order_of_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app before ours that has a runserver would leave the stream closed."""
    monkeypatch.setenv("LASERSELL_API_KEY", "made-up")
    apps = ["django.contrib.staticfiles", "lasersell.contrib.django"]
    assert ids(LASERSELL=TABLES, INSTALLED_APPS=apps) == ["lasersell.W002"]
