"""One worker leads, the others stand by: in one process, against the simulator."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.contrib import worker
from lasersell.contrib.source import source_of
from lasersell.contrib.worker import (
    Connect,
    Failure,
    StreamWorker,
    WorkerState,
    start_workers,
    stop_workers,
)
from lasersell.errors import AuthenticationError, ConfigurationError, LaserSellError
from lasersell.session.events import StreamEvent
from lasersell.session.exclusive import DIRECTORY_VARIABLE
from lasersell.sim import SimServer
from lasersell.sim.admission import Upgrade
from tests.faults.processes import run_in_fork
from tests.integration.contrib.site.notes import WALLET
from tests.patience import PATIENCE

Make = Callable[..., "Candidate"]


class Candidate:
    """A worker, and the events that it was called with."""

    def __init__(self, settings: dict[str, Any], name: str = "app") -> None:
        self.events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self.fails_on: str | None = None
        self.worker = StreamWorker(lambda: source_of(settings, name), self._take)

    def _take(self, event: StreamEvent, _session: Any) -> list[Failure]:
        self.events.put(event)
        if event.type == self.fails_on:
            return [("a callback", ValueError("made up"))]
        return []

    def wait_for(self, type: str) -> StreamEvent:
        """Wait for an event of a type."""
        while True:
            event = self.events.get(timeout=PATIENCE)
            if event.type == type:
                return event


@pytest.fixture
def make(
    sim: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """Return what makes a candidate for a stream of the simulator."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "locks"))
    # Those that other tests made may still be in memory.
    monkeypatch.setattr(worker, "_workers", weakref.WeakSet())
    made: list[Candidate] = []

    def make(*, name: str = "app", **tables: Any) -> Candidate:
        settings = {
            "stream": {"api_key": "made-up", "endpoint": sim.url},
            "configure": {"wallet_pubkeys": [WALLET]},
            "strategy": {"target_profit_pct": 5.0},
            "session": {"wait_configured": 0},
            **tables,
        }
        made.append(Candidate(settings, name))
        return made[-1]

    yield make
    for candidate in made:
        candidate.worker.stop()


def stands_by(caplog: pytest.LogCaptureFixture) -> bool:
    """Tell whether a candidate has said that it stands by."""
    return any("standing by" in record.getMessage() for record in caplog.records)


def test_the_second_stands_by_and_takes_over(
    make: Make, sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two of an application one has the stream, though the service allows both."""
    caplog.set_level(logging.INFO)
    first, second = make(), make()
    first.worker.start()
    first.wait_for("connected")
    second.worker.start()
    sim.wait_until(lambda: stands_by(caplog))
    assert (first.worker.state, second.worker.state) == ("leading", "standing by")
    assert sim.connection_count == 1
    first.worker.stop()
    second.wait_for("connected")
    states: tuple[WorkerState, WorkerState] = (first.worker.state, second.worker.state)
    assert states == ("idle", "leading")


def test_two_applications_have_a_stream_each(make: Make, sim: SimServer) -> None:
    """Two applications of one key both lead, as long as the service allows it."""
    first, second = make(name="first"), make(name="second")
    first.worker.start()
    first.wait_for("connected")
    second.worker.start()
    second.wait_for("connected")
    assert sim.connection_count == 2


def test_a_second_start_does_nothing(make: Make, sim: SimServer) -> None:
    """A worker that was started already has one stream."""
    candidate = make()
    candidate.worker.start()
    candidate.wait_for("connected")
    candidate.worker.start()
    assert candidate.worker.state == "leading"
    assert len(sim.upgrades.entries()) == 1


def test_a_worker_may_be_started_again(make: Make, sim: SimServer) -> None:
    """After a stop the same worker can lead again."""
    candidate = make()
    for number in (1, 2):
        candidate.worker.start()
        candidate.wait_for("connected")
        candidate.worker.stop()
        sim.wait_for_connections(0)
        assert len(sim.upgrades.entries()) == number


def test_a_first_connect_is_tried_again(make: Make, sim: SimServer) -> None:
    """A service that is away when the application starts is waited for."""
    sim.refuse_upgrades(503, times=2)
    candidate = make()
    candidate.worker.start()
    candidate.wait_for("connected")
    assert [upgrade.status for upgrade in sim.upgrades.of(Upgrade)] == [503, 503, 101]


def test_a_refused_key_ends_it(make: Make, sim: SimServer) -> None:
    """A key that is refused is not tried again; the worker says why."""
    sim.refuse_upgrades(401)
    candidate = make()
    candidate.worker.start()
    lead = candidate.worker._lead
    assert lead is not None
    assert lead.join(PATIENCE)
    assert candidate.worker.state == "failed"
    assert isinstance(candidate.worker.error, AuthenticationError)
    assert len(sim.upgrades.entries()) == 1


def test_a_stop_while_it_waits(make: Make, sim: SimServer) -> None:
    """A worker that waits for the service to come back stops at once."""
    sim.refuse_upgrades(429, headers={"Retry-After": "60"})
    candidate = make()
    candidate.worker.start()
    sim.wait_until(sim.upgrades.entries)
    started = SYSTEM_CLOCK.monotonic()
    candidate.worker.stop(timeout=PATIENCE)
    assert SYSTEM_CLOCK.monotonic() - started < PATIENCE / 2
    assert candidate.worker.state == "idle"


def test_a_stop_by_a_callback(make: Make, sim: SimServer) -> None:
    """A callback may stop the worker that called it."""
    candidate = make()
    stopped = threading.Event()

    def stop(_event: StreamEvent, _session: Any) -> list[Failure]:
        candidate.worker.stop()
        stopped.set()
        return []

    candidate.worker = StreamWorker(candidate.worker._load_source, stop)
    candidate.worker.start()
    assert stopped.wait(PATIENCE)
    sim.wait_for_connections(0)


def test_a_restart_by_a_callback(make: Make, sim: SimServer) -> None:
    """A worker that was told to stop can be started again before it has ended."""
    candidate = make()
    sessions: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def restart(event: StreamEvent, session: Any) -> list[Failure]:
        if event.type == "connected":
            sessions.put(session)
            if len(sim.upgrades.entries()) == 1:
                candidate.worker.stop()
                candidate.worker.start()
        return []

    candidate.worker = StreamWorker(candidate.worker._load_source, restart)
    candidate.worker.start()
    first, second = (sessions.get(timeout=PATIENCE) for _ in range(2))
    assert first is not second


def test_a_failed_callback_is_reported(make: Make, sim: SimServer) -> None:
    """What an application says has failed comes back to it, with the callback."""
    candidate = make()
    candidate.fails_on = "position_opened"
    candidate.worker.start()
    sim.buy(WALLET)
    report: Any = candidate.wait_for("callback_error").message
    assert report.event.type == "position_opened"
    assert (report.callback, str(report.error)) == ("a callback", "made up")


def test_who_is_to_end_does_not_take_over(make: Make, sim: SimServer) -> None:
    """A stand-by whose process is about to end leaves the stream to others."""
    candidate = make()
    candidate.worker.start(is_wanted=lambda: False)
    lead = candidate.worker._lead
    assert lead is not None
    assert lead.join(PATIENCE)
    assert candidate.worker.state == "idle"
    assert not sim.upgrades.entries()


def test_its_end_can_be_waited_for(make: Make) -> None:
    """What goes on for ever ends with the worker."""
    candidate = make()
    assert not candidate.worker.stopping.is_set()
    candidate.worker.start()
    stopping = candidate.worker.stopping
    candidate.wait_for("connected")
    assert not stopping.is_set()
    candidate.worker.stop()
    assert stopping.is_set()


def test_an_end_without_a_word_can_be_waited_for(make: Make) -> None:
    """What goes on for ever ends with its process too, if nobody stops the worker first."""
    goes_on = threading.Event()
    goes_on.set()
    candidate = make()
    candidate.worker.start(is_wanted=goes_on.is_set)
    candidate.wait_for("connected")
    stopping = candidate.worker.stopping
    assert not stopping.wait(0.01)
    goes_on.clear()
    assert stopping.wait(PATIENCE)


def test_a_fork_has_nothing(make: Make, sim: SimServer) -> None:
    """A forked child has no stream of its parent's, and leaves it alone."""
    candidate = make()
    candidate.worker.start()
    candidate.wait_for("connected")

    def report() -> dict[str, Any]:
        candidate.worker.stop()
        return {"state": candidate.worker.state, "session": candidate.worker.session}

    assert run_in_fork(report) == {"state": "idle", "session": None}
    assert candidate.worker.state == "leading"
    sim.buy(WALLET)
    candidate.wait_for("position_opened")
    assert len(sim.upgrades.entries()) == 1


def test_all_workers_of_a_process(make: Make, sim: SimServer) -> None:
    """The hook of a web server starts and stops whatever the process has."""
    candidates = [make(name="first"), make(name="second")]
    start_workers()
    for candidate in candidates:
        candidate.wait_for("connected")
    stop_workers()
    sim.wait_for_connections(0)


def test_a_wrong_setting_is_told_at_the_start(make: Make) -> None:
    """A mistake in the settings is raised where the worker is started."""
    candidate = make(strategy={"target_profit": 5.0})
    with pytest.raises(ConfigurationError, match="did you mean 'target_profit_pct'"):
        candidate.worker.start()
    assert candidate.worker.state == "idle"


def test_a_mistake_of_ours_is_told_to_who_runs_it() -> None:
    """A process whose worker broke does not end as if all had been done."""

    @contextmanager
    def broken(_stop: threading.Event) -> Iterator[Connect]:
        raise ZeroDivisionError("made up")
        yield  # type: ignore[unreachable]

    worker = StreamWorker(lambda: broken, lambda _event, _session: [])
    with pytest.raises(LaserSellError, match="made up"):
        worker.run()
    assert worker.state == "failed"
