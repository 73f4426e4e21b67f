"""
Plots of what was recorded, for matplotlib.

Needs the extra ``plots``; without it the import raises ``MissingExtraError``.
Backgrounds are transparent and letters grey, to be read on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasersell.contrib.frames import history_frame
from lasersell.contrib.recorder import PnlRecorder
from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.positions import PositionHandle

try:
    import matplotlib as mpl
    import pandas as pd
    from matplotlib import pyplot as plt
except ImportError as error:
    raise MissingExtraError("a plot", "plots") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lasersell.exits.journal import Journal
    from lasersell.exits.journal_report import JournalReader

    Source = PnlRecorder | Journal | JournalReader | str | Path | pd.DataFrame

__all__ = ["plot_exit_latency", "plot_pnl"]

FEW = 4
"""Positions whose exits have room for their reasons."""

_GREY = "#7f858c"
_GAIN = "#2a9d62"
_LOSS = "#d9534f"
_TRAIL = "#c98a1b"
_LINES = ("#3f83d6", "#b06bd1", "#1aa3a3", "#d9823b", "#8a9a2e", "#d1588f")
_STYLE: Any = {
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": _GREY,
    "axes.labelcolor": _GREY,
    "axes.titlecolor": _GREY,
    "axes.edgecolor": _GREY,
    # Two shades, one light and one dark by the book: of ticks that are all light, a
    # notebook concludes that a transparent figure needs a dark background.
    "xtick.color": _GREY,
    "ytick.color": "#757b82",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GREY,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "legend.frameon": False,
    "font.size": 11.0,
    "lines.linewidth": 1.8,
}


def plot_pnl(
    source: Source,
    position: PositionHandle | str | None = None,
    *,
    strategy: StrategyConfig | None = None,
    ax: Axes | None = None,
) -> Axes:
    """
    Plot profit in percent over seconds, a line for each position.

    A triangle up is an entry, a triangle down an exit signal, with its reason where
    there are few positions; a dot is where the position closed.

    Args:
        source: A recorder, or a frame of :func:`~lasersell.contrib.frames.history_frame`.
        position: One position only: a handle or a token account.
        strategy: Draws its target, stop and ladder, and for each position the
            trailing stop, which follows the peak.
        ax: Where to draw; None makes a figure.

    Raises:
        ConfigurationError: Nothing was recorded of it.
    """
    frame = _only(_as_frame(source), position)
    if frame.empty:
        raise ConfigurationError("nothing was recorded of that; there is no plot")
    with _drawing(ax) as ax:
        began = frame["at"].min()
        groups = frame.groupby("position")
        for index, (_, group) in enumerate(groups):
            color = _LINES[index % len(_LINES)]
            one = group.assign(sec=_seconds(group["at"], began))
            _draw_position(ax, one, color)
            if len(groups) <= FEW:
                _draw_reasons(ax, one, color)
            if strategy is not None and strategy.trailing_stop_pct:
                _draw_trail(ax, one, began, strategy.trailing_stop_pct)
        if strategy is not None:
            _draw_strategy(ax, strategy)
        ax.axhline(0, color=_GREY, linewidth=1)
        ax.set_xlabel("seconds")
        ax.set_ylabel("profit, %")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    return ax


def plot_exit_latency(
    source: Source, *, bins: int = 30, ax: Axes | None = None
) -> Axes:
    """
    Plot how old exit signals were when they arrived, a histogram in milliseconds.

    From the trigger by the server's clock to the arrival here; as exact as the offset
    of the clocks is known, which is half a round trip. Replacements count too.

    Args:
        source: A recorder, a journal, or a frame of
            :func:`~lasersell.contrib.frames.history_frame`.
        bins: Bars.
        ax: Where to draw; None makes a figure.

    Raises:
        ConfigurationError: No exit signal was recorded.
    """
    frame = _as_frame(source)
    ages = frame.loc[frame["what"] == "exit_signal", "age_ms"].dropna().astype(float)
    if ages.empty:
        raise ConfigurationError("no exit signal was recorded; there is no plot")
    with _drawing(ax) as ax:
        ax.hist(ages, bins=bins, color=_LINES[0], alpha=0.85)
        for share, name, dashes in ((0.5, "median", "-"), (0.99, "99 %", "--")):
            at = float(ages.quantile(share))
            ax.axvline(at, color=_TRAIL, linestyle=dashes, label=f"{name}: {at:.1f} ms")
        ax.set_xlim(left=0)
        ax.set_xlabel("age of an exit signal when it arrived, ms")
        ax.set_ylabel(f"of {len(ages)} signals")
        ax.legend()
    return ax


@contextmanager
def _drawing(ax: Axes | None) -> Iterator[Axes]:
    if ax is None:
        # Out here: the first figure loads a backend, and the end of the context would
        # take back what that set.
        figure = plt.figure(figsize=(9.0, 3.8), layout="constrained", facecolor="none")
        with mpl.rc_context(_STYLE):
            ax = figure.add_subplot()
    with mpl.rc_context(_STYLE):
        yield ax


def _as_frame(source: Source) -> pd.DataFrame:
    return source if isinstance(source, pd.DataFrame) else history_frame(source)


def _only(frame: pd.DataFrame, position: PositionHandle | str | None) -> pd.DataFrame:
    if position is None:
        return frame
    if isinstance(position, PositionHandle):
        position = position.token_account
    chosen: pd.DataFrame = frame[frame["token_account"] == position]
    return chosen


def _seconds(times: pd.Series[Any], began: Any) -> pd.Series[Any]:
    seconds: pd.Series[Any] = (times - began).dt.total_seconds()
    return seconds


def _draw_position(ax: Axes, one: pd.DataFrame, color: str) -> None:
    pnl = one[one["what"] == "pnl"]
    symbol = one["token_symbol"].iloc[0]
    name = str(one["mint"].iloc[0])[:6] if pd.isna(symbol) else str(symbol)
    ax.plot(_floats(pnl["sec"]), _floats(pnl["pnl_pct"]), color=color, label=name)
    for row in one[one["what"] != "pnl"].itertuples():
        height = 0.0 if pd.isna(row.pnl_pct) else float(row.pnl_pct)
        if row.what == "opened":
            ax.plot(row.sec, height, marker="^", color=color, markersize=9)
        elif row.what == "exit_signal":
            ax.plot(row.sec, height, marker="v", color=color, markersize=9)
        elif row.what in ("closed", "lost"):
            ax.plot(row.sec, height, marker="o", color=color, markersize=5)


def _draw_reasons(ax: Axes, one: pd.DataFrame, color: str) -> None:
    signals = one[(one["what"] == "exit_signal") & one["pnl_pct"].notna()]
    for row in signals.itertuples():
        ax.annotate(
            "exit" if pd.isna(row.reason) else str(row.reason),
            (row.sec, float(row.pnl_pct)),
            xytext=(-8, 8),
            textcoords="offset points",
            ha="right",
            fontsize="small",
            color=color,
        )


def _draw_trail(ax: Axes, one: pd.DataFrame, began: Any, trail_pct: float) -> None:
    pnl = one[one["what"] == "pnl"]
    peak = pnl["pnl_pct"].astype(float).cummax()
    # Armed once the peak is as high as the trail.
    line = (peak - trail_pct).where(peak >= trail_pct)
    ax.plot(
        _floats(_seconds(pnl["at"], began)),
        _floats(line),
        color=_TRAIL,
        linestyle=":",
        linewidth=1.3,
    )


def _draw_strategy(ax: Axes, strategy: StrategyConfig) -> None:
    lines = [
        (strategy.target_profit_pct, _GAIN, "target"),
        (-strategy.stop_loss_pct, _LOSS, "stop"),
        *(
            (level.profit_pct, _GAIN, f"level {number}")
            for number, level in enumerate(strategy.take_profit_levels)
        ),
    ]
    for at, color, name in lines:
        if at:
            ax.axhline(
                at,
                color=color,
                linestyle="--",
                linewidth=1.2,
                label=f"{name} {at:+g} %",
            )
    if strategy.trailing_stop_pct:
        label = f"trailing stop {strategy.trailing_stop_pct:g} %"
        ax.plot([], [], color=_TRAIL, linestyle=":", label=label)


def _floats(values: pd.Series[Any]) -> list[float]:
    return [float("nan") if pd.isna(value) else float(value) for value in values]
