from __future__ import annotations

import base64

import pytest
from solders.hash import Hash
from solders.message import MessageHeader, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from lasersell.errors import TxError
from lasersell.exits.transaction import PACKET_LIMIT, decode_transaction
from tests.unit.exits.trades import (
    BLOCKHASH,
    OWN,
    WALLET,
    build,
    build_legacy,
    exit_instructions,
    instruction,
    made_up,
)

RAW = base64.b64decode(build(exit_instructions()))


def encoded(raw: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    "text", [build(exit_instructions()), build_legacy(exit_instructions())]
)
def test_a_signature_is_put_in_place(text: str) -> None:
    """Only the bytes of the signature change, and it verifies."""
    unsigned = decode_transaction(text)
    assert (unsigned.fee_payer, unsigned.signature_count) == (WALLET, 1)
    signed = unsigned.signed_with(OWN.sign(unsigned.message_bytes), tip_lamports=5)
    raw = base64.b64decode(text)
    assert (signed.raw[:1], signed.raw[65:]) == (raw[:1], raw[65:])
    transaction = VersionedTransaction.from_bytes(signed.raw)
    assert transaction.verify_with_results() == [True]
    assert str(transaction.signatures[0]) == signed.signature
    assert base64.b64decode(signed.base64) == signed.raw
    assert (signed.wallet, signed.blockhash, signed.tip_lamports) == (
        WALLET,
        str(BLOCKHASH),
        5,
    )


def test_a_transaction_is_not_shown() -> None:
    """Neither form of a transaction writes its bytes into a text."""
    unsigned = decode_transaction(encoded(RAW))
    signed = unsigned.signed_with(OWN.sign(b"message"), None)
    for text in (repr(unsigned), str(unsigned), repr(signed), str(signed)):
        assert encoded(RAW)[:60] not in text
        assert len(text) < 350


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense!",
        encoded(b""),
        encoded(b"\x00"),
        encoded(RAW[:-1]),
        encoded(RAW[:70]),
        encoded(RAW + b"\x00"),
        encoded(RAW + RAW),
        encoded(RAW)[:-1],
        encoded(RAW) + "\n ",
        encoded(b"\x02" + RAW[1:]),
        encoded(b"\x81\x00" + RAW[1:]),
        encoded(RAW[:65] + b"\x81" + RAW[66:]),
    ],
    ids=lambda text: f"{text[:6]}, {len(text)} long",
)
def test_what_is_not_exactly_one_transaction_is_refused(text: str) -> None:
    """Trailing bytes, cut bytes and other encodings of a number are not signed over."""
    with pytest.raises(TxError, match="cannot be decoded") as caught:
        decode_transaction(text)
    assert (caught.value.stage, caught.value.is_retryable) == ("decode", False)


def test_a_transaction_of_a_type_that_is_none_is_refused() -> None:
    """A transaction must come as text."""
    with pytest.raises(TxError, match="base64"):
        decode_transaction(None)  # type: ignore[arg-type]


def test_a_transaction_over_the_packet_limit_is_refused() -> None:
    """What the network would not carry is not signed."""
    much = [instruction(made_up(str(n)), [WALLET], bytes(60)) for n in range(20)]
    raw = base64.b64decode(build(much))
    assert len(raw) > PACKET_LIMIT
    with pytest.raises(TxError, match="over 1232"):
        decode_transaction(encoded(raw))


def test_the_number_of_signatures_must_fit() -> None:
    """A transaction with a place too many for signatures is refused."""
    message = MessageV0.try_compile(
        Pubkey.from_string(WALLET), exit_instructions(), [], Hash.default()
    )
    blanks = [Signature.default()] * 2
    raw = bytes(VersionedTransaction.populate(message, blanks))
    with pytest.raises(TxError, match="cannot be decoded"):
        decode_transaction(encoded(raw))


def test_a_format_that_is_not_known_is_refused() -> None:
    """A transaction of a later format, which the guard cannot read, is not signed."""
    # Version 1: its header comes first, and its signatures last.
    raw = b"\x81" + bytes(200)
    with pytest.raises(TxError, match="cannot be decoded"):
        decode_transaction(encoded(raw))
    key = Pubkey.from_string(WALLET)
    later = MessageV1(MessageHeader(1, 0, 0), TransactionConfig(), BLOCKHASH, [key], [])
    raw = bytes(VersionedTransaction.populate(later, [Signature.default()]))
    with pytest.raises(TxError, match="MessageV1 is not supported"):
        decode_transaction(encoded(raw))
