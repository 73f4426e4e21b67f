from __future__ import annotations

import threading

import pytest

from lasersell.errors import ConcurrencyError, StreamError
from lasersell.protocol.server import Pong
from lasersell.session.events import StreamEvent
from lasersell.session.session import Position, StreamSession
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    WALLET,
    drain,
    highs_of,
    open_session,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import (
    balance,
    closed,
    exit_signal,
    mint_of,
    opened,
    pnl,
    tick,
)


def test_waiting_leaves_the_events_it_passes_over(sim: SimServer) -> None:
    """The high ones, in their order; the next ``recv()`` finds them."""
    with open_session(sim) as session:
        sim.send(
            opened(), Pong(server_time_ms=1), exit_signal(), Pong(server_time_ms=2)
        )
        event = session.wait_for("exit_signal_with_tx", timeout=PATIENCE)
        assert event.type == "exit_signal_with_tx"
        session.wait_for("pong", timeout=PATIENCE)
        session.wait_for("pong", timeout=PATIENCE)
        left = highs_of(drain(session))
        assert left == ["connected", "hello_ok", "position_opened", "disconnected"]


def test_waiting_finds_what_came_before_it(sim: SimServer) -> None:
    """Each event once."""
    with open_session(sim) as session:
        sim.send(Pong(server_time_ms=1), Pong(server_time_ms=2))
        until_second = [session.wait_for("pong", timeout=PATIENCE) for _ in range(2)]
        assert [event.message for event in until_second] == [
            Pong(server_time_ms=1),
            Pong(server_time_ms=2),
        ]
        with pytest.raises(TimeoutError, match="pong"):
            session.wait_for("pong", timeout=0)


@pytest.mark.parametrize("name", ["handle", "id", "account"])
def test_waiting_can_be_for_one_position(sim: SimServer, name: str) -> None:
    """By its handle, its id or its token account."""
    with open_session(sim) as session:
        sim.send(opened(1, "A"), opened(2, "B"))
        until(session, lambda event: event.message == opened(2, "B"))
        handle = session.position(2)
        assert handle is not None
        wanted: dict[str, Position] = {"handle": handle, "id": 2, "account": "B"}
        sim.send(exit_signal(1, "A"), exit_signal(2, "B"))
        event = session.wait_for("exit_signal_with_tx", wanted[name], timeout=PATIENCE)
        assert event.message == exit_signal(2, "B")


@pytest.mark.parametrize("name", ["handle", "id", "account"])
def test_waiting_for_the_end_of_a_position_that_is_over_finds_it(
    sim: SimServer, name: str
) -> None:
    """The event lies there already, and the position is open no more."""
    with open_session(sim) as session:
        sim.send(opened(1, "A"))
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        sim.send(closed(1, "A"), Pong(server_time_ms=1))
        session.wait_for("pong", timeout=PATIENCE)
        assert session.positions() == []
        wanted: dict[str, Position] = {"handle": handle, "id": 1, "account": "A"}
        event = session.wait_for("position_closed", wanted[name], timeout=PATIENCE)
        assert event.handle is handle


def test_waiting_for_an_account_that_is_not_known_yet(sim: SimServer) -> None:
    """As of a buy that is about to land."""
    with open_session(sim) as session:
        holding = sim.buy(WALLET)
        event = session.wait_for(
            "position_opened", holding.token_account, timeout=PATIENCE
        )
        assert event.handle is session.position_by_token_account(holding.token_account)


def test_waiting_by_account_finds_what_has_no_handle(sim: SimServer) -> None:
    """As a balance of something that is no position."""
    with open_session(sim) as session:
        sim.send(balance(5, "Y"), balance(6, "Z"))
        event = session.wait_for("balance_update", "Z", timeout=PATIENCE)
        assert event.message == balance(6, "Z")
        assert event.handle is None


def test_waiting_skips_low_events(sim: SimServer) -> None:
    """What is older than the one that is waited for is no longer of use."""
    with open_session(sim) as session:
        sim.send(opened(), *(pnl(profit_units=n) for n in range(5)), tick())
        event = session.wait_for("pnl_update", timeout=PATIENCE)
        assert event.message == pnl(profit_units=0)
        session.wait_for("trade_tick", timeout=PATIENCE)
        assert "pnl_update" not in [event.type for event in drain(session)]


def test_waiting_ends_with_the_session(sim: SimServer) -> None:
    """With an error: what was waited for will not come."""
    with open_session(sim) as session:
        closer = threading.Timer(0.05, session.close)
        closer.start()
        with pytest.raises(StreamError, match="before a pong came"):
            session.wait_for("pong", timeout=PATIENCE)
        closer.join()


def test_waiting_is_receiving(sim: SimServer) -> None:
    """Not while another thread receives, nor while callbacks are called."""
    with open_session(sim) as session:
        session.start()
        with pytest.raises(ConcurrencyError):
            session.wait_for("pong", timeout=0)


def test_the_session_is_iterated_where_waiting_stopped(sim: SimServer) -> None:
    """Both take from the same lanes."""
    with open_session(sim) as session:
        sim.send(opened(1, "A"), closed(1, "A"), opened(2, "B"))
        session.wait_for("position_closed", timeout=PATIENCE)
        assert _accounts(session) == ["A", "B"]


def _accounts(session: StreamSession) -> list[str]:
    def is_last(event: StreamEvent) -> bool:
        return event.handle is not None and event.handle.mint == mint_of("B")

    events = until(session, is_last)
    return [e.handle.token_account for e in events if e.handle is not None]
