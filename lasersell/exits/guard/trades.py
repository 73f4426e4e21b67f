"""
The rules for the venues.
"""

from __future__ import annotations

from lasersell.exits.guard.inspection import Inspection
from lasersell.exits.guard.instructions import Instruction
from lasersell.exits.guard.refusal import refusal
from lasersell.exits.programs import Swap, Venue
from lasersell.session.positions import SOL_MINT

__all__ = ["look_at_venue"]


def look_at_venue(
    inspection: Inspection, venue: Venue, instruction: Instruction
) -> None:
    """
    Take a trade of the token for the quote, from our account and into our account.

    Raises:
        GuardRefusedError: It is another instruction of the venue, or another trade.
    """
    swap = venue.read_swap(instruction.data, instruction.accounts)
    if swap is None:
        raise refusal(
            "unknown_instruction",
            f"an instruction of {venue.name} is no trade that is understood",
        )
    if swap.user != inspection.intent.wallet:
        raise refusal("foreign_trader", f"the trade is one of {swap.user}")
    quote = _check_sides(inspection, swap)
    if inspection.quote not in (None, quote):
        raise refusal("other_mint", "the trades are against two different assets")
    inspection.quote = quote
    inspection.spent += swap.max_spent
    inspection.received += swap.min_received


def _check_sides(inspection: Inspection, swap: Swap) -> str:
    """Return what the token is traded for."""
    spent = _mint_of(inspection, swap.spent_from)
    if spent is None:
        raise refusal(
            "foreign_account",
            f"{swap.spent_from} would pay, which is not known as ours",
        )
    received = _mint_of(inspection, swap.received_in)
    if received is None:
        raise refusal(
            "foreign_proceeds",
            f"the proceeds would go to {swap.received_in}, which is not known as ours",
        )
    # The venue trades its own two mints whatever the accounts are called.
    if {spent, received} != set(swap.mints) | _native_side(swap):
        raise refusal("other_mint", f"the market of {swap.venue} trades other tokens")
    return _check_direction(inspection, spent, received)


def _check_direction(inspection: Inspection, spent: str, received: str) -> str:
    token, quotes = inspection.intent.mint, inspection.quote_mints
    given, taken = (spent, received) if inspection.intent.is_sale else (received, spent)
    if given == token and taken in quotes:
        return taken
    if given in quotes and taken == token:
        raise refusal("wrong_direction", "the trade goes the other way round")
    raise refusal("other_mint", f"{spent} would be traded for {received}")


def _mint_of(inspection: Inspection, account: str | None) -> str | None:
    return SOL_MINT if account is None else inspection.own_mint(account)


def _native_side(swap: Swap) -> set[str]:
    is_native = swap.spent_from is None or swap.received_in is None
    return {SOL_MINT} if is_native else set()
