"""
Which of the documents holds, where two of them say what cannot both be true.

Each default is the reading of the published wire types or, where they are mute, of
the document that says most; the other readings can be chosen, because they change
when something is sold, and how much. Section numbers are those of the protocol
facts this library was written from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from lasersell.errors import ConfigurationError

__all__ = ["Readings", "one_of"]


def one_of(*choices: object) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Return a validator that refuses whatever is not one of ``choices``."""

    def check(_owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            raise ConfigurationError(
                f"{field.name} is {value!r}; choose one of "
                f"{', '.join(map(str, choices))}"
            )

    return check


def _choice(*choices: str) -> Any:
    """Return a field whose default is the first of its choices."""
    return attrs.field(default=choices[0], validator=one_of(*choices))


@attrs.frozen(kw_only=True)
class Readings:
    """
    The choices, each with its default first.

    Attributes:
        trailing: When a trailing stop becomes active (7.5). ``peak_reaches_trail``:
            once the peak is as high as the trail, as the worked table has it;
            ``peak_above_zero``: once there was any profit, as the text says.
        trailing_boundary: When an active one fires (7.5). ``at``: the profit is as far
            below the peak as the trail (worked tables, agent documentation);
            ``below``: farther (the SDKs' own pages). Armed slices of a ladder too.
        ladder: What a level does whose own trailing stop is above 0 (7.6).
            ``sell``: it sells at its profit, then its trail becomes the position's,
            and the target is ignored (wire types, desktop pages); ``arm``: it sells
            nothing there but arms a trail for its slice, and the target still sells
            all that is left (API pages, command-line client).
        sell_pct: What a level sells its percentage of (C32). ``remaining``: of what the
            levels before it left (wire types, desktop pages); ``position``: of the
            position as it was at the foot of the ladder, or all that is left if that
            is less (a table of the API pages).
        breakeven: What ``breakeven_trail_pct`` X means (7.8). ``stop_at_entry``: once
            the profit was X, the stop moves to the entry (wire types, desktop
            pages); ``stop_below_entry``: once the profit was 0, a loss of X sells
            (API pages).
        liquidity_guard: What a thin pool does (7.7). ``shrink``: a ladder sells only
            what the pool takes, and the next level has the rest (wire types, desktop
            pages); ``defer``: every exit waits until the pool takes it, or too long
            (API pages); ``exit``: a pool that drains is a reason to sell
            (command-line client).
        graduation: Which moves ``sell_on_graduation`` sells on (7.9).
            ``every_platform``: those of each launch platform (API pages);
            ``pump_fun``: those of pump.fun alone (agent documentation).
        mirror_sell: Whether ``mirror_sell`` does anything (C16). ``exit``: when the
            watched wallet sells, the copied position is sold (wire types);
            ``unused``: it does nothing yet (API pages).
        mirror_losses: What disables a watched wallet (C35). ``losing_trades``: copied
            positions closed at a loss in a row (wire types, API pages);
            ``failed_buys``: buys that were not submitted in a row (command-line
            client).
        removed_wallets: What ``update_wallets`` does to the open positions of a wallet
            it leaves out (C18). ``closed``: their tracking stops (API pages);
            ``kept``: they are tracked until they close (agent documentation).
        position_strategy: What ``update_strategy`` does to a position with a strategy
            of its own (A13). ``kept``: it keeps it; ``overwritten``: it follows the
            session again. Neither is documented.
    """

    trailing: Literal["peak_reaches_trail", "peak_above_zero"] = _choice(
        "peak_reaches_trail", "peak_above_zero"
    )
    trailing_boundary: Literal["at", "below"] = _choice("at", "below")
    ladder: Literal["sell", "arm"] = _choice("sell", "arm")
    sell_pct: Literal["remaining", "position"] = _choice("remaining", "position")
    breakeven: Literal["stop_at_entry", "stop_below_entry"] = _choice(
        "stop_at_entry", "stop_below_entry"
    )
    liquidity_guard: Literal["shrink", "defer", "exit"] = _choice(
        "shrink", "defer", "exit"
    )
    graduation: Literal["every_platform", "pump_fun"] = _choice(
        "every_platform", "pump_fun"
    )
    mirror_sell: Literal["exit", "unused"] = _choice("exit", "unused")
    mirror_losses: Literal["losing_trades", "failed_buys"] = _choice(
        "losing_trades", "failed_buys"
    )
    removed_wallets: Literal["closed", "kept"] = _choice("closed", "kept")
    position_strategy: Literal["kept", "overwritten"] = _choice("kept", "overwritten")
