"""
Prove that a wallet is ours, without a network.
"""

from __future__ import annotations

import attrs
from solders.signature import Signature

from lasersell._clock import SYSTEM_CLOCK, Clock
from lasersell.exits.keys import WalletKey

__all__ = ["WalletProof", "prove_ownership"]


@attrs.frozen
class WalletProof:
    """
    A signed statement that we hold the key of a wallet; nothing in it is secret.

    The service takes it for five minutes.
    """

    wallet_pubkey: str
    """The wallet; base58."""
    signature: str
    """The signature of the message; base58."""
    message: str
    """What was signed: the wallet and the time, in Unix seconds."""


def prove_ownership(key: WalletKey, *, clock: Clock = SYSTEM_CLOCK) -> WalletProof:
    """
    Sign the message with which a wallet is registered.

    Args:
        key: The wallet's key.
        clock: Where the time in the message comes from.
    """
    message = f"lasersell-register:{key.pubkey}:{clock.wall_ms() // 1000}"
    # The raw bytes, without the prefix of Solana's off-chain messages.
    signature = str(Signature.from_bytes(key.sign(message.encode())))
    return WalletProof(key.pubkey, signature, message)
