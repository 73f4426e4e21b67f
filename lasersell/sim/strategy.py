"""
When a position must be sold: the rules of a strategy, and the order they are asked in.

Definitions, after section 7 of the protocol facts: entry is what the position
cost, profit what selling it now would bring less the entry, p = 100 * profit /
entry, and peak the highest p seen by this session, 0 at least. After a part was
sold, entry and profit are those of what is left.

All rules are asked on each tick, in this order. Where more than one is true on
the same tick, which the documents leave open, the first one wins:

1. ``stop_loss``: ``-p >= stop_loss_pct``. First, so that a loss is never reported
   as anything milder.
2. ``breakeven``: the peak was ``breakeven_trail_pct`` or more and ``p <= 0``; or, in
   the other reading, p was 0 or more once and ``-p >= breakeven_trail_pct``.
3. ``liquidity_guard``: only where it is read as an exit: half of the pool's quote
   side has gone since the position is tracked. The documents give no number.
4. ``graduation``: the token moved to its full market since the last tick.
5. ``target_profit``: ``p >= target_profit_pct``. Where levels sell, a strategy with
   levels has no target.
6. The ladder, lowest level first, as ``target_profit`` with the level's index: ``p >=
   profit_pct`` of the level. Where levels arm, slices that fell back come next, as
   ``trailing_stop`` with the index.
7. ``trailing_stop``: ``peak - p >= trailing_stop_pct``, in points of the entry, not a
   share of the peak; active once the peak reached the trail or, in the other
   reading, was above 0. The trail is that of the last level taken, if it gave one.

Every boundary is inclusive and a percentage of 0 is off. A partial exit does not
end the tick: the rules are asked again until none fires or everything is sold.
For ``breakeven`` and ``liquidity_guard`` no reason was ever published; they are
named after their fields. :mod:`lasersell.sim.readings` has the readings.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.ladder import ArmedSlice, LadderProgress
from lasersell.sim.readings import Readings
from lasersell.sim.valuation import Valuation

__all__ = ["Exit", "ExitState", "Surroundings", "Valuation", "evaluate"]


@attrs.frozen
class Exit:
    """
    A decision to sell.

    Attributes:
        reason: The reason as the wire names it.
        level_index: The level of the ladder that made it; None if none did.
        tokens: How much to sell, in token atomic units; None is all that is held.
    """

    reason: str
    level_index: int | None = None
    tokens: int | None = None


@attrs.define
class ExitState:
    """
    What the rules remember about one position between ticks.

    Attributes:
        highest: The position at its highest profit in percent; None before the
            first tick.
        ladder: How far it is up its ladder.
    """

    highest: Valuation | None = None
    ladder: LadderProgress = attrs.field(factory=LadderProgress)

    def see(self, value: Valuation) -> None:
        """Take note of this tick before the rules are asked."""
        if self.highest is None or value.is_above(self.highest):
            self.highest = value
        if self.ladder.armed:
            self.ladder.see(value)

    @property
    def peak_pct(self) -> float:
        """The highest profit in percent of the entry; a position starts at none."""
        return 0.0 if self.highest is None else max(0.0, self.highest.profit_pct)


@attrs.frozen(kw_only=True)
class Surroundings:
    """
    What the rules must know besides the position's worth.

    Attributes:
        readings: How the documents are read.
        free_tokens: Tokens held that no exit under way takes, in atomic units.
        sellable_tokens: The most the pool takes at once, in token atomic units;
            None if that does not matter.
        has_graduated: Whether the token graduated since the last tick.
        has_drained: Whether half of the pool has gone.
    """

    readings: Readings = attrs.field(factory=Readings)
    free_tokens: int = 0
    sellable_tokens: int | None = None
    has_graduated: bool = False
    has_drained: bool = False


_NOWHERE = Surroundings()


@attrs.frozen
class _Case:
    """One question put to every rule."""

    strategy: StrategyConfig
    value: Valuation
    state: ExitState
    around: Surroundings


def evaluate(
    strategy: StrategyConfig,
    value: Valuation,
    state: ExitState,
    around: Surroundings = _NOWHERE,
) -> Exit | None:
    """
    Return the next decision of this tick, if one of the rules fires.

    After a partial exit ask again, with that much less in ``around.free_tokens``.
    The order of the questions is the order of evaluation this module describes.
    """
    state.see(value)
    if strategy.take_profit_levels != state.ladder.levels:
        state.ladder = LadderProgress(strategy.take_profit_levels)
    case = _Case(strategy, value, state, around)
    for rule in _RULES:
        decision = rule(case)
        if decision is not None:
            return decision
    return None


def _stop_loss(case: _Case) -> Exit | None:
    stop = case.strategy.stop_loss_pct
    return Exit("stop_loss") if 0 < stop <= -case.value.profit_pct else None


def _breakeven(case: _Case) -> Exit | None:
    distance = case.strategy.breakeven_trail_pct
    if distance == 0:
        return None
    if case.around.readings.breakeven == "stop_at_entry":
        fires = distance <= case.state.peak_pct and case.value.profit_units <= 0
    else:
        highest = case.state.highest
        was_even = highest is not None and highest.profit_units >= 0
        fires = was_even and distance <= -case.value.profit_pct
    return Exit("breakeven") if fires else None


def _liquidity_guard(case: _Case) -> Exit | None:
    is_exit = case.around.readings.liquidity_guard == "exit"
    is_on = is_exit and case.strategy.liquidity_guard
    return Exit("liquidity_guard") if is_on and case.around.has_drained else None


def _graduation(case: _Case) -> Exit | None:
    sells = case.strategy.sell_on_graduation and case.around.has_graduated
    return Exit("graduation") if sells else None


def _target_profit(case: _Case) -> Exit | None:
    target = case.strategy.target_profit_pct
    is_ignored = case.state.ladder.levels and case.around.readings.ladder == "sell"
    fires = not is_ignored and 0 < target <= case.value.profit_pct
    return Exit("target_profit") if fires else None


def _ladder(case: _Case) -> Exit | None:
    if not case.state.ladder.levels:
        return None
    if case.around.readings.ladder == "sell":
        return _level_that_sells(case)
    return _level_that_may_arm(case) or _slice_that_fell_back(case)


def _level_that_sells(case: _Case) -> Exit | None:
    ladder = case.state.ladder
    while (taken := ladder.take_level(case.value)) is not None:
        index, level = taken
        if level.trailing_stop_pct > 0:
            ladder.trailing_stop_pct = level.trailing_stop_pct
        tokens = _to_sell(case, level.sell_pct)
        if tokens > 0:
            return Exit("target_profit", index, tokens)
    return None


def _level_that_may_arm(case: _Case) -> Exit | None:
    ladder = case.state.ladder
    while (taken := ladder.take_level(case.value)) is not None:
        index, level = taken
        tokens = _to_sell(case, level.sell_pct)
        if tokens == 0:
            continue
        if level.trailing_stop_pct == 0:
            return Exit("target_profit", index, tokens)
        ladder.armed.append(
            ArmedSlice(index, tokens, level.trailing_stop_pct, case.value)
        )
    return None


def _to_sell(case: _Case, sell_pct: float) -> int:
    around, ladder = case.around, case.state.ladder
    left = ladder.unarmed(around.free_tokens)
    is_guarded = case.strategy.liquidity_guard and (
        around.readings.liquidity_guard == "shrink"
    )
    sellable = around.sellable_tokens if is_guarded else None
    return ladder.to_sell(left, sell_pct, sellable)


def _slice_that_fell_back(case: _Case) -> Exit | None:
    part = case.state.ladder.take_slice(case.value)
    if part is None:
        return None
    tokens = min(part.tokens, case.around.free_tokens)
    return Exit("trailing_stop", part.level_index, tokens) if tokens > 0 else None


def _trailing_stop(case: _Case) -> Exit | None:
    trail = case.state.ladder.trailing_stop_pct or case.strategy.trailing_stop_pct
    highest = case.state.highest
    if trail == 0 or highest is None:
        return None
    peak_pct = case.state.peak_pct
    if case.around.readings.trailing == "peak_reaches_trail":
        is_active = trail <= peak_pct
    else:
        is_active = peak_pct > 0
    fires = is_active and trail <= case.value.fall_pct(highest)
    return Exit("trailing_stop") if fires else None


_Rule = Callable[[_Case], Exit | None]

_RULES: tuple[_Rule, ...] = (
    _stop_loss,
    _breakeven,
    _liquidity_guard,
    _graduation,
    _target_profit,
    _ladder,
    _trailing_stop,
)
"""The order of evaluation."""
