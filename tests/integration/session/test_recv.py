from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lasersell.errors import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    HandshakeError,
    LaserSellError,
)
from lasersell.protocol.server import PnlUpdate, Pong, ServerError
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    WALLET,
    drain,
    highs_of,
    next_event,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE


def test_events_come_in_the_order_of_the_wire(sim: SimServer) -> None:
    """The first are those of the connection itself (C28)."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        events = until(session, "position_opened")
        assert highs_of(events) == [
            "connected",
            "hello_ok",
            "balance_update",
            "position_opened",
        ]
        handle = events[-1].handle
        assert handle is not None
        assert handle.token_account == holding.token_account


def test_low_events_that_were_left_to_gather_come_in_order(sim: SimServer) -> None:
    """None is missing, and the high ones neither."""
    lows = [
        PnlUpdate(position_id=7, profit_units=1, proceeds_units=0, server_time_ms=n)
        for n in range(50)
    ]
    pong = Pong(server_time_ms=7)
    with open_session(sim) as session:
        until(session, "hello_ok")
        session.let_low_gather(0.05)
        for low in lows:
            sim.send(low)
        sim.send(pong)
        messages = [next_event(session).message for _ in range(51)]
        assert [message for message in messages if message != pong] == lows


@pytest.mark.parametrize("seconds", [-1, "1", None, float("inf")])
def test_low_events_gather_for_a_time_only(sim: SimServer, seconds: Any) -> None:
    """Anything else is refused, and nothing is changed."""
    with open_session(sim) as session:
        with pytest.raises(ConfigurationError, match="seconds must be a number"):
            session.let_low_gather(seconds)
        assert session._receiver.gather_sec == 0


def test_a_session_is_iterated_until_it_is_closed(sim: SimServer) -> None:
    """What had arrived before the close comes first."""
    with open_session(sim) as session:
        sim.send(*(Pong(server_time_ms=number) for number in range(5)))
        until(session, lambda event: event.message == Pong(server_time_ms=0))
        seen = []
        for event in session:
            seen.append(event.message)
            if event.message == Pong(server_time_ms=4):
                session.close()
        assert [m for m in seen if isinstance(m, Pong)] == [
            Pong(server_time_ms=number) for number in range(1, 5)
        ]


def test_after_the_close_every_call_returns_none(sim: SimServer) -> None:
    """Not only the first (13.1, P29)."""
    with open_session(sim) as session:
        drain(session)
        assert [session.recv(), session.recv(timeout=1.0), session.recv(timeout=0)] == [
            None
        ] * 3
        assert list(session) == []
        assert session.state == "closed"
        assert session.error is None


def test_after_a_failure_every_call_raises_it(sim: SimServer) -> None:
    """What had come before it is delivered first (13.1, P12)."""
    sim.change_options(api_keys=None)
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.refuse_upgrades(401)
        sim.drop()
        events = until(session, _is_last)
        assert events[-1].type == "disconnected"
        for _ in range(3):
            with pytest.raises(AuthenticationError) as caught:
                session.recv(timeout=PATIENCE)
            assert caught.value.status == 401
        with pytest.raises(AuthenticationError):
            next(iter(session))
        assert session.state == "failed"
        assert session.error is not None


def _is_last(event: StreamEvent) -> bool:
    return (
        event.type == "disconnected" and event.to_dict()["message"].get("delay") is None
    )


def test_a_late_rejection_of_the_configuration_ends_the_first_connection(
    sim: SimServer,
) -> None:
    """With the server's code, at the next ``recv()`` and every later one (P16)."""
    with open_session(sim) as session:
        sim.send(ServerError(code="wallet_not_registered", message="who?"))
        assert highs_of(until(session, "error")) == ["connected", "hello_ok", "error"]
        assert next_event(session).type == "disconnected"
        with pytest.raises(HandshakeError) as caught:
            session.recv(timeout=PATIENCE)
        assert caught.value.code == "wallet_not_registered"
        with pytest.raises(HandshakeError):
            session.recv()


def test_a_timeout_is_no_failure(sim: SimServer) -> None:
    """The stream goes on; zero and less only look."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        for timeout in (0.01, 0, -1):
            with pytest.raises(TimeoutError):
                session.recv(timeout=timeout)
        sim.send(Pong(server_time_ms=7))
        assert next_event(session).message == Pong(server_time_ms=7)


def test_a_look_returns_what_is_there(sim: SimServer) -> None:
    """A time-out of zero does not mean that nothing is returned."""
    with open_session(sim) as session:
        event = session.recv(timeout=0)
        assert event is not None
        assert event.type == "connected"


def test_two_threads_cannot_receive_at_once(sim: SimServer) -> None:
    """The second is told, and the first goes on (13.1, P30)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        got: list[StreamEvent | None] = []
        first = threading.Thread(target=lambda: got.append(_recv_alone(session)))
        first.start()
        refused = _refuse(session.recv)
        sim.send(Pong(server_time_ms=7))
        first.join(PATIENCE)
        assert refused
        assert [event and event.type for event in got] == ["pong"]


def _recv_alone(session: StreamSession) -> StreamEvent | None:
    """Receive once nobody else is only looking."""
    while True:
        with contextlib.suppress(ConcurrencyError):
            return session.recv(PATIENCE)


def _refuse(recv: Callable[..., object]) -> bool:
    """Look until the other thread is in its call; then this one must be refused."""
    pause = threading.Event()
    while True:
        try:
            recv(timeout=0)
        except TimeoutError:
            pause.wait(0.01)  # the other one is to get in
        except ConcurrencyError:
            return True
        else:
            return False


def test_a_consumer_that_waits_is_woken_by_the_close(sim: SimServer) -> None:
    """From any thread; it gets the last events and then None."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        got: list[str] = []
        done = threading.Event()

        def consume() -> None:
            got.extend(event.type for event in session)
            done.set()

        consumer = threading.Thread(target=consume)
        consumer.start()
        session.close()
        assert done.wait(PATIENCE)
        consumer.join(PATIENCE)
        assert got == ["disconnected"]


def test_what_arrived_before_the_close_is_delivered(sim: SimServer) -> None:
    """High and low; then ``disconnected``, then None."""
    sim.buy(WALLET)
    with open_session(sim) as session:
        event = until(session, "pnl_update")[-1]
        assert event.handle is not None
        sim.send(Pong(server_time_ms=1), Pong(server_time_ms=2))
        session.wait_for("pong", timeout=PATIENCE)
        left = [event.type for event in drain(session)]
        assert left[:1] == ["pong"]
        assert left[-1] == "disconnected"


def test_a_close_while_offline_ends_at_once(sim: SimServer) -> None:
    """And the consumer sees the end."""
    with open_session(sim) as session:
        with offline(sim):
            session.close()
            types = [event.type for event in session]
            assert types == ["connected", "hello_ok", "disconnected"]
        assert session.recv() is None


def test_no_error_is_swallowed_by_the_with_block(sim: SimServer) -> None:
    """The session closes, and the error goes on."""
    with pytest.raises(ZeroDivisionError), open_session(sim) as session:
        raise ZeroDivisionError
    assert session.state == "closed"


def test_errors_of_ours_are_one_tree() -> None:
    """``except LaserSellError`` catches all that a session raises but TimeoutError."""
    assert not issubclass(TimeoutError, LaserSellError)
    assert issubclass(ConcurrencyError, LaserSellError)
