"""
Transactions before and after they are signed.
"""

from __future__ import annotations

import base64
import binascii

import attrs
from solders.message import Message, MessageV0
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from lasersell.errors import TxError

__all__ = ["SignedTransaction", "UnsignedTransaction", "decode_transaction"]

PACKET_LIMIT = 1232
"""Most bytes that the network takes of a legacy or v0 transaction."""

_COUNT_BYTES = 1
_SIGNATURE_BYTES = 64


@attrs.frozen(repr=False, eq=False)
class UnsignedTransaction:
    """A decoded legacy or v0 transaction, its signatures still to be made."""

    raw: bytes
    """The transaction as it came."""
    message: Message | MessageV0
    """What is to be signed, decoded."""

    @property
    def signature_count(self) -> int:
        """How many signatures it needs."""
        return self.message.header.num_required_signatures

    @property
    def message_bytes(self) -> bytes:
        """What is to be signed."""
        return self.raw[_COUNT_BYTES + _SIGNATURE_BYTES * self.signature_count :]

    @property
    def fee_payer(self) -> str:
        """Who pays the fee, the first signer; base58."""
        return str(self.message.account_keys[0])

    @property
    def blockhash(self) -> str:
        """The block hash that bounds its life; base58."""
        return str(self.message.recent_blockhash)

    def __repr__(self) -> str:
        return f"UnsignedTransaction(fee_payer={self.fee_payer!r})"

    def signed_with(
        self, signature: bytes, tip_lamports: int | None
    ) -> SignedTransaction:
        """
        Return it with the fee payer's signature put in its place.

        Nothing is encoded anew, so what is sent is to the byte what was checked.
        """
        raw = bytearray(self.raw)
        raw[_COUNT_BYTES : _COUNT_BYTES + _SIGNATURE_BYTES] = signature
        return SignedTransaction(
            raw=bytes(raw),
            signature=str(Signature.from_bytes(signature)),
            wallet=self.fee_payer,
            blockhash=self.blockhash,
            tip_lamports=tip_lamports,
        )


@attrs.frozen(kw_only=True)
class SignedTransaction:
    """A transaction that may be submitted, as often as one likes: it executes once."""

    raw: bytes = attrs.field(repr=False)
    """The transaction."""
    signature: str
    """Its signature, by which the network names it; base58."""
    wallet: str
    """The wallet that signed; base58."""
    blockhash: str
    """The block hash that bounds its life, about a minute; base58."""
    tip_lamports: int | None = None
    """The largest transfer of SOL out of the wallet; None if nobody looked."""

    @property
    def base64(self) -> str:
        """The transaction in base64, as it is submitted."""
        return base64.b64encode(self.raw).decode()


def decode_transaction(text: str) -> UnsignedTransaction:
    """
    Decode an unsigned transaction in base64.

    Raises:
        TxError: In stage ``decode``: it is not exactly one legacy or v0 transaction.
    """
    raw = _decode_base64(text)
    if len(raw) > PACKET_LIMIT:
        raise _undecodable(f"it has {len(raw)} bytes, over {PACKET_LIMIT}")
    try:
        transaction = VersionedTransaction.from_bytes(raw)
        transaction.sanitize()
    except (ValueError, SanitizeError) as error:
        raise _undecodable(str(error)) from error
    # Trailing bytes, or a number written in a longer way, would be signed unread.
    if bytes(transaction) != raw:
        raise _undecodable("it is not in its one canonical form")
    message = transaction.message
    if not isinstance(message, (Message, MessageV0)):
        raise _undecodable(f"a {type(message).__name__} is not supported")
    return UnsignedTransaction(raw, message)


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise _undecodable("it is not base64") from error


def _undecodable(why: str) -> TxError:
    return TxError(f"the transaction cannot be decoded: {why}", stage="decode")
