from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lasersell.errors import AuthenticationError, ConcurrencyError
from lasersell.protocol.server import Pong
from lasersell.session.events import CallbackError, StreamEvent
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    STRATEGY,
    WALLET,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import opened


class Seen:
    """What callbacks were called with, to be waited on."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: StreamEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, type: str) -> StreamEvent:
        """Return the first event of a type."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._of(type), PATIENCE)
            return self._of(type)[0]

    def _of(self, type: str) -> list[StreamEvent]:
        return [event for event in self.events if event.type == type]


def test_run_calls_back_until_the_session_is_closed(sim: SimServer) -> None:
    """In the calling thread; here by a close from within a callback."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        accounts: list[str] = []
        threads: set[int] = set()

        @session.on("position_opened")
        def take(event: StreamEvent) -> None:
            assert event.handle is not None
            accounts.append(event.handle.token_account)
            threads.add(threading.get_ident())
            session.close()

        session.run()
        assert accounts == [holding.token_account]
        assert threads == {threading.get_ident()}
        assert session.state == "closed"
        assert session.recv() is None


def test_start_calls_back_in_a_thread_of_its_own(sim: SimServer) -> None:
    """It returns at once, and the thread ends with the session."""
    with open_session(sim) as session:
        seen = Seen()
        session.on("*", seen)
        session.start()
        sim.buy(WALLET)
        seen.wait_for("position_opened")
        types = [event.type for event in seen.events if event.type != "pnl_update"]
        assert types == ["connected", "hello_ok", "balance_update", "position_opened"]
    assert not [t for t in threading.enumerate() if "callbacks" in t.name]


def test_closing_waits_for_the_callback_under_way(sim: SimServer) -> None:
    """Nobody is called any more once ``close()`` has returned."""
    with open_session(sim) as session:
        inside, leave = threading.Event(), threading.Event()
        finished: list[bool] = []

        @session.on("pong")
        def take(_: StreamEvent) -> None:
            inside.set()
            assert leave.wait(PATIENCE)
            finished.append(True)

        session.start()
        sim.send(Pong(server_time_ms=1))
        assert inside.wait(PATIENCE)
        closer = threading.Thread(target=session.close)
        closer.start()
        assert not finished
        leave.set()
        closer.join(PATIENCE)
        assert finished == [True]


def test_a_callback_may_close_the_session(sim: SimServer) -> None:
    """From the callbacks' own thread, without waiting for itself."""
    with open_session(sim) as session:
        closed = threading.Event()

        @session.on("pong")
        def take(_: StreamEvent) -> None:
            session.close()
            closed.set()

        session.start()
        sim.send(Pong(server_time_ms=1))
        assert closed.wait(PATIENCE)
        assert session.state == "closed"


def test_a_callback_may_give_commands(sim: SimServer) -> None:
    """And look positions up."""
    with open_session(sim) as session:
        seen = Seen()
        session.on("exit_signal_with_tx", seen)

        @session.on("position_opened")
        def take(event: StreamEvent) -> None:
            assert event.handle is not None
            assert session.positions() == [event.handle]
            session.update_strategy(STRATEGY)
            session.request_exit_signal(event.handle)

        session.start()
        sim.buy(WALLET)
        seen.wait_for("exit_signal_with_tx")


def test_a_callback_that_raises_is_reported(
    sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream and the other callbacks go on."""
    with open_session(sim) as session:
        reports, others = Seen(), Seen()

        @session.on("pong")
        def fail(_: StreamEvent) -> None:
            raise ValueError("no")

        session.on("pong", others)
        session.on("callback_error", reports)
        with caplog.at_level(logging.ERROR):
            session.start()
            sim.send(Pong(server_time_ms=1))
            report = reports.wait_for("callback_error").message
        assert isinstance(report, CallbackError)
        assert report.callback is fail
        assert str(report.error) == "no"
        assert report.event.message == Pong(server_time_ms=1)
        others.wait_for("pong")
        assert "Traceback" in caplog.text


def test_callbacks_and_recv_exclude_each_other(sim: SimServer) -> None:
    """An event goes either to the one or to the other (D3.3)."""
    with open_session(sim) as session:
        inside: list[Any] = []
        seen = Seen()

        @session.on("pong")
        def take(event: StreamEvent) -> None:
            try:
                session.recv(timeout=0)
            except ConcurrencyError as error:
                inside.append(error)
            seen(event)

        session.start()
        receivers: list[Callable[[], object]] = [
            lambda: session.recv(timeout=0),
            lambda: session.wait_for("pong", timeout=0),
            lambda: next(iter(session)),
            session.run,
            session.start,
        ]
        for receive in receivers:
            with pytest.raises(ConcurrencyError):
                receive()
        sim.send(Pong(server_time_ms=1))
        seen.wait_for("pong")
        assert len(inside) == 1


def test_recv_may_be_called_before_and_after_the_callbacks(sim: SimServer) -> None:
    """One after the other is no conflict, and Ctrl-C in a callback ends ``run()``."""
    with open_session(sim) as session:
        until(session, "hello_ok")

        @session.on("pong")
        def take(_: StreamEvent) -> None:
            raise KeyboardInterrupt

        sim.send(Pong(server_time_ms=1), Pong(server_time_ms=2))
        with pytest.raises(KeyboardInterrupt):
            session.run()
        assert until(session, "pong")[-1].message == Pong(server_time_ms=2)


def test_a_callback_can_be_taken_off(sim: SimServer) -> None:
    """While the session runs."""
    with open_session(sim) as session:
        first, second = Seen(), Seen()
        session.on("pong", first)
        session.on("pong", second)
        session.start()
        sim.send(Pong(server_time_ms=1))
        second.wait_for("pong")
        session.off("pong", first)
        sim.send(Pong(server_time_ms=2), opened())
        session.on("position_opened", second)
        sim.send(opened(2, "B"))
        second.wait_for("position_opened")
        assert len(first.events) == 1


def test_callbacks_go_on_after_a_reconnect(sim: SimServer) -> None:
    """Lifecycle events come to them like any other."""
    with open_session(sim) as session:
        seen = Seen()
        session.on("*", seen)
        session.start()
        with offline(sim):
            seen.wait_for("disconnected")
        seen.wait_for("gap")


def test_run_raises_what_ended_the_session(sim: SimServer) -> None:
    """After the last event was dispatched."""
    with open_session(sim) as session:
        seen = Seen()
        session.on("disconnected", seen)
        sim.refuse_upgrades(401)
        sim.drop()
        with pytest.raises(AuthenticationError):
            session.run()
        assert len(seen.events) == 2


def test_start_logs_what_ended_the_session(
    sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """And ``error`` has it."""
    with open_session(sim) as session:
        seen = Seen()
        session.on("disconnected", seen)
        with caplog.at_level(logging.ERROR):
            session.start()
            sim.refuse_upgrades(401)
            sim.drop()
            seen.wait_for("disconnected")
            session._dispatcher.join(PATIENCE)
        assert "no more events for the callbacks" in caplog.text
        assert isinstance(session.error, AuthenticationError)
