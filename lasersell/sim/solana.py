"""
Real Solana addresses and transactions, without a Solana; the only file that needs solders.

The sell instruction has the layout of an Anchor program's ``sell``: eight bytes
that name it, then the tokens to sell and the least proceeds to accept as
little-endian u64. Its accounts are the seller, the seller's token account, the
pool, the mint and the token program. ``buy`` has the same accounts; its amounts are
the quote units to spend and the least tokens to accept.
"""

from __future__ import annotations

import base64
import hashlib
import struct

from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

__all__ = [
    "TOKEN_PROGRAM",
    "associated_token_account",
    "made_up_key",
    "made_up_signature",
    "unsigned_buy",
    "unsigned_sell",
]

TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - an address
"""The SPL token program."""

_SELL = hashlib.sha256(b"global:sell").digest()[:8]
_BUY = hashlib.sha256(b"global:buy").digest()[:8]
_COMPUTE_UNITS = 200_000


def made_up_key(*parts: object) -> str:
    """Return a public key that depends only on ``parts``; nobody can sign for it."""
    return str(Pubkey(hashlib.sha256(":".join(map(str, parts)).encode()).digest()))


def made_up_signature(*parts: object) -> str:
    """Return a transaction's signature that depends only on ``parts``."""
    return str(Signature(hashlib.sha512(":".join(map(str, parts)).encode()).digest()))


def associated_token_account(wallet: str, mint: str) -> str:
    """Return the account in which ``wallet`` holds ``mint``, as the chain derives it."""
    return str(
        get_associated_token_address(
            Pubkey.from_string(wallet),
            Pubkey.from_string(mint),
            Pubkey.from_string(TOKEN_PROGRAM),
        )
    )


def unsigned_sell(
    *,
    wallet: str,
    mint: str,
    token_account: str,
    pool: str,
    tokens: int,
    min_quote_units: int,
    tip_lamports: int,
    slot: int,
) -> str:
    """
    Return an unsigned v0 transaction that sells tokens, in base64.

    The wallet pays the fee and is the only signer; its signature is a placeholder
    of zeros, as the service sends it. The blockhash depends on the slot alone.
    """
    data = _SELL + struct.pack("<QQ", tokens, min_quote_units)
    return _unsigned(data, wallet, mint, token_account, pool, tip_lamports, slot)


def unsigned_buy(
    *,
    wallet: str,
    mint: str,
    token_account: str,
    pool: str,
    quote_units: int,
    min_tokens: int,
    tip_lamports: int,
    slot: int,
) -> str:
    """Return an unsigned v0 transaction that buys tokens; see :func:`unsigned_sell`."""
    data = _BUY + struct.pack("<QQ", quote_units, min_tokens)
    return _unsigned(data, wallet, mint, token_account, pool, tip_lamports, slot)


def _unsigned(
    data: bytes,
    wallet: str,
    mint: str,
    token_account: str,
    pool: str,
    tip_lamports: int,
    slot: int,
) -> str:
    owner = Pubkey.from_string(wallet)
    instructions = [
        set_compute_unit_limit(_COMPUTE_UNITS),
        Instruction(
            Pubkey.from_string(made_up_key("program", "pool")),
            data,
            [
                AccountMeta(owner, is_signer=True, is_writable=True),
                _writable(token_account),
                _writable(pool),
                _read_only(mint),
                _read_only(TOKEN_PROGRAM),
            ],
        ),
    ]
    if tip_lamports > 0:
        instructions.append(_tip(owner, tip_lamports))
    blockhash = Hash(hashlib.sha256(f"blockhash:{slot}".encode()).digest())
    message = MessageV0.try_compile(owner, instructions, [], blockhash)
    transaction = VersionedTransaction.populate(message, [Signature.default()])
    return base64.b64encode(bytes(transaction)).decode()


def _writable(account: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(account), is_signer=False, is_writable=True)


def _read_only(account: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(account), is_signer=False, is_writable=False)


def _tip(payer: Pubkey, lamports: int) -> Instruction:
    tip_account = Pubkey.from_string(made_up_key("tip", "account"))
    return transfer(
        TransferParams(from_pubkey=payer, to_pubkey=tip_account, lamports=lamports)
    )
