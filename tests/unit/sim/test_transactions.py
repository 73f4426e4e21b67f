from __future__ import annotations

import base64
import struct
from typing import Any

import attrs
import pytest
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from lasersell.sim.ledger import Quote
from lasersell.sim.solana import made_up_key
from lasersell.sim.trading import SALES, Swap
from lasersell.sim.transactions import (
    DEFAULT_TIP_LAMPORTS,
    PACKET_LIMIT,
    Place,
    SignedTransaction,
    message_of,
    unsigned_buy,
    unsigned_sell,
)
from lasersell.sim.venues import check_market
from tests.unit.sim.world import KEYPAIR, MINT, WALLET

_PLACE = Place(
    wallet=WALLET,
    mint=MINT,
    market_type="pump_swap",
    quote="SOL",
    pool=made_up_key("pool", MINT),
    blockhash=made_up_key("blockhash"),
)


def sold(**changes: Any) -> str:
    """Return a transaction that sells 5 tokens for at least 3 units."""
    place = attrs.evolve(_PLACE, **changes)
    return unsigned_sell(place, tokens=5, min_quote_units=3)


def decoded(text: str) -> VersionedTransaction:
    """Return a transaction in base64 as solders sees it."""
    return VersionedTransaction.from_bytes(base64.b64decode(text, validate=True))


def signed(text: str) -> str:
    """Return a transaction with the wallet's signature."""
    transaction = VersionedTransaction(decoded(text).message, [KEYPAIR])
    return base64.b64encode(bytes(transaction)).decode()


def every_market() -> list[tuple[str, Quote]]:
    """Return each kind of market with each quote it trades against."""
    quotes: tuple[Quote, ...] = ("SOL", "USD1")
    return [
        (market_type, quote)
        for market_type in SALES
        for quote in quotes
        if quote == "SOL" or not market_type.startswith("pump")
    ]


def test_the_wallet_pays_and_is_the_only_signer() -> None:
    """The transaction needs one signature, the wallet's, and has a placeholder for it."""
    transaction = decoded(sold())
    assert transaction.message.header.num_required_signatures == 1
    assert str(transaction.message.account_keys[0]) == WALLET
    assert transaction.signatures == [Signature.default()]


@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize(("market_type", "quote"), every_market())
def test_what_was_built_is_read_again(
    market_type: str, quote: Quote, has_table: bool
) -> None:
    """Wallet, token, direction and amounts survive, on every market, within a packet."""
    check_market(market_type, quote)
    place = attrs.evolve(
        _PLACE, market_type=market_type, quote=quote, has_table=has_table
    )
    account = place.token_account
    sale = unsigned_sell(place, tokens=5, min_quote_units=3)
    buy = unsigned_buy(place, quote_units=7, min_tokens=2)
    assert swaps_of(sale) == [Swap(WALLET, MINT, account, True, 5, 3)]
    assert swaps_of(buy) == [Swap(WALLET, MINT, account, False, 7, 2)]
    for text in (sale, buy):
        assert len(base64.b64decode(text)) <= PACKET_LIMIT


def swaps_of(text: str) -> list[Swap]:
    """Return the trades of a transaction."""
    return [swap for _, swap in SignedTransaction(text).swaps()]


def test_a_signature_is_verified() -> None:
    """Signed by the wallet it is good, and what was signed is what was offered."""
    text = sold()
    assert not SignedTransaction(text).is_verified
    transaction = SignedTransaction(signed(text))
    assert transaction.is_verified
    assert transaction.message == message_of(text)
    assert transaction.fee_payer == WALLET


def test_a_damaged_one_is_not_verified() -> None:
    """One byte of an amount changed, and the signature is no good."""
    raw = bytearray(base64.b64decode(signed(sold())))
    raw[raw.index(struct.pack("<QQ", 5, 3))] = 6
    text = base64.b64encode(raw).decode()
    assert not SignedTransaction(text).is_verified


@pytest.mark.parametrize(
    ("tip", "lamports"), [(None, DEFAULT_TIP_LAMPORTS), (1234, 1234)]
)
def test_a_tip_is_the_last_instruction(tip: int | None, lamports: int) -> None:
    """Who names none pays the documented one."""
    last = decoded(sold(tip_lamports=tip)).message.instructions[-1]
    assert struct.unpack("<IQ", last.data) == (2, lamports)


def test_a_tip_of_nothing_is_no_instruction() -> None:
    """Who does not want to tip does not."""
    tipped = decoded(sold()).message.instructions
    assert len(decoded(sold(tip_lamports=0)).message.instructions) == len(tipped) - 1


@pytest.mark.parametrize("text", ["no base64!", "", base64.b64encode(b"x").decode()])
def test_what_is_no_transaction_is_refused(text: str) -> None:
    """The node has an error to answer with."""
    with pytest.raises(ValueError, match=r".+"):
        SignedTransaction(text)


def test_a_packet_that_is_too_large_is_refused() -> None:
    """As by the network, before it is looked into."""
    with pytest.raises(ValueError, match="over 1232"):
        SignedTransaction(base64.b64encode(bytes(PACKET_LIMIT + 1)).decode())
