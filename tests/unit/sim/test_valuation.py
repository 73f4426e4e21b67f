from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasersell.sim.valuation import Valuation

_AMOUNTS = st.integers(0, 10**15)
_ENTRIES = st.integers(1, 10**15)


def test_profit_is_proceeds_less_entry() -> None:
    """A gain is positive, a loss negative, in units and in percent."""
    gain, loss = Valuation(200, 250), Valuation(200, 150)
    assert (gain.profit_units, gain.profit_pct) == (50, 25.0)
    assert (loss.profit_units, loss.profit_pct) == (-50, -25.0)


def test_a_fall_is_exact_where_the_difference_of_percentages_is_not() -> None:
    """From 4.1 % to 1.1 % is 3 %, though the floats differ by a little less."""
    peak, now = Valuation(1000, 1041), Valuation(1000, 1011)
    assert peak.profit_pct - now.profit_pct < 3
    assert now.fall_pct(peak) == 3


def test_a_fall_compares_positions_of_different_size() -> None:
    """After half was sold, the same profit in percent is no fall."""
    peak, half = Valuation(1000, 1100), Valuation(500, 550)
    assert half.fall_pct(peak) == 0
    assert not half.is_above(peak)
    assert not peak.is_above(half)


@given(_ENTRIES, _AMOUNTS, _ENTRIES, _AMOUNTS)
def test_percentages_compare_as_fractions_do(
    entry: int, proceeds: int, other_entry: int, other_proceeds: int
) -> None:
    """Which of two valuations is higher, and by how much, is exact for any amounts."""
    one, other = Valuation(entry, proceeds), Valuation(other_entry, other_proceeds)
    exact = [
        Fraction(100 * value.profit_units, value.entry_quote_units)
        for value in (one, other)
    ]
    assert one.is_above(other) == (exact[0] > exact[1])
    assert one.fall_pct(other) == pytest.approx(float(exact[1] - exact[0]))
    assert one.profit_pct == float(exact[0])
