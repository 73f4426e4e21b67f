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

Every boundary is inclusive, but a trail's in one reading, and a percentage of 0 is
off. A partial exit does not
end the tick: the rules are asked again until none fires or everything is sold.
For ``breakeven`` and ``liquidity_guard`` no reason was ever published; they are
named after their fields. :mod:`lasersell.sim.readings` has the readings.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim.ladder import ArmedSlice, LadderProgress, has_fallen_back
from lasersell.sim.readings import Readings
from lasersell.sim.valuation import Valuation

__all__ = ["Exit", "ExitState", "Rulebook", "Surroundings"]


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

    def follow(self, levels: tuple[TakeProfitLevel, ...], tokens: int) -> None:
        """Go up this ladder with so much; one equal to the present one goes on."""
        if levels == self.ladder.levels:
            self.ladder.levels = levels
        else:
            self.ladder = LadderProgress(levels, tokens)

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


class Rulebook:
    """
    The rules of one strategy that are on, ready to be asked on every tick.

    Args:
        strategy: Which rules are on, and at what percentages.

    Attributes:
        strategy: The same.
        looks_around: Whether any of its rules needs to know its surroundings.
    """

    def __init__(self, strategy: StrategyConfig) -> None:
        self.strategy = strategy
        self.looks_around = bool(
            strategy.take_profit_levels
            or strategy.liquidity_guard
            or strategy.sell_on_graduation
        )
        self._rules = tuple(rule for rule, is_on in _RULES if is_on(strategy))

    def decide(
        self, value: Valuation, state: ExitState, around: Surroundings
    ) -> Exit | None:
        """
        Return the next decision of this tick, if one of the rules fires.

        After a partial exit ask again, with that much less in
        ``around.free_tokens``.
        """
        state.see(value)
        strategy = self.strategy
        if strategy.take_profit_levels is not state.ladder.levels:
            state.follow(strategy.take_profit_levels, around.free_tokens)
        for rule in self._rules:
            decision = rule(strategy, value, state, around)
            if decision is not None:
                return decision
        return None


def _stop_loss(
    strategy: StrategyConfig, value: Valuation, _state: ExitState, _around: Surroundings
) -> Exit | None:
    return Exit("stop_loss") if strategy.stop_loss_pct <= -value.profit_pct else None


def _breakeven(
    strategy: StrategyConfig, value: Valuation, state: ExitState, around: Surroundings
) -> Exit | None:
    distance = strategy.breakeven_trail_pct
    if around.readings.breakeven == "stop_at_entry":
        fires = distance <= state.peak_pct and value.profit_units <= 0
    else:
        highest = state.highest
        was_even = highest is not None and highest.profit_units >= 0
        fires = was_even and distance <= -value.profit_pct
    return Exit("breakeven") if fires else None


def _liquidity_guard(
    _strategy: StrategyConfig,
    _value: Valuation,
    _state: ExitState,
    around: Surroundings,
) -> Exit | None:
    fires = around.readings.liquidity_guard == "exit" and around.has_drained
    return Exit("liquidity_guard") if fires else None


def _graduation(
    _strategy: StrategyConfig,
    _value: Valuation,
    _state: ExitState,
    around: Surroundings,
) -> Exit | None:
    return Exit("graduation") if around.has_graduated else None


def _target_profit(
    strategy: StrategyConfig, value: Valuation, _state: ExitState, around: Surroundings
) -> Exit | None:
    if strategy.take_profit_levels and around.readings.ladder == "sell":
        return None
    fires = strategy.target_profit_pct <= value.profit_pct
    return Exit("target_profit") if fires else None


def _ladder(
    strategy: StrategyConfig, value: Valuation, state: ExitState, around: Surroundings
) -> Exit | None:
    sells = around.readings.ladder == "sell"
    ladder = state.ladder
    while (taken := ladder.take_level(value)) is not None:
        index, level = taken
        trail = level.trailing_stop_pct
        if sells and trail > 0:
            ladder.trailing_stop_pct = trail
        tokens = _to_sell(strategy, level.sell_pct, ladder, around)
        if tokens > 0 and trail > 0 and not sells:
            ladder.armed.append(ArmedSlice(index, tokens, trail, value))
        elif tokens > 0:
            return Exit("target_profit", index, tokens)
    return _slice_that_fell_back(value, ladder, around)


def _to_sell(
    strategy: StrategyConfig,
    sell_pct: float,
    ladder: LadderProgress,
    around: Surroundings,
) -> int:
    shrinks = strategy.liquidity_guard and around.readings.liquidity_guard == "shrink"
    return ladder.to_sell(
        ladder.unarmed(around.free_tokens),
        sell_pct,
        around.sellable_tokens if shrinks else None,
        around.readings,
    )


def _slice_that_fell_back(
    value: Valuation, ladder: LadderProgress, around: Surroundings
) -> Exit | None:
    part = ladder.take_slice(value, around.readings)
    if part is None:
        return None
    tokens = min(part.tokens, around.free_tokens)
    return Exit("trailing_stop", part.level_index, tokens) if tokens > 0 else None


def _trailing_stop(
    strategy: StrategyConfig, value: Valuation, state: ExitState, around: Surroundings
) -> Exit | None:
    trail = state.ladder.trailing_stop_pct or strategy.trailing_stop_pct
    highest = state.highest
    if trail == 0 or highest is None:
        return None
    if around.readings.trailing == "peak_reaches_trail":
        is_active = trail <= highest.profit_pct
    else:
        is_active = highest.profit_units > 0
    fires = is_active and has_fallen_back(value, highest, trail, around.readings)
    return Exit("trailing_stop") if fires else None


_Rule = Callable[[StrategyConfig, Valuation, ExitState, Surroundings], Exit | None]

_RULES: tuple[tuple[_Rule, Callable[[StrategyConfig], object]], ...] = (
    (_stop_loss, lambda strategy: strategy.stop_loss_pct),
    (_breakeven, lambda strategy: strategy.breakeven_trail_pct),
    (_liquidity_guard, lambda strategy: strategy.liquidity_guard),
    (_graduation, lambda strategy: strategy.sell_on_graduation),
    (_target_profit, lambda strategy: strategy.target_profit_pct),
    (_ladder, lambda strategy: strategy.take_profit_levels),
    # A level of the ladder may give a trail where the strategy has none.
    (
        _trailing_stop,
        lambda strategy: strategy.trailing_stop_pct or strategy.take_profit_levels,
    ),
)
"""The order of evaluation, and when each rule is on."""
