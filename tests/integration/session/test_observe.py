from __future__ import annotations

import logging
import threading

import pytest

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
from tests.integration.session.test_callbacks import Seen


def test_a_hook_sees_what_the_consumer_gets(sim: SimServer) -> None:
    """Beside recv(), which gets all of it too."""
    seen = Seen()
    with open_session(sim) as session, session.observe(seen):
        sim.buy(WALLET)
        received = until(session, "position_opened")
        event = seen.wait_for("position_opened")
        assert event is received[-1]
        assert not any(event.type == "pnl_update" for event in seen.events)


def test_profits_are_seen_on_demand(sim: SimServer) -> None:
    """Also while nobody receives."""
    seen = Seen()
    with open_session(sim) as session, session.observe(seen, low=True):
        sim.buy(WALLET)
        event = seen.wait_for("pnl_update")
        assert event.handle in session.positions()


def test_close_ends_the_hooks_too(sim: SimServer) -> None:
    """After they have seen the end."""
    seen = Seen()
    with open_session(sim) as session:
        observation = session.observe(seen)
    assert seen.events[-1].type == "disconnected"
    assert not observation.is_active
    assert not any("observers" in thread.name for thread in threading.enumerate())


def test_a_hook_does_not_keep_a_dropped_session(sim: SimServer) -> None:
    """The facade is collected, and its stream closed, though it is being observed."""
    seen = Seen()
    configure = StreamConfigure([WALLET], STRATEGY)
    session = StreamSession.connect(make_client(sim), configure, wait_configured=0)
    session.observe(seen)
    sessions = [session]
    del session
    with pytest.warns(ResourceWarning, match="without close"):
        sessions.clear()
    seen.wait_for("disconnected")
    sim.wait_for_connections(0)


@pytest.mark.usefixtures("documented_delays")
def test_each_change_of_state_is_one_line(
    sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """At INFO, with why; further tries of the same reconnect are for DEBUG."""
    with caplog.at_level(logging.INFO, "lasersell"), open_session(sim) as session:
        with offline(sim):
            until(session, "disconnected")
        until(session, "gap")
        drain(session)
    ours = [r for r in caplog.records if not r.name.startswith("lasersell.sim")]
    lines = [record.getMessage().partition(" is ")[2] for record in ours]
    assert [line.partition(":")[0] for line in lines] == [
        "live",
        "reconnecting",
        "live",
        "closed",
    ]
    assert f"connected to {sim.url} as session 1" in lines[0]
    assert "next try in 0.1 seconds" in lines[1]
    assert {record.levelname for record in ours} == {"INFO"}
