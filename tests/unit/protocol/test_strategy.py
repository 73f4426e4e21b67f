from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.strategy import (
    MAX_TAKE_PROFIT_LEVELS,
    StrategyConfig,
    TakeProfitLevel,
    validate_strategy,
)

_PERCENTAGES = [
    "target_profit_pct",
    "stop_loss_pct",
    "trailing_stop_pct",
    "breakeven_trail_pct",
]


def _strategy(**changes: Any) -> StrategyConfig:
    return StrategyConfig(**changes)


def _level(profit_pct: Any = 20, sell_pct: Any = 50, trail: Any = 0) -> TakeProfitLevel:
    return TakeProfitLevel(
        profit_pct=profit_pct, sell_pct=sell_pct, trailing_stop_pct=trail
    )


@pytest.mark.parametrize(
    "strategy",
    [
        *(_strategy(**{name: 5}) for name in _PERCENTAGES),
        *(_strategy(**{name: 0.1}) for name in _PERCENTAGES),
        _strategy(sell_on_graduation=True),
        _strategy(take_profit_levels=[_level()]),
        _strategy(stop_loss_pct=250),
    ],
    ids=str,
)
def test_any_one_exit_condition_is_enough(strategy: StrategyConfig) -> None:
    """Target, stop, trailing stop, breakeven, graduation or a ladder each count."""
    validate_strategy(strategy)


@pytest.mark.parametrize("deadline", [45, 0.5])
def test_a_deadline_is_enough(deadline: float) -> None:
    """A strategy that sets nothing is valid with a deadline."""
    validate_strategy(StrategyConfig(), deadline)


@pytest.mark.parametrize(
    "strategy", [_strategy(), _strategy(liquidity_guard=True)], ids=str
)
def test_a_strategy_that_never_exits_is_refused(strategy: StrategyConfig) -> None:
    """Without a condition there is no exit; the guard alone triggers none."""
    with pytest.raises(
        ConfigurationError, match="no exit condition: set at least one of"
    ):
        validate_strategy(strategy)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, -math.inf, 10**400])
@pytest.mark.parametrize("name", _PERCENTAGES)
def test_a_percentage_is_finite_and_not_negative(name: str, value: Any) -> None:
    """NaN, infinity and negative numbers are refused in every percentage, by name."""
    strategy = attrs.evolve(_strategy(sell_on_graduation=True), **{name: value})
    with pytest.raises(ConfigurationError, match=f"strategy.{name} must be finite"):
        validate_strategy(strategy)


@pytest.mark.parametrize("value", ["5", True, None, [5]])
@pytest.mark.parametrize("name", _PERCENTAGES)
def test_a_percentage_is_a_number(name: str, value: Any) -> None:
    """Texts, flags and None are no numbers."""
    with pytest.raises(ConfigurationError, match=f"strategy.{name} must be a number"):
        validate_strategy(_strategy(**{name: value}), 1)


@pytest.mark.parametrize("value", [1, "yes", None])
@pytest.mark.parametrize("name", ["sell_on_graduation", "liquidity_guard"])
def test_a_switch_is_a_bool(name: str, value: Any) -> None:
    """What merely looks true is no switch."""
    with pytest.raises(
        ConfigurationError, match=f"strategy.{name} must be True or False"
    ):
        validate_strategy(_strategy(**{name: value}), 1)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "5", True, None])
def test_a_deadline_is_finite_and_not_negative(value: Any) -> None:
    """A deadline must be a sound number even when the strategy needs none."""
    with pytest.raises(ConfigurationError, match="deadline_timeout_sec must be"):
        validate_strategy(_strategy(target_profit_pct=5), value)


@pytest.mark.parametrize(
    ("level", "problem"),
    [
        (_level(profit_pct=0), r"levels\[1\].profit_pct must be above 0"),
        (_level(profit_pct=-5), r"levels\[1\].profit_pct must be finite and not neg"),
        (_level(profit_pct=math.nan), r"levels\[1\].profit_pct must be finite"),
        (_level(profit_pct="30"), r"levels\[1\].profit_pct must be a number"),
        (_level(sell_pct=0), r"levels\[1\].sell_pct must be above 0 and at most 100"),
        (
            _level(sell_pct=100.5),
            r"levels\[1\].sell_pct must be above 0 and at most 100",
        ),
        (_level(sell_pct=True), r"levels\[1\].sell_pct must be a number"),
        (_level(trail=-1), r"levels\[1\].trailing_stop_pct must be finite and not neg"),
        (_level(trail=math.inf), r"levels\[1\].trailing_stop_pct must be finite"),
        ({"profit_pct": 30}, r"levels\[1\] must be a TakeProfitLevel, not dict"),
    ],
    ids=str,
)
def test_an_unsound_level_is_refused_by_its_place(level: Any, problem: str) -> None:
    """A bad level is named by where it stands in the ladder and by its field."""
    strategy = _strategy(take_profit_levels=[_level(profit_pct=10), level])
    with pytest.raises(ConfigurationError, match=problem):
        validate_strategy(strategy)


@pytest.mark.parametrize("profits", [(20, 10), (10, 10), (10, 30, 20)])
def test_a_ladder_ascends(profits: tuple[float, ...]) -> None:
    """Each level must need more profit than the one before."""
    ladder = [_level(profit_pct=profit) for profit in profits]
    with pytest.raises(ConfigurationError, match="must ascend"):
        validate_strategy(_strategy(take_profit_levels=ladder))


def test_a_ladder_has_at_most_ten_levels() -> None:
    """Ten levels are valid, eleven are not."""
    ladder = [_level(profit_pct=10 * step) for step in range(1, 12)]
    validate_strategy(_strategy(take_profit_levels=ladder[:MAX_TAKE_PROFIT_LEVELS]))
    with pytest.raises(ConfigurationError, match="has 11 levels; at most 10"):
        validate_strategy(_strategy(take_profit_levels=ladder))


def test_the_shares_of_a_ladder_need_not_add_up_to_100() -> None:
    """Each share is of what is still held, so 25, 50, 100 sells exactly all."""
    ladder = [_level(20, 25), _level(50, 50), _level(100, 100)]
    validate_strategy(_strategy(take_profit_levels=ladder))


def test_a_strategy_is_a_value() -> None:
    """Equal strategies are equal and hash alike, whatever sequence the ladder came in."""
    first = _strategy(target_profit_pct=5, take_profit_levels=[_level()])
    second = _strategy(target_profit_pct=5.0, take_profit_levels=(_level(),))
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        first.target_profit_pct = 6  # type: ignore[misc]  # that it fails is the point


def test_what_is_not_set_is_off() -> None:
    """Every default is 0, False or empty."""
    assert not any(attrs.astuple(StrategyConfig()))
