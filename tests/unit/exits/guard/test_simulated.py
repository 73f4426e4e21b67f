"""What the simulator builds is what the default policy takes, and what it does not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair

from lasersell.errors import GuardRefusedError, TxError
from lasersell.exits.guard.check import check
from lasersell.exits.guard.intent import Intent
from lasersell.exits.guard.policy import Policy
from lasersell.exits.transaction import decode_transaction
from lasersell.sim.lookup_tables import TABLES
from lasersell.sim.solana import made_up_key
from lasersell.sim.transactions import (
    Place,
    SignedTransaction,
    unsigned_buy,
    unsigned_sell,
)
from tests.unit.exits.guard.test_check import Accounts
from tests.unit.exits.trades import MINT, OWN, WALLET
from tests.unit.sim.test_transactions import every_market

_U64 = st.integers(1, 2**64 - 1)


_CHAIN = Accounts(
    tables={
        address: [str(key) for key in table.addresses]
        for address, table in TABLES.items()
    }
)


@st.composite
def places(draw: st.DrawFn) -> Place:
    """Draw where a transaction trades."""
    market_type, quote = draw(st.sampled_from(every_market()))
    return Place(
        wallet=WALLET,
        mint=MINT,
        market_type=market_type,
        quote=quote,
        pool=made_up_key("pool", draw(st.integers(0, 9))),
        blockhash=made_up_key("blockhash", draw(st.integers(0, 9))),
        tip_lamports=draw(st.none() | st.integers(0, 5_000_000)),
        has_table=draw(st.booleans()),
    )


@given(places(), _U64, st.integers(0, 2**64 - 1))
def test_every_sale_of_the_simulator_is_accepted(
    place: Place, tokens: int, least: int
) -> None:
    """Any market, amount, price and tip, with and without a table: signed as it is."""
    text = unsigned_sell(place, tokens=tokens, min_quote_units=least)
    intent = Intent(wallet=WALLET, mint=MINT, is_sale=True, limit=tokens)
    checked = check(decode_transaction(text), intent, Policy.default(), _CHAIN)
    signature = OWN.sign(checked.transaction.message_bytes)
    signed = checked.transaction.signed_with(signature, checked.tip_lamports)
    assert SignedTransaction(signed.base64).is_verified


@given(places(), _U64, st.integers(0, 2**64 - 1))
def test_every_buy_of_the_simulator_is_accepted(
    place: Place, units: int, least: int
) -> None:
    """The same of what a mirror buy spends."""
    text = unsigned_buy(place, quote_units=units, min_tokens=least)
    intent = Intent(
        wallet=WALLET,
        mint=MINT,
        is_sale=False,
        limit=units,
        quote_mints=(place.quote_mint,),
    )
    check(decode_transaction(text), intent, Policy.default(), _CHAIN)


@given(places(), _U64, st.data())
def test_what_it_was_not_asked_for_is_refused(
    place: Place, tokens: int, data: st.DataObject
) -> None:
    """A token more, another token, the other way, another wallet: each by its reason."""
    text = unsigned_sell(place, tokens=tokens, min_quote_units=0)
    other = str(Keypair.from_seed(bytes([9]) * 32).pubkey())
    wrong = {
        "amount_too_large": Intent(
            wallet=WALLET, mint=MINT, is_sale=True, limit=tokens - 1
        ),
        "wrong_direction": Intent(
            wallet=WALLET, mint=MINT, is_sale=False, limit=tokens
        ),
        "foreign_fee_payer": Intent(
            wallet=other, mint=MINT, is_sale=True, limit=tokens
        ),
    }
    reason = data.draw(st.sampled_from(sorted(wrong)))
    with pytest.raises(GuardRefusedError) as caught:
        check(decode_transaction(text), wrong[reason], Policy.default(), _CHAIN)
    assert caught.value.reason == reason


@given(places(), _U64, st.integers(0, 1231), st.integers(1, 255))
def test_one_byte_changed_is_noticed(
    place: Place, tokens: int, at: int, change: int
) -> None:
    """
    A damaged sale is refused, or still sells no more, from the same wallet, for as little.

    What the guard does not look at is what the venue itself checks: the pool, say.
    """
    raw = bytearray(
        base64.b64decode(unsigned_sell(place, tokens=tokens, min_quote_units=7))
    )
    raw[at % len(raw)] ^= change
    intent = Intent(wallet=WALLET, mint=MINT, is_sale=True, limit=tokens)
    try:
        unsigned = decode_transaction(base64.b64encode(raw).decode())
        check(unsigned, intent, Policy.default(), _CHAIN)
    except (GuardRefusedError, TxError):
        return
    swaps = [swap for _, swap in SignedTransaction(unsigned_text(raw)).swaps()]
    assert all(swap.user == WALLET and swap.mint == MINT for swap in swaps)
    assert sum(swap.spent for swap in swaps) <= tokens


def unsigned_text(raw: bytearray) -> str:
    """Return bytes in base64."""
    return base64.b64encode(raw).decode()
