"""
The take-profit ladder: which level sells how much, in the readings of section 7.6.

A level takes its share of what is left for it, what the position holds less what
exits under way and armed slices already take; or, in the other reading, of the whole
that was left for its first level. Levels are taken from the lowest up, each once;
several may be taken on one tick. A ladder that is replaced by a different one starts
over.
"""

from __future__ import annotations

from fractions import Fraction

import attrs

from lasersell.protocol.strategy import TakeProfitLevel
from lasersell.sim.readings import Readings
from lasersell.sim.valuation import Valuation

__all__ = ["ArmedSlice", "LadderProgress", "has_fallen_back", "share_of"]

_USUAL = Readings()


def share_of(tokens: int, percent: float) -> int:
    """Return that percentage of some tokens, exact and rounded down."""
    # str() gives the decimal that was meant: 33.3, not the binary float below it.
    return int(tokens * Fraction(str(percent)) / 100)


def has_fallen_back(
    value: Valuation, peak: Valuation, trail_pct: float, readings: Readings
) -> bool:
    """Tell whether a trail that is active is hit, at its boundary or below."""
    fall_pct = value.fall_pct(peak)
    if readings.trailing_boundary == "below":
        return trail_pct < fall_pct
    return trail_pct <= fall_pct


@attrs.define
class ArmedSlice:
    """
    A part of a position that its own trailing stop sells.

    Attributes:
        level_index: The level that armed it.
        tokens: Its size, in token atomic units.
        trailing_stop_pct: Its trail, in percentage points of the entry.
        peak: The position at its highest since then.
    """

    level_index: int
    tokens: int
    trailing_stop_pct: float
    peak: Valuation


@attrs.define
class LadderProgress:
    """
    How far one position is up its ladder.

    Attributes:
        levels: The ladder.
        whole: What was left for it when it began, in token atomic units.
        next_level: The level to be taken next.
        carried_tokens: What levels taken before should have sold and could not, in
            token atomic units; the liquidity guard's.
        trailing_stop_pct: The trail that a level taken before gave the position;
            None where none did.
        armed: Slices that wait for their trail, lowest level first.
    """

    levels: tuple[TakeProfitLevel, ...] = ()
    whole: int = 0
    next_level: int = 0
    carried_tokens: int = 0
    trailing_stop_pct: float | None = None
    armed: list[ArmedSlice] = attrs.field(factory=list)

    def see(self, value: Valuation) -> None:
        """Take note of this tick before levels and slices are asked."""
        for part in self.armed:
            if value.is_above(part.peak):
                part.peak = value

    def take_level(self, value: Valuation) -> tuple[int, TakeProfitLevel] | None:
        """Return the next level, with its index, if its profit is reached; once."""
        if self.next_level == len(self.levels):
            return None
        index, level = self.next_level, self.levels[self.next_level]
        if value.profit_pct < level.profit_pct:
            return None
        self.next_level += 1
        return index, level

    def take_slice(
        self, value: Valuation, readings: Readings = _USUAL
    ) -> ArmedSlice | None:
        """Return the lowest slice whose trail is hit; once."""
        for part in self.armed:
            if has_fallen_back(value, part.peak, part.trailing_stop_pct, readings):
                self.armed.remove(part)
                return part
        return None

    def unarmed(self, tokens: int) -> int:
        """Return what armed slices leave of some tokens."""
        return max(0, tokens - sum(part.tokens for part in self.armed))

    def to_sell(
        self,
        tokens: int,
        sell_pct: float,
        sellable: int | None,
        readings: Readings = _USUAL,
    ) -> int:
        """
        Return how much a level sells, which may be nothing.

        Args:
            tokens: What is left for it, in token atomic units.
            sell_pct: Its share of that, before what levels below could not sell; or
                its share of the whole.
            sellable: The most that may be sold now; the rest is carried to the next
                level. None is all.
            readings: How the documents are read.
        """
        carried = min(self.carried_tokens, tokens)
        is_of_whole = readings.sell_pct == "position"
        share = share_of(self.whole if is_of_whole else tokens - carried, sell_pct)
        wanted = min(tokens, carried + share)
        sold = wanted if sellable is None else min(wanted, sellable)
        self.carried_tokens = wanted - sold
        return sold
