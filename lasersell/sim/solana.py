"""Real Solana addresses and signatures, without a Solana."""

from __future__ import annotations

import hashlib

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token.associated import get_associated_token_address

__all__ = [
    "ASSOCIATED_TOKEN_PROGRAM",
    "COMPUTE_BUDGET_PROGRAM",
    "LOOKUP_TABLE_PROGRAM",
    "SYSTEM_PROGRAM",
    "TOKEN_PROGRAM",
    "associated_token_account",
    "is_signed_by",
    "made_up_key",
    "made_up_signature",
    "private_key",
]

SYSTEM_PROGRAM = "11111111111111111111111111111111"
COMPUTE_BUDGET_PROGRAM = "ComputeBudget111111111111111111111111111111"
LOOKUP_TABLE_PROGRAM = "AddressLookupTab1e1111111111111111111111111"
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - an address
ASSOCIATED_TOKEN_PROGRAM = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"  # noqa: S105


def made_up_key(*parts: object) -> str:
    """Return a public key that depends only on ``parts``; nobody can sign for it."""
    return str(Pubkey(hashlib.sha256(":".join(map(str, parts)).encode()).digest()))


def made_up_signature(*parts: object) -> str:
    """Return a transaction's signature that depends only on ``parts``."""
    return str(Signature(hashlib.sha512(":".join(map(str, parts)).encode()).digest()))


def private_key(seed: bytes) -> str:
    """Return the private key of a seed of 32 bytes, in base58 as wallets export it."""
    return str(Keypair.from_seed(seed))


def associated_token_account(wallet: str, mint: str) -> str:
    """Return the account in which ``wallet`` holds ``mint``, as the chain derives it."""
    return str(
        get_associated_token_address(
            Pubkey.from_string(wallet),
            Pubkey.from_string(mint),
            Pubkey.from_string(TOKEN_PROGRAM),
        )
    )


def is_signed_by(wallet: str, message: bytes, signature: str) -> bool:
    """Tell whether a signature in base58 is the wallet's of a message."""
    try:
        signed = Signature.from_string(signature)
        return bool(signed.verify(Pubkey.from_string(wallet), message))
    except ValueError:
        return False
