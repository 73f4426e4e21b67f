from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim.readings import Readings
from lasersell.sim.strategy import Exit, ExitState, Rulebook, Surroundings
from lasersell.sim.valuation import Valuation

_ENTRY = 100_000_000
_LADDER = (
    TakeProfitLevel(profit_pct=20, sell_pct=25),
    TakeProfitLevel(profit_pct=50, sell_pct=50, trailing_stop_pct=3),
    TakeProfitLevel(profit_pct=100, sell_pct=100, trailing_stop_pct=5),
)


_NOWHERE = Surroundings()


def _evaluate(
    strategy: StrategyConfig,
    value: Valuation,
    state: ExitState,
    around: Surroundings = _NOWHERE,
) -> Exit | None:
    """Return the decision of a strategy, asked once."""
    return Rulebook(strategy).decide(value, state, around)


def _value(profit_pct: float) -> Valuation:
    return Valuation(_ENTRY, _ENTRY + round(_ENTRY * profit_pct / 100))


def _run(
    profits_pct: Sequence[float], readings: Readings | None = None, **strategy: Any
) -> tuple[int, str] | None:
    """Return the tick at which the strategy first fires, and why; None if never."""
    state = ExitState()
    around = Surroundings(readings=readings or Readings())
    for tick, profit_pct in enumerate(profits_pct):
        decision = _evaluate(
            StrategyConfig(**strategy), _value(profit_pct), state, around
        )
        if decision is not None:
            return tick, decision.reason
    return None


def _climb(
    profits_pct: Sequence[float],
    readings: Readings | None = None,
    *,
    sellable: Sequence[int] = (),
    **strategy: Any,
) -> list[tuple[int, Exit]]:
    """Return every exit of a ladder with its tick, each landed at once, of 1000 tokens."""
    config = StrategyConfig(take_profit_levels=_LADDER, **strategy)
    state, free, exits = ExitState(), 1000, []
    for tick, profit_pct in enumerate(profits_pct):
        while free > 0:
            around = Surroundings(
                readings=readings or Readings(),
                free_tokens=free,
                sellable_tokens=sellable[tick] if sellable else None,
            )
            decision = _evaluate(config, _value(profit_pct), state, around)
            if decision is None:
                break
            exits.append((tick, decision))
            free -= free if decision.tokens is None else decision.tokens
    return exits


@pytest.mark.parametrize(
    ("profits_pct", "strategy", "expected"),
    [
        # Section 7.4: target 50 on 1 SOL sells at 1.5, stop 10 at 0.9, stop 15 at 85 %.
        ([49.9, 50.0], {"target_profit_pct": 50}, (1, "target_profit")),
        ([-9.9, -10.0], {"stop_loss_pct": 10}, (1, "stop_loss")),
        ([-14.9, -15.0], {"stop_loss_pct": 15}, (1, "stop_loss")),
        # Section 7.5, the worked table with a trail of 5.
        (
            [0, 3, 8, 6, 4, 2.5],
            {"trailing_stop_pct": 5},
            (5, "trailing_stop"),
        ),
        # Peak 30, trail 5: 25.1 holds, 25 sells.
        ([30, 25.1, 25], {"trailing_stop_pct": 5}, (2, "trailing_stop")),
        # A peak below the trail never arms it.
        ([3, -2, -10], {"trailing_stop_pct": 5}, None),
        # The fall is exact where the difference of two percentages is not.
        ([8.1, 5.1], {"trailing_stop_pct": 3}, (1, "trailing_stop")),
        ([1.1], {"target_profit_pct": 1.1}, (0, "target_profit")),
        # Section 7.8, the wire types: once 20 was reached, 0 sells.
        ([19.9, -5, 20, 0.1, 0], {"breakeven_trail_pct": 20}, (4, "breakeven")),
        ([19.9, -50], {"breakeven_trail_pct": 20}, None),
        # Nothing set, nothing sold.
        ([-99, 400, -99], {}, None),
        ([-99, 400], {"target_profit_pct": 0, "stop_loss_pct": 0}, None),
    ],
)
def test_a_rule_fires_at_the_tick_its_formula_gives(
    profits_pct: list[float],
    strategy: dict[str, Any],
    expected: tuple[int, str] | None,
) -> None:
    """Each rule fires at its boundary, and not before."""
    assert _run(profits_pct, **strategy) == expected


@pytest.mark.parametrize(
    ("profits_pct", "expected"),
    [
        # Section 7.8, the table with X = 2.
        ([-5, 0, 3, -1, -2.5], (4, "breakeven")),
        ([-0.1, -50], None),
        ([0, -2], (1, "breakeven")),
    ],
)
def test_breakeven_may_be_a_stop_below_the_entry(
    profits_pct: list[float], expected: tuple[int, str] | None
) -> None:
    """In the other reading it is active from 0 on, and a loss of X sells."""
    readings = Readings(breakeven="stop_below_entry")
    assert _run(profits_pct, readings, breakeven_trail_pct=2) == expected


def test_a_trailing_stop_may_be_active_from_the_first_profit_on() -> None:
    """In the other reading a peak of 3 with a trail of 5 sells at -2."""
    readings = Readings(trailing="peak_above_zero")
    assert _run([3, -1.9, -2], readings, trailing_stop_pct=5) == (2, "trailing_stop")
    assert _run([0, -99], readings, trailing_stop_pct=5) is None


def test_a_loss_is_reported_as_a_loss_when_the_trail_is_hit_too() -> None:
    """Where stop and trailing stop are true on one tick, the stop wins."""
    fired = _run([8, -20], stop_loss_pct=10, trailing_stop_pct=5)
    assert fired == (1, "stop_loss")


@pytest.mark.parametrize(
    ("strategy", "profit_pct", "expected"),
    [
        ({"stop_loss_pct": 10}, -20, "stop_loss"),
        ({}, -20, "breakeven"),
        ({"breakeven_trail_pct": 0}, -20, "liquidity_guard"),
        ({"breakeven_trail_pct": 0, "liquidity_guard": False}, -20, "graduation"),
    ],
)
def test_protective_rules_come_in_their_order(
    strategy: dict[str, Any], profit_pct: float, expected: str
) -> None:
    """Stop, breakeven, liquidity guard, graduation: the first that is true wins."""
    state = ExitState()
    around = Surroundings(
        readings=Readings(liquidity_guard="exit"), has_drained=True, has_graduated=True
    )
    everything = StrategyConfig(
        **{
            "breakeven_trail_pct": 5,
            "liquidity_guard": True,
            "sell_on_graduation": True,
            "trailing_stop_pct": 1,
            **strategy,
        }
    )
    state.see(_value(10))
    decision = _evaluate(everything, _value(profit_pct), state, around)
    assert decision == Exit(expected)


def test_the_target_comes_before_the_trailing_stop() -> None:
    """Where target and trailing stop are true on one tick, the target wins."""
    state = ExitState()
    _evaluate(StrategyConfig(), Valuation(_ENTRY, 2 * _ENTRY), state)
    strategy = StrategyConfig(target_profit_pct=50, trailing_stop_pct=5)
    decision = _evaluate(strategy, Valuation(_ENTRY, _ENTRY * 3 // 2), state)
    assert decision == Exit("target_profit")


def test_the_peak_is_seen_by_a_strategy_without_a_trail_too() -> None:
    """A trailing stop that is set later falls from the peak seen before."""
    state = ExitState()
    _evaluate(StrategyConfig(), Valuation(_ENTRY, _ENTRY * 2), state)
    trailing = StrategyConfig(trailing_stop_pct=5)
    assert _evaluate(trailing, Valuation(_ENTRY, _ENTRY), state) == Exit(
        "trailing_stop"
    )


@pytest.mark.parametrize("has_graduated", [True, False])
def test_a_graduation_sells_if_the_strategy_says_so(has_graduated: bool) -> None:
    """It fires on the tick after the move, for strategies with the switch only."""
    around = Surroundings(has_graduated=has_graduated)
    selling = StrategyConfig(sell_on_graduation=True)
    decision = _evaluate(selling, _value(0), ExitState(), around)
    assert decision == (Exit("graduation") if has_graduated else None)
    assert _evaluate(StrategyConfig(), _value(0), ExitState(), around) is None


# --- the ladder ---------------------------------------------------------------


def test_a_ladder_sells_at_its_levels_and_then_trails() -> None:
    """The example of 7.6: a quarter at 20, half of the rest at 50 and a trail of 3."""
    exits = _climb([20, 50, 53, 50], target_profit_pct=10, trailing_stop_pct=40)
    assert exits == [
        (0, Exit("target_profit", 0, 250)),
        (1, Exit("target_profit", 1, 375)),
        (3, Exit("trailing_stop")),
    ]


def test_levels_reached_on_one_tick_are_all_taken() -> None:
    """A jump over the whole ladder sells everything at once, level by level."""
    exits = _climb([120])
    assert exits == [
        (0, Exit("target_profit", 0, 250)),
        (0, Exit("target_profit", 1, 375)),
        (0, Exit("target_profit", 2, 375)),
    ]


def test_a_level_without_a_trail_leaves_the_trail_as_it_is() -> None:
    """A level's trail of 0 changes nothing."""
    assert _climb([30, 25], trailing_stop_pct=5)[1:] == [(1, Exit("trailing_stop"))]


def test_a_ladder_may_arm_trails_instead() -> None:
    """In the other reading levels with a trail sell their slice when it falls back."""
    readings = Readings(ladder="arm")
    exits = _climb([20, 50, 60, 57, 100, 97, 95], readings)
    assert exits == [
        (0, Exit("target_profit", 0, 250)),
        (3, Exit("trailing_stop", 1, 375)),
        (6, Exit("trailing_stop", 2, 375)),
    ]


def test_the_target_still_sells_everything_where_levels_arm() -> None:
    """In the other reading the target is a cap on a ladder."""
    readings = Readings(ladder="arm")
    exits = _climb([50, 70], readings, target_profit_pct=70)
    assert exits == [
        (0, Exit("target_profit", 0, 250)),
        (1, Exit("target_profit")),
    ]


def test_a_thin_pool_shrinks_a_level_and_the_next_one_sells_the_rest() -> None:
    """With the guard a level sells what the pool takes; without it, all it should."""
    profits, sellable = [20, 50], [100, 10_000]
    guarded = _climb(profits, sellable=sellable, liquidity_guard=True)
    assert [decision.tokens for _, decision in guarded] == [100, 150 + 375]
    unguarded = _climb(profits, sellable=sellable)
    assert [decision.tokens for _, decision in unguarded] == [250, 375]


def test_a_pool_that_takes_nothing_gives_no_signal() -> None:
    """A level that can sell nothing is taken in silence."""
    exits = _climb([20, 50], sellable=[0, 10_000], liquidity_guard=True)
    assert exits == [(1, Exit("target_profit", 1, 250 + 375))]


def test_a_guard_that_is_no_exit_never_sells() -> None:
    """A drained pool is a reason to sell in one reading only."""
    around = Surroundings(has_drained=True)
    guarded = StrategyConfig(liquidity_guard=True)
    assert _evaluate(guarded, _value(0), ExitState(), around) is None


def test_another_ladder_starts_over_and_the_same_one_goes_on() -> None:
    """A strategy with different levels begins at the lowest, an equal one does not."""
    state = ExitState()
    around = Surroundings(free_tokens=1000)
    first = StrategyConfig(take_profit_levels=_LADDER)
    assert _evaluate(first, _value(20), state, around) is not None
    same = attrs.evolve(first, stop_loss_pct=7)
    assert _evaluate(same, _value(20), state, around) is None
    other = StrategyConfig(take_profit_levels=_LADDER[:1])
    assert _evaluate(other, _value(20), state, around) == Exit("target_profit", 0, 250)


@pytest.mark.parametrize(
    ("reading", "sold"),
    [("remaining", [250, 375, 375]), ("position", [250, 500, 250])],
)
def test_what_a_level_sells_its_percentage_of(reading: Any, sold: list[int]) -> None:
    """25, 50 and 100 % are of what is left or, in the other reading, of the whole."""
    exits = _climb([20, 50, 100], Readings(sell_pct=reading))
    assert [decision.tokens for _, decision in exits] == sold


@pytest.mark.parametrize(("reading", "tick"), [("at", 1), ("below", 2)])
def test_the_boundary_of_a_trailing_stop(reading: Any, tick: int) -> None:
    """From a peak of 30, a trail of 5 sells at 25 or, in the other reading, below it."""
    fired = _run(
        [30, 25, 24.9], Readings(trailing_boundary=reading), trailing_stop_pct=5
    )
    assert fired == (tick, "trailing_stop")
