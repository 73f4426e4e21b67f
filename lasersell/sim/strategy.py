"""
When a position must be sold: the rules of a strategy, and the order they are asked in.

Definitions, after section 7 of the protocol facts: entry is what the position
cost, profit what selling it now would bring less the entry, p = 100 * profit /
entry, and peak the highest profit seen by this session. All conditions are
looked at on each tick; where more than one is true on the same tick, which the
documents leave open, the first of these wins:

1. ``stop_loss``: ``-p >= stop_loss_pct``. Asked first, so that a loss is never
   reported as anything milder.
2. ``target_profit``: ``p >= target_profit_pct``.
3. ``trailing_stop``: ``peak - p >= trailing_stop_pct``, both in percent of the
   entry (points, not a share of the peak). Active once the peak reached
   ``trailing_stop_pct``. The documents also say "once profit was above 0"; their
   worked table fits the first reading only, in which a peak of 3 with a trail
   of 5 never sells at -2.

Every boundary is inclusive and a percentage of 0 is off. Profits are compared
as one exact quotient of integers, never as a difference of two rounded
percentages: a fall from 8.1 % to 5.1 % is 3 % and fires a trail of 3.
"""

from __future__ import annotations

import attrs

from lasersell.protocol.strategy import StrategyConfig

__all__ = ["Exit", "ExitState", "Valuation", "evaluate"]


@attrs.frozen
class Valuation:
    """
    What a position is worth on one tick.

    Attributes:
        entry_quote_units: What it cost.
        proceeds_units: What selling it now would bring, slippage included.
    """

    entry_quote_units: int
    proceeds_units: int

    @property
    def profit_units(self) -> int:
        """What selling now would gain; negative for a loss."""
        return self.proceeds_units - self.entry_quote_units

    def percent(self, quote_units: int) -> float:
        """Return an amount in percent of the entry."""
        return 100 * quote_units / self.entry_quote_units


@attrs.frozen
class Exit:
    """
    A decision to sell.

    Attributes:
        reason: The reason as the wire names it.
    """

    reason: str


@attrs.define
class ExitState:
    """
    What the rules remember about one position between ticks.

    Attributes:
        peak_profit_units: The highest profit seen; a position starts at none.
    """

    peak_profit_units: int = 0

    def see(self, value: Valuation) -> None:
        """Take note of this tick before the rules are asked."""
        self.peak_profit_units = max(self.peak_profit_units, value.profit_units)


def evaluate(
    strategy: StrategyConfig, value: Valuation, state: ExitState
) -> Exit | None:
    """
    Return the decision of this tick, if one of the rules fires.

    The order of the questions is the order of evaluation this module describes.
    """
    state.see(value)
    if _has_lost(strategy, value):
        return Exit("stop_loss")
    if _has_gained(strategy, value):
        return Exit("target_profit")
    if _has_fallen_back(strategy, value, state):
        return Exit("trailing_stop")
    return None


def _has_lost(strategy: StrategyConfig, value: Valuation) -> bool:
    loss_pct = value.percent(-value.profit_units)
    return 0 < strategy.stop_loss_pct <= loss_pct


def _has_gained(strategy: StrategyConfig, value: Valuation) -> bool:
    profit_pct = value.percent(value.profit_units)
    return 0 < strategy.target_profit_pct <= profit_pct


def _has_fallen_back(
    strategy: StrategyConfig, value: Valuation, state: ExitState
) -> bool:
    trail = strategy.trailing_stop_pct
    peak_pct = value.percent(state.peak_profit_units)
    fall_pct = value.percent(state.peak_profit_units - value.profit_units)
    return 0 < trail <= peak_pct and trail <= fall_pct
