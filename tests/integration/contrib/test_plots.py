from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from lasersell.contrib.frames import history_frame
from lasersell.contrib.plots import plot_exit_latency, plot_pnl
from lasersell.contrib.recorder import PnlRecorder
from lasersell.errors import ConfigurationError
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim import SimServer
from tests.integration.session.helpers import WALLET, open_session, until

pytestmark = pytest.mark.slow

STRATEGY = StrategyConfig(
    target_profit_pct=8.0, stop_loss_pct=4.0, trailing_stop_pct=2.0
)


@pytest.fixture(autouse=True, scope="module")
def _fonts() -> None:
    """Have matplotlib open its fonts, which it keeps open."""
    mpl.use("agg")
    figure = plt.figure()
    figure.text(0, 0, "A")
    figure.savefig(io.BytesIO())
    plt.close(figure)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Forget the figures of a test."""
    yield
    plt.close("all")


@pytest.fixture
def recorder(sim: SimServer) -> PnlRecorder:
    """Return a record of two positions, one of which has exited."""
    with open_session(sim, strategy=STRATEGY) as session:
        recorder = PnlRecorder(session)
        sim.buy(WALLET, profits_pct=[0, 3, 6, 9])
        sim.buy(WALLET, profits_pct=[0, -1, -2, -3])
        until(session, "exit_signal_with_tx")
        until(session, "pnl_update")
    return recorder


def _labels(ax: object) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]  # type: ignore[attr-defined]


def test_each_position_is_a_line(recorder: PnlRecorder) -> None:
    """Through its profits in percent, with the lines of the strategy."""
    ax = plot_pnl(recorder, strategy=STRATEGY)
    labels = _labels(ax)
    assert labels == [
        "SIM1",
        "SIM2",
        "target +8 %",
        "stop -4 %",
        "trailing stop 2 %",
    ]
    assert list(ax.get_lines()[0].get_ydata())[:3] == [0.0, 3.0, 6.0]  # type: ignore[arg-type]


def test_the_trailing_stop_follows_the_peak(recorder: PnlRecorder) -> None:
    """From the tick on which the peak is as high as the trail."""
    ax = plot_pnl(recorder, strategy=STRATEGY)
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    start, first, second = map(float, list(dotted[0].get_ydata())[:3])  # type: ignore[arg-type]
    assert math.isnan(start)
    assert (first, second) == (1.0, 4.0)


def test_an_exit_has_its_reason(recorder: PnlRecorder) -> None:
    """Written where the signal was."""
    ax = plot_pnl(recorder)
    assert [text.get_text() for text in ax.texts] == ["target_profit"]


def test_a_ladder_is_drawn_level_by_level(recorder: PnlRecorder) -> None:
    """It has no target of its own."""
    ladder = StrategyConfig(
        take_profit_levels=[
            TakeProfitLevel(profit_pct=3.0, sell_pct=50.0),
            TakeProfitLevel(profit_pct=6.0, sell_pct=100.0),
        ]
    )
    labels = _labels(plot_pnl(recorder, strategy=ladder))
    assert labels[-2:] == ["level 0 +3 %", "level 1 +6 %"]


def test_one_position_can_be_chosen(recorder: PnlRecorder) -> None:
    """By its handle or token account, also of a frame."""
    handle = recorder.histories()[1].handle
    assert _labels(plot_pnl(recorder, handle)) == ["SIM2"]
    frame = history_frame(recorder)
    assert _labels(plot_pnl(frame, handle.token_account)) == ["SIM2"]


def test_exit_latency_is_a_histogram(recorder: PnlRecorder) -> None:
    """Of all exit signals, with median and 99 %."""
    ax = plot_exit_latency(recorder, bins=5)
    assert len(ax.patches) == 5
    assert ax.get_ylabel().startswith("of 1 signal")
    assert len(_labels(ax)) == 2


def test_a_plot_can_be_drawn_into_axes(recorder: PnlRecorder, tmp_path: Path) -> None:
    """Of a figure of the user's; it can be saved."""
    figure, (left, right) = plt.subplots(1, 2)
    assert plot_pnl(recorder, ax=left) is left
    assert plot_exit_latency(recorder, ax=right) is right
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1_000


def test_the_settings_of_matplotlib_stay(recorder: PnlRecorder) -> None:
    """The style is ours alone."""
    before = dict(mpl.rcParams)
    plot_pnl(recorder, strategy=STRATEGY)
    assert dict(mpl.rcParams) == before


def test_nothing_recorded_is_no_plot(sim: SimServer) -> None:
    """An empty picture would look like a mistake."""
    with open_session(sim) as session:
        recorder = PnlRecorder(session)
    for plot in (plot_pnl, plot_exit_latency):
        with pytest.raises(ConfigurationError, match="recorded"):
            plot(recorder)
