"""When to exit: the strategy the server evaluates, and what makes one valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from attrs import field, frozen

from lasersell.errors import ConfigurationError
from lasersell.protocol.wire import ALWAYS_SENT, REQUIRED

__all__ = [
    "MAX_TAKE_PROFIT_LEVELS",
    "StrategyConfig",
    "TakeProfitLevel",
    "validate_strategy",
]

MAX_TAKE_PROFIT_LEVELS = 10
"""How many levels a take-profit ladder may have (levels)."""


@frozen(kw_only=True)
class TakeProfitLevel:
    """One rung of a take-profit ladder: sell a part when a profit is reached."""

    profit_pct: float
    """Profit that triggers the level, in percent of the entry cost."""

    sell_pct: float
    """How much to sell, in percent of what is still held then."""

    trailing_stop_pct: float = field(default=0.0, metadata=ALWAYS_SENT)
    """Trailing stop from this level on, in percentage points of the entry; 0 is none."""


def _to_levels(levels: Iterable[TakeProfitLevel]) -> tuple[TakeProfitLevel, ...]:
    return tuple(levels)


@frozen(kw_only=True)
class StrategyConfig:
    """
    When the server shall send an exit signal; a field at its default is off.

    A strategy always replaces the former one as a whole. The deadline is not part
    of it: the client enforces that one, and it is never on the wire.
    """

    target_profit_pct: float = field(default=0.0, metadata=REQUIRED)
    """Exit at this profit, in percent of the entry cost; 0 is off."""

    stop_loss_pct: float = field(default=0.0, metadata=REQUIRED)
    """Exit at this loss, a positive number, in percent of the entry cost; 0 is off."""

    trailing_stop_pct: float = 0.0
    """Exit this far below the peak, in percentage points of the entry; 0 is off."""

    sell_on_graduation: bool = False
    """Exit when the token moves from its launch platform to a full market."""

    take_profit_levels: tuple[TakeProfitLevel, ...] = field(
        default=(), converter=_to_levels
    )
    """The take-profit ladder, lowest profit first; needs a paid tier."""

    liquidity_guard: bool = False
    """Let the server take thin liquidity into account; needs a paid tier."""

    breakeven_trail_pct: float = 0.0
    """Breakeven protection, in percent of the entry cost; 0 is off; needs a paid tier."""


def validate_strategy(
    strategy: StrategyConfig, deadline_timeout_sec: float = 0.0
) -> None:
    """
    Check that a strategy is sound and can end a position.

    Every number must be finite and not negative, and at least one exit condition
    must be set: target, stop, trailing stop, ladder, graduation, breakeven or a
    deadline. The shares of a ladder need not add up to 100: each is of what is
    still held.

    Args:
        strategy: The strategy to check.
        deadline_timeout_sec: The client-side deadline in seconds; 0 is none.

    Raises:
        ConfigurationError: If it is not; the text names the field and the remedy.
    """
    _check_number("deadline_timeout_sec", deadline_timeout_sec)
    for name in _PERCENTAGES:
        _check_number(f"strategy.{name}", getattr(strategy, name))
    for name in _SWITCHES:
        if not isinstance(getattr(strategy, name), bool):
            raise ConfigurationError(f"strategy.{name} must be True or False")
    _check_ladder(strategy.take_profit_levels)
    if not (
        deadline_timeout_sec > 0 or any(getattr(strategy, name) for name in _CONDITIONS)
    ):
        raise ConfigurationError(
            "the strategy has no exit condition: set at least one of "
            f"{', '.join(_CONDITIONS)} or deadline_timeout_sec"
        )


_PERCENTAGES = (
    "target_profit_pct",
    "stop_loss_pct",
    "trailing_stop_pct",
    "breakeven_trail_pct",
)
_SWITCHES = ("sell_on_graduation", "liquidity_guard")
# The liquidity guard only shapes exits that something else triggers.
_CONDITIONS = (*_PERCENTAGES, "sell_on_graduation", "take_profit_levels")


def _check_ladder(levels: tuple[TakeProfitLevel, ...]) -> None:
    if len(levels) > MAX_TAKE_PROFIT_LEVELS:
        raise ConfigurationError(
            f"strategy.take_profit_levels has {len(levels)} levels; "
            f"at most {MAX_TAKE_PROFIT_LEVELS} are allowed"
        )
    for index, level in enumerate(levels):
        _check_level(f"strategy.take_profit_levels[{index}]", level)
    if any(lower.profit_pct >= upper.profit_pct for lower, upper in pairwise(levels)):
        raise ConfigurationError(
            "strategy.take_profit_levels must ascend: each profit_pct above the one before"
        )


def _check_level(where: str, level: TakeProfitLevel) -> None:
    if not isinstance(level, TakeProfitLevel):
        raise ConfigurationError(
            f"{where} must be a TakeProfitLevel, not {type(level).__name__}"
        )
    _check_number(f"{where}.profit_pct", level.profit_pct)
    _check_number(f"{where}.sell_pct", level.sell_pct)
    _check_number(f"{where}.trailing_stop_pct", level.trailing_stop_pct)
    if level.profit_pct == 0:
        raise ConfigurationError(f"{where}.profit_pct must be above 0")
    if not 0 < level.sell_pct <= 100:
        raise ConfigurationError(f"{where}.sell_pct must be above 0 and at most 100")


def _check_number(where: str, value: object) -> None:
    # bool is an int to Python, but a flag in a percentage is a mistake.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(
            f"{where} must be a number, not {type(value).__name__}"
        )
    if not _is_finite(value) or value < 0:
        raise ConfigurationError(f"{where} must be finite and not negative")


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
