from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.strategy import Exit, ExitState, Valuation, evaluate

_ENTRY = 100_000_000


def _run(profits_pct: list[float], **strategy: Any) -> tuple[int, str] | None:
    """Return the tick at which the strategy first fires, and why; None if never."""
    state = ExitState()
    for tick, profit_pct in enumerate(profits_pct):
        value = Valuation(_ENTRY, _ENTRY + round(_ENTRY * profit_pct / 100))
        decision = evaluate(StrategyConfig(**strategy), value, state)
        if decision is not None:
            return tick, decision.reason
    return None


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
    """Target, stop and trailing stop fire at their boundary, and not before."""
    assert _run(profits_pct, **strategy) == expected


def test_a_loss_is_reported_as_a_loss_when_the_trail_is_hit_too() -> None:
    """Where stop and trailing stop are true on one tick, the stop wins."""
    fired = _run([8, -20], stop_loss_pct=10, trailing_stop_pct=5)
    assert fired == (1, "stop_loss")


def test_the_target_comes_before_the_trailing_stop() -> None:
    """Where target and trailing stop are true on one tick, the target wins."""
    state = ExitState()
    evaluate(StrategyConfig(), Valuation(_ENTRY, 2 * _ENTRY), state)
    strategy = StrategyConfig(target_profit_pct=50, trailing_stop_pct=5)
    decision = evaluate(strategy, Valuation(_ENTRY, _ENTRY * 3 // 2), state)
    assert decision == Exit("target_profit")


def test_the_peak_is_seen_by_a_strategy_without_a_trail_too() -> None:
    """A trailing stop that is set later falls from the peak seen before."""
    state = ExitState()
    evaluate(StrategyConfig(), Valuation(_ENTRY, _ENTRY * 2), state)
    trailing = StrategyConfig(trailing_stop_pct=5)
    assert evaluate(trailing, Valuation(_ENTRY, _ENTRY), state) == Exit("trailing_stop")


@settings(deadline=None)
@given(
    entry=st.integers(1, 10**12),
    proceeds=st.lists(st.integers(0, 3 * 10**12), min_size=1, max_size=30),
    target=st.integers(0, 3000),
    stop=st.integers(0, 1000),
    trail=st.integers(0, 1000),
)
def test_every_decision_is_that_of_exact_arithmetic(
    entry: int, proceeds: list[int], target: int, stop: int, trail: int
) -> None:
    """On any path the rules decide as fractions do, for thresholds of a tenth."""
    strategy = StrategyConfig(
        target_profit_pct=target / 10,
        stop_loss_pct=stop / 10,
        trailing_stop_pct=trail / 10,
    )
    state = ExitState()
    peak = Fraction(0)
    for amount in proceeds:
        percent = Fraction(100 * (amount - entry), entry)
        peak = max(peak, percent)
        expected = None
        if stop > 0 and Fraction(stop, 10) <= -percent:
            expected = Exit("stop_loss")
        elif target > 0 and Fraction(target, 10) <= percent:
            expected = Exit("target_profit")
        elif trail > 0 and Fraction(trail, 10) <= min(peak, peak - percent):
            expected = Exit("trailing_stop")
        assert evaluate(strategy, Valuation(entry, amount), state) == expected
