"""What a position is worth, and percentages of its entry that compare exactly."""

from __future__ import annotations

import attrs

__all__ = ["Valuation"]


@attrs.frozen
class Valuation:
    """
    What a position is worth on one tick.

    Each percentage is one quotient of integers, rounded once, and never a
    difference of two rounded ones: a fall from 8.1 % to 5.1 % is 3 %.

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

    @property
    def profit_pct(self) -> float:
        """The profit in percent of the entry; negative for a loss."""
        entry = self.entry_quote_units
        return 100 * (self.proceeds_units - entry) / entry

    def is_above(self, other: Valuation) -> bool:
        """Tell whether this profit, in percent, is higher than another."""
        # The entries differ after a part was sold, and then only ratios compare.
        return (
            self.proceeds_units * other.entry_quote_units
            > other.proceeds_units * self.entry_quote_units
        )

    def fall_pct(self, peak: Valuation) -> float:
        """Return how far this is below a peak, in percentage points of the entry."""
        entry, peak_entry = self.entry_quote_units, peak.entry_quote_units
        fall = peak.profit_units * entry - self.profit_units * peak_entry
        return 100 * fall / (entry * peak_entry)
