from __future__ import annotations

import pytest

from lasersell.protocol.strategy import TakeProfitLevel
from lasersell.sim.ladder import ArmedSlice, LadderProgress, share_of
from lasersell.sim.readings import Readings
from lasersell.sim.valuation import Valuation

_LEVELS = (
    TakeProfitLevel(profit_pct=20, sell_pct=25),
    TakeProfitLevel(profit_pct=50, sell_pct=50, trailing_stop_pct=3),
)


def _at(profit_pct: int) -> Valuation:
    return Valuation(1000, 1000 + 10 * profit_pct)


@pytest.mark.parametrize(
    ("tokens", "percent", "share"),
    [
        (1000, 25, 250),
        (3, 50, 1),
        (1000, 100, 1000),
        (1000, 33.3, 333),
        (10**18, 0.1, 10**15),
        (0, 100, 0),
    ],
)
def test_a_share_is_exact_and_rounded_down(
    tokens: int, percent: float, share: int
) -> None:
    """A percentage of tokens is that of the decimal number, however many there are."""
    assert share_of(tokens, percent) == share


def test_levels_are_taken_from_the_lowest_each_once() -> None:
    """A level is taken when its profit is reached, and not again."""
    ladder = LadderProgress(_LEVELS)
    assert ladder.take_level(_at(19)) is None
    assert ladder.take_level(_at(20)) == (0, _LEVELS[0])
    assert ladder.take_level(_at(49)) is None
    assert ladder.take_level(_at(90)) == (1, _LEVELS[1])
    assert ladder.take_level(_at(90)) is None


def test_a_slice_is_sold_when_it_fell_from_its_own_peak() -> None:
    """A slice's peak counts from when it was armed; its trail fires at the boundary."""
    ladder = LadderProgress(_LEVELS, armed=[ArmedSlice(1, 100, 3.0, _at(50))])
    for profit_pct in (55, 53):
        ladder.see(_at(profit_pct))
        assert ladder.take_slice(_at(profit_pct)) is None
    ladder.see(_at(52))
    part = ladder.take_slice(_at(52))
    assert part is not None
    assert part.level_index == 1
    assert ladder.take_slice(_at(0)) is None


def test_armed_slices_leave_less_for_the_next_level() -> None:
    """What is armed is not sold twice, and never leaves less than nothing."""
    ladder = LadderProgress(_LEVELS, armed=[ArmedSlice(0, 300, 3.0, _at(20))])
    assert ladder.unarmed(1000) == 700
    assert ladder.unarmed(200) == 0


def test_what_a_thin_pool_did_not_take_is_sold_by_the_next_level() -> None:
    """The plan is kept: after the next level as much is left as without the guard."""
    ladder = LadderProgress(_LEVELS)
    assert ladder.to_sell(1000, 25, sellable=100) == 100
    assert ladder.carried_tokens == 150
    assert ladder.to_sell(900, 50, sellable=None) == 150 + 375
    assert ladder.carried_tokens == 0


def test_no_more_is_carried_than_is_held() -> None:
    """After the wallet sold by itself, what was carried is what is left at most."""
    ladder = LadderProgress(_LEVELS, carried_tokens=500)
    assert ladder.to_sell(100, 50, sellable=None) == 100


def test_a_level_may_sell_of_the_whole_position() -> None:
    """In the other reading 50 % is half of what the ladder began with, or all there is."""
    ladder = LadderProgress(_LEVELS, whole=1000)
    whole = Readings(sell_pct="position")
    assert ladder.to_sell(750, 50, None, whole) == 500
    assert ladder.to_sell(250, 50, None, whole) == 250


def test_a_slice_at_its_boundary_may_be_kept() -> None:
    """In the other reading a trail of 3 does not fire 3 points below the peak."""
    below = Readings(trailing_boundary="below")
    ladder = LadderProgress(_LEVELS, armed=[ArmedSlice(1, 100, 3.0, _at(50))])
    assert ladder.take_slice(_at(47), below) is None
    assert ladder.take_slice(_at(46), below) is not None
