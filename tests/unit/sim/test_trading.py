from __future__ import annotations

import pytest

from lasersell.sim.solana import associated_token_account, made_up_key
from lasersell.sim.trading import SALES, Trading, read_swap, tag_of
from lasersell.sim.venues import QUOTE_MINTS
from tests.unit.sim.world import MINT, WALLET

_SALE = SALES["pump_swap"]
_KNOWN = {
    "user": WALLET,
    "base_mint": MINT,
    "quote_mint": QUOTE_MINTS["SOL"],
    "user_base": associated_token_account(WALLET, MINT),
}


def test_the_instructions_are_named_as_anchor_does() -> None:
    """The name of ``sell`` is the one that is documented for the Pump programs."""
    assert tag_of("sell").hex() == "33e685a4017f83ad"
    assert _SALE.data(5, 3)[:8] == tag_of("sell")


def test_the_amounts_come_in_the_order_of_the_instruction() -> None:
    """What is received comes first where the interface says so."""
    usual = Trading("p", "x", ("user",))
    other = Trading("p", "x", ("user",), received_first=True)
    assert usual.amounts(usual.data(5, 3)) == other.amounts(other.data(5, 3)) == (5, 3)
    assert usual.data(5, 3) == other.data(3, 5)


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"user_base": made_up_key("aside")}, _SALE.data(5, 3)),
        ({"base_mint": QUOTE_MINTS["SOL"]}, _SALE.data(5, 3)),
        ({}, _SALE.data(5, 3) + b"\x00"),
        ({}, _SALE.data(5, 3)[:-1]),
        ({}, tag_of("withdraw") + bytes(16)),
        ({}, b""),
    ],
)
def test_what_is_no_trade_of_the_users_own_is_none(
    changes: dict[str, str], data: bytes
) -> None:
    """Another account, no token, other lengths and other names are not executed."""
    addresses = _SALE.addresses({**_KNOWN, **changes})
    assert read_swap(_SALE.program, addresses, data) is None


def test_a_trade_with_too_few_accounts_is_none() -> None:
    """One account short, or in another program, and nothing is read."""
    addresses, data = _SALE.addresses(_KNOWN), _SALE.data(5, 3)
    assert read_swap(_SALE.program, addresses, data) is not None
    assert read_swap(_SALE.program, addresses[:-1], data) is None
    assert read_swap(made_up_key("program"), addresses, data) is None
