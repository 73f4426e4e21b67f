from __future__ import annotations

import pytest

from lasersell.exits.programs import (
    METEORA_DBC,
    PUMP_FUN,
    PUMP_SWAP,
    RAYDIUM_CPMM,
    RAYDIUM_LAUNCHPAD,
    VENUES,
    Venue,
    discriminator,
)
from lasersell.protocol.market import KNOWN_MARKET_TYPES
from tests.unit.exits import trades
from tests.unit.exits.trades import SALES, WALLET, WSOL, ata, sale


def test_every_market_type_of_the_wire_is_a_venue() -> None:
    """A venue that positions come from is one that they can be sold on."""
    assert {venue.name for venue in VENUES} == KNOWN_MARKET_TYPES


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("buy", [102, 6, 61, 18, 1, 218, 235, 234]),
        ("sell", [51, 230, 133, 164, 1, 127, 131, 173]),
        ("swap", [248, 198, 158, 145, 225, 117, 135, 200]),
        ("swap2", [65, 75, 63, 76, 235, 91, 91, 136]),
        ("buy_exact_in", [250, 234, 13, 123, 213, 156, 19, 236]),
        ("buy_exact_out", [24, 211, 116, 40, 105, 3, 153, 56]),
        ("sell_exact_in", [149, 39, 222, 155, 211, 124, 152, 26]),
        ("sell_exact_out", [95, 200, 71, 34, 8, 9, 11, 166]),
        ("swap_base_input", [143, 190, 90, 218, 196, 30, 51, 222]),
        ("swap_base_output", [55, 217, 98, 86, 163, 74, 180, 173]),
    ],
)
def test_the_names_of_instructions_hash_to_the_published_bytes(
    instruction: str, expected: list[int]
) -> None:
    """The published interfaces list the same eight bytes."""
    assert list(discriminator(instruction)) == expected


@pytest.mark.parametrize(
    ("venue", "count"),
    [
        (PUMP_FUN, 9),
        (PUMP_SWAP, 6),
        (METEORA_DBC, 2),
        (RAYDIUM_LAUNCHPAD, 4),
        (RAYDIUM_CPMM, 2),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_no_two_instructions_of_a_venue_share_their_bytes(
    venue: Venue, count: int
) -> None:
    """Each described instruction can be told from the others."""
    assert len(venue.layouts) == count


@pytest.mark.parametrize("name", SALES)
def test_a_sale_is_read_as_what_it_is(name: str) -> None:
    """Accounts, mints and amounts are found where the venue's interface has them."""
    built = sale(name, tokens=123, least=45)
    program = str(built.program_id)
    venue = next(venue for venue in VENUES if venue.program == program)
    accounts = [str(meta.pubkey) for meta in built.accounts]
    swap = venue.read_swap(bytes(built.data), accounts)
    assert swap is not None
    assert (swap.user, swap.max_spent, swap.min_received) == (WALLET, 123, 45)
    assert swap.spent_from == ata()
    native = SALES[name].is_native
    assert swap.received_in == (None if native else ata(mint=WSOL))
    assert set(swap.mints) == {trades.MINT} if native else {trades.MINT, WSOL}


@pytest.mark.parametrize("cut", [1, 8, 9])
def test_a_cut_instruction_is_not_read(cut: int) -> None:
    """An instruction that lacks bytes is not guessed."""
    built = sale()
    accounts = [str(meta.pubkey) for meta in built.accounts]
    assert PUMP_SWAP.read_swap(bytes(built.data)[:-cut], accounts) is None
    assert PUMP_SWAP.read_swap(bytes(built.data), accounts[:6]) is None
