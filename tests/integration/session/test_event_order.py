"""The orders that docs/events.md promises, one test for each."""

from __future__ import annotations

from typing import Any

import pytest

from lasersell.errors import AuthenticationError, NotConnectedError
from lasersell.protocol.server import BalanceUpdate, PnlUpdate
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from lasersell.stream.lifecycle import Disconnected, PositionLost
from tests.integration.session.helpers import (
    LOW_TYPES,
    WALLET,
    drain,
    highs_of,
    next_event,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import balance, closed, exit_signal, opened, pnl

pytestmark = pytest.mark.slow


def _names(events: list[StreamEvent]) -> list[tuple[str, str | None]]:
    """Return the types of the high events, each with the account it is about."""
    return [
        (event.type, event.handle.token_account if event.handle else None)
        for event in _highs(events)
    ]


def _highs(events: list[StreamEvent]) -> list[StreamEvent]:
    """Return the high events: profits come whenever the simulator ticks."""
    return [event for event in events if event.type not in LOW_TYPES]


def _sync(session: StreamSession) -> None:
    """Return once the session is live and has read everything that was sent before."""
    while True:
        try:
            session.sender.ping().wait(PATIENCE)
            return
        except NotConnectedError:
            continue


# Of a connection


def test_a_connection_begins_with_connected_and_hello(sim: SimServer) -> None:
    """Before anything the server says about wallets."""
    sim.buy(WALLET)
    with open_session(sim) as session:
        events = until(session, "position_opened")
        assert highs_of(events)[:2] == ["connected", "hello_ok"]


def test_a_later_connection_begins_with_a_gap_too(sim: SimServer) -> None:
    """Before anything is named again."""
    sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        sim.drop()
        assert highs_of(until(session, "position_opened")) == [
            "disconnected",
            "connected",
            "hello_ok",
            "gap",
            "balance_update",
            "position_opened",
        ]


def test_nothing_of_a_connection_comes_after_its_disconnected(sim: SimServer) -> None:
    """High or low, however slow the consumer: every event is of the connection it is in."""
    with open_session(sim, resync_window=60.0) as session:
        until(session, "hello_ok")
        for connection in range(1, 4):
            sim.send(
                opened(connection, "A"),
                *(pnl(connection, server_time_ms=connection) for _ in range(100)),
                *(balance(connection, "Z") for _ in range(20)),
            )
            _sync(session)
            sim.drop()
            sim.wait_for_connections(1)
        events = until(session, lambda event: _number(event) == 4)
    present = 1
    for event in events:
        present = _number(event) or present
        if isinstance(event.message, PnlUpdate):
            assert event.message.server_time_ms == present
        elif isinstance(event.message, BalanceUpdate):
            assert event.message.tokens == present
    assert highs_of(events).count("disconnected") == 3


def _number(event: StreamEvent) -> int | None:
    return getattr(event.message, "number", None)


def test_low_events_come_before_the_end_of_their_connection(sim: SimServer) -> None:
    """As long as nothing newer waits."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.send(opened(), *(pnl(profit_units=n) for n in range(5)))
        _sync(session)
        with offline(sim):
            events = until(session, "disconnected")
        types = [event.type for event in events if event.type != "pong"]
        assert types == ["position_opened", *["pnl_update"] * 5, "disconnected"]


def test_a_refused_reconnect_is_a_disconnected_of_its_own(sim: SimServer) -> None:
    """Between the end of one connection and the beginning of the next."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.refuse_upgrades(403, times=1)
        sim.drop()
        assert highs_of(until(session, "gap")) == [
            "disconnected",
            "disconnected",
            "connected",
            "hello_ok",
            "gap",
        ]


def test_trouble_on_the_way_back_is_only_counted(sim: SimServer) -> None:
    """In ``attempts``; a server that is away is no news each time."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        with offline(sim):
            pass
        events = until(session, "gap")
        assert highs_of(events) == ["disconnected", "connected", "hello_ok", "gap"]


# Of a position


def test_the_balance_comes_before_the_position(sim: SimServer) -> None:
    """As the server sends them, at first and after a reconnect."""
    with open_session(sim) as session:
        holding = sim.buy(WALLET)
        events = until(session, "position_opened")
        assert _names(events)[-2:] == [
            ("balance_update", None),
            ("position_opened", holding.token_account),
        ]
        sim.drop()
        events = until(session, "position_opened")
        assert _names(events)[-2:] == [
            ("balance_update", holding.token_account),
            ("position_opened", holding.token_account),
        ]


def test_a_position_is_opened_before_anything_about_it(sim: SimServer) -> None:
    """And closed after everything high about it."""
    holding = sim.buy(WALLET, profits_pct=[600.0])
    with open_session(sim) as session:
        until(session, "exit_signal_with_tx")
        sim.land_exit(holding)
        assert _names(until(session, "position_closed"))[-2:] == [
            ("balance_update", holding.token_account),
            ("position_closed", holding.token_account),
        ]
    with open_session(sim) as session:
        sim.send(opened(), exit_signal(), exit_signal(level_index=0), closed())
        assert _names(until(session, "position_closed"))[2:] == [
            ("position_opened", "A"),
            ("exit_signal_with_tx", "A"),
            ("exit_signal_with_tx", "A"),
            ("position_closed", "A"),
        ]


def test_profit_may_be_overtaken_by_the_close(sim: SimServer) -> None:
    """The high lane goes first; the handle says that the position is over."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.send(opened(), pnl(), closed())
        _sync(session)
        events = until(session, "pnl_update")
        types = [event.type for event in events if event.type != "pong"]
        assert types == ["position_opened", "position_closed", "pnl_update"]
        assert events[-1].handle is not None
        assert events[-1].handle.status == "closed"


def test_a_replaced_position_is_lost_before_its_successor_opens(sim: SimServer) -> None:
    """On the same account, one right after the other."""
    first = sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        with offline(sim):
            sim.sell(first)
            sim.buy(WALLET, first.mint)
        events = until(session, "position_opened")
        lost, successor = _highs(events)[-2:]
        assert [lost.type, successor.type] == ["position_lost", "position_opened"]
        assert isinstance(lost.message, PositionLost)
        assert lost.message.reason == "replaced"


def test_a_position_is_lost_after_those_that_are_named_again(sim: SimServer) -> None:
    """Once the window has passed, and in the order of their opening."""
    sold = [sim.buy(WALLET), sim.buy(WALLET)]
    kept = sim.buy(WALLET)
    with open_session(sim, resync_window=1.0) as session:
        until(session, lambda _: len(session.positions()) == 3)
        with offline(sim):
            for holding in sold:
                sim.sell(holding)
            until(session, "disconnected")
        events = until(session, "position_lost") + until(session, "position_lost")
        names = [name for name in _names(events) if name[0].startswith("position")]
        assert names == [
            ("position_opened", kept.token_account),
            ("position_lost", sold[0].token_account),
            ("position_lost", sold[1].token_account),
        ]


def test_a_revived_position_is_opened_after_it_was_lost(sim: SimServer) -> None:
    """The event says ``reopened``."""
    with open_session(sim, resync_window=0.05) as session:
        sim.send(opened())
        until(session, "position_opened")
        sim.drop()
        until(session, "position_lost")
        sim.send(opened(7))
        event = next_event(session)
        assert (event.type, event.reopened) == ("position_opened", True)


# Of commands


def test_an_expired_command_is_told_before_the_next_connection(sim: SimServer) -> None:
    """When it expired, not when the stream is back."""
    with open_session(sim, hold_max_age=0.01) as session:
        until(session, "hello_ok")
        with offline(sim):
            session.request_exit_signal("A")
            events = until(session, "command_expired")
        events += until(session, "gap")
        assert highs_of(events) == [
            "disconnected",
            "command_expired",
            "connected",
            "hello_ok",
            "gap",
        ]


def test_what_a_lost_position_costs_is_told_before_its_loss(sim: SimServer) -> None:
    """First the exit that was asked for it, then the position."""
    with open_session(sim, resync_window=0.05) as session:
        sim.send(opened())
        until(session, "position_opened")
        session.request_exit_signal("A")
        sim.drop()
        events = until(session, "position_lost")
        assert _names(events)[-2:] == [
            ("exit_request_unanswered", "A"),
            ("position_lost", "A"),
        ]


def test_what_a_replaced_position_costs_is_told_before_its_loss(
    sim: SimServer,
) -> None:
    """The exit was asked for the former one, and not for its successor."""
    first = sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        with offline(sim):
            session.request_exit_signal(first.token_account)
            sim.sell(first)
            sim.buy(WALLET, first.mint)
        events = until(session, "position_opened")
        last = _highs(events)[-3:]
        assert [event.type for event in last] == [
            "command_expired",
            "position_lost",
            "position_opened",
        ]
        successor = last[-1].handle
        assert [event.handle is successor for event in last] == [False, False, True]


# Of the end


def test_a_close_ends_with_disconnected_and_none(sim: SimServer) -> None:
    """After all that had arrived."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.send(opened(), pnl(), closed())
        _sync(session)
        types = [event.type for event in drain(session) if event.type != "pong"]
        assert types == [
            "position_opened",
            "position_closed",
            "pnl_update",
            "disconnected",
        ]
        assert session.recv() is None


def test_a_failure_ends_with_disconnected_and_the_error(sim: SimServer) -> None:
    """The last one says that there is no next try."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.refuse_upgrades(401)
        sim.drop()
        ends: list[Any] = [until(session, "disconnected")[-1] for _ in range(2)]
        assert isinstance(ends[-1].message, Disconnected)
        assert ends[-1].message.delay is None
        with pytest.raises(AuthenticationError):
            session.recv(timeout=PATIENCE)


# Between the lanes


def test_high_events_come_before_low_ones(sim: SimServer) -> None:
    """At most one low event goes ahead of a high one that waits (13.1, P22)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.send(opened(), *(pnl(profit_units=n) for n in range(500)))
        _sync(session)
        assert [event.type for event in until(session, "pnl_update")][
            -1
        ] == "pnl_update"
        sim.send(exit_signal())
        _sync(session)
        assert next_event(session).type == "exit_signal_with_tx"


def test_each_lane_keeps_the_order_of_the_wire(sim: SimServer) -> None:
    """Within a lane nothing overtakes."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.send(opened())
        for number in range(50):
            sim.send(
                pnl(profit_units=number),
                exit_signal(position_tokens=number),
            )
        _sync(session)
        events = drain(session)
        profits = [e.message.profit_units for e in events if e.type == "pnl_update"]  # type: ignore[union-attr]
        exits = [
            e.message.position_tokens  # type: ignore[union-attr]
            for e in events
            if e.type == "exit_signal_with_tx"
        ]
        assert profits == exits == list(range(50))
