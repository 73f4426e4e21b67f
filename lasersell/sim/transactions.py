"""
Transactions as the service builds them, and what the chain reads in them.

A sale sets its compute budget, opens the wallet's account of the quote, swaps, closes
that account if it is wrapped SOL, and tips. A buy also opens the account of the token
and wraps the SOL that it spends. The wallet pays the fee and is the only signer; its
signature is a placeholder of zeros.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence

import attrs
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import SanitizeError, VersionedTransaction

from lasersell.sim.ledger import Quote
from lasersell.sim.lookup_tables import TABLES, table_of
from lasersell.sim.solana import (
    ASSOCIATED_TOKEN_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    associated_token_account,
    made_up_key,
)
from lasersell.sim.trading import BUYS, SALES, Swap, Trading, instruction, read_swap
from lasersell.sim.venues import QUOTE_MINTS, venue_accounts

__all__ = [
    "DEFAULT_TIP_LAMPORTS",
    "PACKET_LIMIT",
    "Place",
    "SignedTransaction",
    "message_of",
    "unsigned_buy",
    "unsigned_sell",
]

DEFAULT_TIP_LAMPORTS = 1000
"""The tip of who names none, by the documentation."""
PACKET_LIMIT = 1232
"""Most bytes of a transaction."""

_COMPUTE_UNITS = 200_000
_MICRO_LAMPORTS = 1_000_000
_CREATE_IDEMPOTENT = b"\x01"
_CLOSE_ACCOUNT = b"\x09"
_SYNC_NATIVE = b"\x11"
_SIGNATURES_END = 1 + 64


@attrs.frozen(kw_only=True)
class Place:
    """
    Who trades what, where, and in which transaction.

    Attributes:
        wallet: Who trades; base58.
        mint: The token; base58.
        market_type: Kind of market, in the stream's spelling.
        quote: What it trades against.
        pool: The account of the pool; base58.
        blockhash: What bounds the life of the transaction; base58.
        tip_lamports: What it tips; None is the default, 0 nothing.
        has_table: Whether the transaction keeps accounts in a look-up table.
    """

    wallet: str
    mint: str
    market_type: str
    quote: Quote
    pool: str
    blockhash: str
    tip_lamports: int | None = None
    has_table: bool = False

    @property
    def token_account(self) -> str:
        """The wallet's account of the token."""
        return associated_token_account(self.wallet, self.mint)

    @property
    def quote_mint(self) -> str:
        """The mint of the quote."""
        return QUOTE_MINTS[self.quote]

    @property
    def quote_account(self) -> str:
        """The wallet's account of the quote."""
        return associated_token_account(self.wallet, self.quote_mint)


def unsigned_sell(place: Place, *, tokens: int, min_quote_units: int) -> str:
    """Return an unsigned v0 transaction that sells tokens, in base64."""
    trading = SALES[place.market_type]
    swap = _swap(place, trading, tokens, min_quote_units, is_sale=True)
    if trading.is_native:
        return _unsigned(place, [swap])
    closing = [_close(place)] if place.quote == "SOL" else []
    return _unsigned(place, [_open(place, place.quote_mint), swap, *closing])


def unsigned_buy(place: Place, *, quote_units: int, min_tokens: int) -> str:
    """Return an unsigned v0 transaction that buys tokens, in base64."""
    trading = BUYS[place.market_type]
    swap = _swap(place, trading, quote_units, min_tokens, is_sale=False)
    opening = _open(place, place.mint)
    if trading.is_native or place.quote != "SOL":
        return _unsigned(place, [opening, swap])
    return _unsigned(
        place,
        [
            opening,
            _open(place, place.quote_mint),
            _transfer(place.wallet, place.quote_account, quote_units),
            instruction(TOKEN_PROGRAM, [place.quote_account], _SYNC_NATIVE, ""),
            swap,
            _close(place),
        ],
    )


def _swap(
    place: Place, trading: Trading, spent: int, received: int, *, is_sale: bool
) -> Instruction:
    base, quote = place.token_account, place.quote_account
    known = {
        "user": place.wallet,
        "base_mint": place.mint,
        "quote_mint": place.quote_mint,
        "user_base": base,
        "user_quote": quote,
        "user_in": base if is_sale else quote,
        "user_out": quote if is_sale else base,
        "in_mint": place.mint if is_sale else place.quote_mint,
        "out_mint": place.quote_mint if is_sale else place.mint,
        "base_program": TOKEN_PROGRAM,
        "quote_program": TOKEN_PROGRAM,
        "in_program": TOKEN_PROGRAM,
        "out_program": TOKEN_PROGRAM,
        "system": SYSTEM_PROGRAM,
        "associated": ASSOCIATED_TOKEN_PROGRAM,
        **venue_accounts(place.market_type, place.quote, place.pool, place.wallet),
        "pool": place.pool,
    }
    return instruction(
        trading.program,
        trading.addresses(known),
        trading.data(spent, received),
        place.wallet,
    )


def _open(place: Place, mint: str) -> Instruction:
    account = associated_token_account(place.wallet, mint)
    addresses = [
        place.wallet,
        account,
        place.wallet,
        mint,
        SYSTEM_PROGRAM,
        TOKEN_PROGRAM,
    ]
    return instruction(
        ASSOCIATED_TOKEN_PROGRAM, addresses, _CREATE_IDEMPOTENT, place.wallet
    )


def _close(place: Place) -> Instruction:
    addresses = [place.quote_account, place.wallet, place.wallet]
    return instruction(TOKEN_PROGRAM, addresses, _CLOSE_ACCOUNT, place.wallet)


def _transfer(source: str, receiver: str, lamports: int) -> Instruction:
    return transfer(
        TransferParams(
            from_pubkey=Pubkey.from_string(source),
            to_pubkey=Pubkey.from_string(receiver),
            lamports=lamports,
        )
    )


def _unsigned(place: Place, trade: Sequence[Instruction]) -> str:
    tip = DEFAULT_TIP_LAMPORTS if place.tip_lamports is None else place.tip_lamports
    instructions = [
        set_compute_unit_limit(_COMPUTE_UNITS),
        set_compute_unit_price(_MICRO_LAMPORTS),
        *trade,
    ]
    if tip > 0:
        receiver = made_up_key("tip", "account")
        instructions.append(_transfer(place.wallet, receiver, tip))
    message = MessageV0.try_compile(
        Pubkey.from_string(place.wallet),
        instructions,
        [table_of(place.market_type)] if place.has_table else [],
        Hash.from_string(place.blockhash),
    )
    transaction = VersionedTransaction.populate(message, [Signature.default()])
    return base64.b64encode(bytes(transaction)).decode()


def message_of(text: str) -> bytes:
    """Return what is signed of a transaction in base64 that has one signer."""
    return base64.b64decode(text)[_SIGNATURES_END:]


class SignedTransaction:
    """
    A transaction as a node gets it.

    Args:
        text: The transaction in base64.

    Attributes:
        signature: The first signature; base58.
        blockhash: What bounds its life; base58.
        is_verified: Whether all who must have signed have.

    Raises:
        ValueError: It is no transaction.
    """

    def __init__(self, text: str) -> None:
        raw = _decoded(text)
        try:
            self._transaction = VersionedTransaction.from_bytes(raw)
            self._transaction.sanitize()
        except SanitizeError as error:
            raise ValueError(str(error)) from error
        message = self._transaction.message
        if not isinstance(message, (Message, MessageV0)):
            raise ValueError(f"a {type(message).__name__} is not supported")
        self._message = message
        self.signature = str(self._transaction.signatures[0])
        self.blockhash = str(message.recent_blockhash)
        self.is_verified = all(self._transaction.verify_with_results())

    @property
    def message(self) -> bytes:
        """What was signed."""
        return bytes(self._transaction)[1 + 64 * len(self._transaction.signatures) :]

    @property
    def fee_payer(self) -> str:
        """Who pays the fee; base58."""
        return str(self._message.account_keys[0])

    def swaps(self) -> Iterator[tuple[int, Swap]]:
        """
        Yield each trade in it that is known here, and which instruction it is.

        Raises:
            ValueError: It names a look-up table that does not exist.
        """
        keys = self._keys()
        for number, compiled in enumerate(self._message.instructions):
            addresses = [keys[index] for index in compiled.accounts]
            swap = read_swap(
                keys[compiled.program_id_index], addresses, bytes(compiled.data)
            )
            if swap is not None:
                yield number, swap

    def _keys(self) -> list[str]:
        """Return its addresses: its own, then the writable ones of tables, then others."""
        keys = [str(key) for key in self._message.account_keys]
        if isinstance(self._message, Message):
            return keys
        lookups = [
            (_table_at(str(lookup.account_key)), lookup)
            for lookup in self._message.address_table_lookups
        ]
        for table, lookup in lookups:
            keys += [str(table.addresses[index]) for index in lookup.writable_indexes]
        for table, lookup in lookups:
            keys += [str(table.addresses[index]) for index in lookup.readonly_indexes]
        return keys


def _table_at(address: str) -> AddressLookupTableAccount:
    if address not in TABLES:
        raise ValueError(f"there is no look-up table {address}")
    return TABLES[address]


def _decoded(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    if len(raw) > PACKET_LIMIT:
        raise ValueError(f"it has {len(raw)} bytes, over {PACKET_LIMIT}")
    return raw
