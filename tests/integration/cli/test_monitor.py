"""What is seen of a real session."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec
import pytest

from lasersell.cli.monitor import EventLog, Monitor
from lasersell.cli.snapshot import Snapshot
from lasersell.errors import NotConnectedError
from lasersell.protocol.server import (
    ExitSignalWithTx,
    PositionClosed,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.cli.terminal import API_KEY, WALLET
from tests.patience import PATIENCE

CONFIGURE = StreamConfigure(
    [WALLET], StrategyConfig(target_profit_pct=900.0), deadline_timeout_sec=600
)


@pytest.fixture
def session(server: SimServer) -> Iterator[StreamSession]:
    """Connect to the server, which holds one position that has doubled."""
    server.change_options(liquidity_snapshots=True)
    server.buy(WALLET, profits_pct=[100.0] * 100_000)
    client = StreamClient(API_KEY, endpoint=server.url)
    with StreamSession.connect(client, CONFIGURE) as connected:
        yield connected


@pytest.fixture
def monitor(server: SimServer, session: StreamSession) -> Monitor:
    """Look at the session."""
    return Monitor(session, server.url, (WALLET,), EventLog())


@pytest.fixture
def position(
    session: StreamSession, monitor: Monitor, server: SimServer
) -> PositionHandle:
    """Start the session, and return its position once it is told."""
    session.start()
    server.wait_until(lambda: "SIM1 opened" in texts(monitor.snapshot()), PATIENCE)
    (handle,) = session.positions()
    return handle


def test_a_position_is_seen_whole(
    session: StreamSession, monitor: Monitor, server: SimServer
) -> None:
    """Its profit, age, deadline and liquidity are those of the session."""
    session.wait_for("liquidity_snapshot", timeout=PATIENCE)
    session.wait_for("pnl_update", timeout=PATIENCE)
    seen = monitor.snapshot()
    (row,) = seen.positions
    (handle,) = session.positions()
    assert row.name == "SIM1"
    assert row.token_account == handle.token_account
    assert row.pnl_pct is not None
    assert row.pnl_pct > 50
    assert row.profit_units == handle.profit_units
    assert 0 <= row.age_sec < 600
    assert row.deadline_sec is not None
    assert 0 < row.deadline_sec <= 600
    assert handle.liquidity is not None
    assert row.liquidity_trend == handle.liquidity.liquidity_trend
    assert (row.quote, row.quote_decimals) == ("SOL", 9)
    assert (seen.state, seen.endpoint) == ("live", server.url)
    assert seen.wallets == (WALLET,)


def test_it_travels_as_json(session: StreamSession, monitor: Monitor) -> None:
    """Nothing is lost on the way."""
    session.wait_for("pnl_update", timeout=PATIENCE)
    seen = monitor.snapshot()
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Snapshot) == seen


def test_an_exit_is_followed_from_asked_to_closed(
    monitor: Monitor, server: SimServer, position: PositionHandle
) -> None:
    """The state of the position, and a line for each step."""
    monitor.request_exit(position.token_account)
    server.sent.wait_for(ExitSignalWithTx)
    server.wait_until(
        lambda: monitor.snapshot().positions[0].status == "signalled", PATIENCE
    )
    server.land_exit(position.position_id)
    server.sent.wait_for(PositionClosed)
    server.wait_until(lambda: not monitor.snapshot().positions, PATIENCE)
    server.wait_until(
        lambda: "SIM1 closed: sell_now" in texts(monitor.snapshot()), PATIENCE
    )
    told = texts(monitor.snapshot())
    assert told[-3:] == [
        "SIM1: asking for its exit",
        "SIM1 exit signal: sell_now",
        "SIM1 closed: sell_now",
    ]


def test_a_signal_may_be_seen_before_asking_for_it_returns(
    session: StreamSession,
    monitor: Monitor,
    server: SimServer,
    position: PositionHandle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The position then has its signal, and waits for none."""
    ask = session.request_exit_signal

    def ask_and_wait(token_account: str) -> None:
        ask(token_account)
        server.wait_until(
            lambda: "SIM1 exit signal: sell_now" in texts(monitor.snapshot()), PATIENCE
        )

    monkeypatch.setattr(session, "request_exit_signal", ask_and_wait)
    monitor.request_exit(position.token_account)
    assert monitor.snapshot().positions[0].status == "signalled"


def test_an_exit_that_cannot_be_asked_for_is_not_waited_for(
    session: StreamSession,
    monitor: Monitor,
    position: PositionHandle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where asking raises, the position is open as before."""

    def refuse(token_account: str) -> None:
        raise NotConnectedError(f"no exit of {token_account} now")

    monkeypatch.setattr(session, "request_exit_signal", refuse)
    with pytest.raises(NotConnectedError):
        monitor.request_exit(position.token_account)
    assert monitor.snapshot().positions[0].status == "open"


def texts(seen: Snapshot) -> list[str]:
    """Return the last events in words."""
    return [line.text for line in seen.events]


def test_a_stream_that_is_away_is_seen(
    session: StreamSession, monitor: Monitor, server: SimServer
) -> None:
    """The positions are kept, and marked until they are named again."""
    session.wait_for("position_opened", timeout=PATIENCE)
    server.refuse_upgrades(503)
    server.drop()
    session.wait_for("disconnected", timeout=PATIENCE)
    seen = monitor.snapshot()
    assert seen.state == "reconnecting"
    assert seen.positions[0].status == "away"


def test_a_log_can_be_read_as_events() -> None:
    """Its levels become what a line is to the reader."""
    events = EventLog()
    logger = logging.getLogger("tests.monitor")
    logger.addHandler(events)
    logger.setLevel(logging.INFO)
    logger.info("fine %d", 1)
    logger.warning("careful")
    logger.error("wrong")
    assert [(line.text, line.kind) for line in events.lines()] == [
        ("fine 1", "plain"),
        ("careful", "warning"),
        ("wrong", "bad"),
    ]


def test_only_the_last_events_are_kept() -> None:
    """A screen shows few, and a daemon runs for long."""
    events = EventLog()
    for number in range(1000):
        events.say(str(number))
    lines = events.lines()
    assert lines[-1].text == "999"
    assert len(lines) < 100
