from __future__ import annotations

import pytest

from lasersell.contrib.recorder import PnlRecorder, recorded
from lasersell.errors import ConfigurationError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    WALLET,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def test_a_recorder_sees_every_profit(sim: SimServer) -> None:
    """Also those that the lane dropped, and those from before a reconnect."""
    with (
        open_session(sim, low_priority_capacity=1) as session,
        PnlRecorder(session) as recorder,
    ):
        holding = sim.buy(WALLET, profits_pct=range(30))
        until(session, "position_opened")
        sim.wait_until(lambda: _seen(recorder) > 5, PATIENCE)
        sim.drop()
        sim.wait_until(lambda: _seen(recorder) > 15, PATIENCE)
    (history,) = recorder.histories()
    cost = holding.entry_quote_units // 100
    profits = [point.profit_units // cost for point in history.points]
    assert profits[:10] == list(range(10))
    assert history.moments[0].what == "opened"
    assert "reopened" in [moment.what for moment in history.moments]
    assert recorder.dropped == 0


def _seen(recorder: PnlRecorder) -> int:
    return sum(len(history.points) for history in recorder.histories())


def test_a_recorder_tells_what_happened(sim: SimServer) -> None:
    """The exit with its reason, profit and age, and the close."""
    strategy = StrategyConfig(target_profit_pct=5.0)
    with (
        open_session(sim, strategy=strategy) as session,
        PnlRecorder(session) as recorder,
    ):
        sim.buy(WALLET, profits_pct=[0, 6])
        exit_signal = until(session, "exit_signal_with_tx")[-1]
        assert exit_signal.handle is not None
        sim.land_exit(exit_signal.handle.token_account)
        until(session, "position_closed")
    history = recorder.history(exit_signal.handle)
    opened, exit_, closed = history.moments
    assert (opened.what, exit_.what, closed.what) == ("opened", "exit_signal", "closed")
    assert exit_.reason == closed.reason == "target_profit"
    assert exit_.profit_units == exit_signal.message.profit_units  # type: ignore[union-attr]
    assert exit_.exit_attempt == 1
    assert exit_.age_ms is not None
    # The close is dated by what we think the clock of the server says.
    assert opened.at_ms <= exit_.at_ms + 1000
    assert exit_.at_ms <= closed.at_ms + 1000


def test_a_recorder_begins_with_what_is_open(sim: SimServer) -> None:
    """One that starts late knows the positions, and when they were opened."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        recorder = PnlRecorder(session)
        history = recorder.history(holding.token_account)
        assert [moment.what for moment in history.moments] == ["opened"]
        assert history.moments[0].at_ms == history.handle.opened_at_ms


def test_a_history_is_bounded(sim: SimServer) -> None:
    """Of each position the latest profits are kept, and the latest positions."""
    with (
        open_session(sim) as session,
        PnlRecorder(session, capacity=3, positions=2) as recorder,
    ):
        first = sim.buy(WALLET)
        until(session, "pnl_update")
        sim.sell(first)
        until(session, "position_closed")
        for _ in range(2):
            sim.buy(WALLET, profits_pct=range(100))
            until(session, "position_opened")
        seen = session.stats().frames_in
        sim.wait_until(lambda: session.stats().frames_in > seen + 12, PATIENCE)
    histories = recorder.histories()
    assert [history.number for history in histories] == [1, 2]
    assert [len(history.points) for history in histories] == [3, 3]
    with pytest.raises(ConfigurationError, match="no position"):
        recorder.history(first.token_account)


def test_a_stopped_recorder_keeps_what_it_has(sim: SimServer) -> None:
    """And takes no more."""
    sim.buy(WALLET)
    with open_session(sim) as session:
        recorder = PnlRecorder(session)
        sim.wait_until(lambda: _seen(recorder) > 0, PATIENCE)
        recorder.stop()
        before = _seen(recorder)
        until(session, "pnl_update")
        with offline(sim):
            until(session, "disconnected")
        assert _seen(recorder) == before
        assert repr(recorder) == "<PnlRecorder of 1 positions, stopped>"


def test_what_was_recorded_is_found_by_handle(sim: SimServer) -> None:
    """For views of a position, which know of no recorder."""
    sim.buy(WALLET)
    with open_session(sim) as session, PnlRecorder(session) as recorder:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        sim.wait_until(lambda: _seen(recorder) > 0, PATIENCE)
        assert recorded(handle)


@pytest.mark.parametrize("bound", [{"capacity": 0}, {"positions": -1}])
def test_a_bound_must_be_a_number_from_1(sim: SimServer, bound: dict[str, int]) -> None:
    """Nothing is observed if it is not."""
    with open_session(sim) as session, pytest.raises(ConfigurationError):
        PnlRecorder(session, **bound)
