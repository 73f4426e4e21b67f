from __future__ import annotations

import pytest

from lasersell.errors import (
    AuthenticationError,
    ConfigurationError,
    HandshakeError,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from lasersell.stream.options import StreamConfigure
from tests.integration.session.helpers import (
    STRATEGY,
    WALLET,
    drain,
    make_client,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import opened, pnl


def test_a_session_says_what_it_is(sim: SimServer) -> None:
    """Also when it is closed."""
    sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        assert repr(session) == "<StreamSession live, 1 positions>"
    assert repr(session) == "<StreamSession closed, 1 positions>"


def test_the_state_follows_the_connection(sim: SimServer) -> None:
    """Live, reconnecting, live again, closed; who sees ``connected`` finds it live."""
    states: list[str] = []
    with open_session(sim) as session:
        states.append(session.state)
        until(session, "hello_ok")
        with offline(sim):
            until(session, "disconnected")
            states.append(session.state)
        until(session, "connected")
        states.append(session.state)
    states.append(session.state)
    assert states == ["live", "reconnecting", "live", "closed"]
    assert session.error is None


def test_a_failed_session_says_why(sim: SimServer) -> None:
    """In ``error``, for good."""
    with open_session(sim) as session:
        sim.refuse_upgrades(401)
        sim.drop()
        until(session, "disconnected")
        until(session, "disconnected")
        with pytest.raises(AuthenticationError):
            session.recv(timeout=PATIENCE)
        assert session.state == "failed"
        assert isinstance(session.error, AuthenticationError)
    assert session.state == "failed"


def test_a_first_connect_that_fails_leaves_nothing(sim: SimServer) -> None:
    """No thread and no socket; the caller gets the error (13.1, P18)."""
    sim.change_options(api_keys=["another key"])
    with pytest.raises(AuthenticationError) as caught, open_session(sim):
        pass
    assert caught.value.status == 401
    sim.change_options(api_keys=None, require_exit_condition=True)
    with (
        pytest.raises(HandshakeError) as rejected,
        open_session(
            sim, strategy=StrategyConfig(), deadline=9.0, wait_configured=PATIENCE
        ),
    ):
        pass
    assert rejected.value.code == "invalid_strategy"
    sim.wait_for_connections(0)


def test_the_server_tells_limits_and_session(sim: SimServer) -> None:
    """Those of the latest connection."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        first = session.session_id
        assert session.limits is not None
        assert session.limits.pnl_flush_ms == 100
        sim.drop()
        until(session, "gap")
        assert first is not None
        assert session.session_id == first + 1


def test_statistics_count_what_came_and_what_was_taken(sim: SimServer) -> None:
    """Exactly, also what a slow consumer did not see (13.1, P23)."""
    with open_session(sim, low_priority_capacity=10) as session:
        sim.send(opened(), *(pnl(profit_units=n) for n in range(25)))
        session.sender.ping().wait(PATIENCE)
        stats = session.stats()
        assert stats.state == "live"
        assert stats.frames_in == 28  # hello_ok, the position, the profits, the pong
        assert stats.bytes_in > 1000
        assert (stats.low.dropped, stats.low.waiting, stats.low.high_water) == (
            15,
            10,
            10,
        )
        assert stats.high.dropped == 0
        assert not stats.is_held_back
        assert stats.reconnects == 0
        assert stats.last_message_age is not None
        assert stats.clock_offset_ms is not None
        types = [event.type for event in drain(session)]
        assert types.count("pnl_update") == 10
        after = session.stats()
        assert after.low.delivered == 10
        assert after.low.waiting == after.high.waiting == 0


def test_statistics_go_on_over_reconnects(sim: SimServer) -> None:
    """Of all connections together."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        before = session.stats()
        sim.drop()
        until(session, "gap")
        after = session.stats()
        assert after.reconnects == 1
        assert after.frames_in == before.frames_in + 1
        assert after.bytes_in > before.bytes_in


def test_closing_twice_is_closing_once(sim: SimServer) -> None:
    """And a position is no argument of it (D3.9)."""
    with open_session(sim) as session:
        with pytest.raises(TypeError, match="close_position"):
            session.close("A")
        assert session.sender.ping().wait(PATIENCE) >= 0
        session.close()
        session.close()
    assert session.state == "closed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deadline_from", "bought"),
        ("deadline_grace_sec", -1),
        ("deadline_retry_sec", 0),
        ("resync_window", float("nan")),
        ("hold_max_age", -1),
        ("hold_capacity", -1),
        ("low_priority_capacity", 0),
        ("timeout", float("inf")),
        ("wait_configured", -1),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    sim: SimServer, name: str, value: object
) -> None:
    """Before anything is connected, naming it."""
    with pytest.raises(ConfigurationError, match=name):
        StreamSession.connect(
            make_client(sim),
            StreamConfigure([WALLET], STRATEGY),
            **{name: value},  # type: ignore[arg-type]
        )
    assert sim.upgrades.entries() == []


def test_what_is_no_configuration_is_refused(sim: SimServer) -> None:
    """By name, before anything is connected."""
    with pytest.raises(ConfigurationError, match="StreamConfigure"):
        StreamSession.connect(make_client(sim), WALLET)  # type: ignore[arg-type]
    assert sim.upgrades.entries() == []
