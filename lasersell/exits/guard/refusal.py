"""
Why a transaction is not signed.
"""

from __future__ import annotations

from typing import Literal

from lasersell.errors import GuardRefusedError

__all__ = ["Reason", "refusal"]

Reason = Literal[
    "not_our_wallet",  # the wallet is not one whose key we hold
    "foreign_fee_payer",  # somebody else would pay the fee
    "extra_signer",  # another signature is asked for
    "lookup_table",  # accounts are hidden in a table, and may not or cannot be looked up
    "duplicate_account",  # an account is named twice
    "unknown_program",  # a program that is on no list
    "unknown_instruction",  # an instruction that is not understood
    "no_venue",  # nothing is traded
    "wrong_direction",  # the trade goes the other way
    "foreign_trader",  # the trade is somebody else's
    "foreign_account",  # an account that is not ours would be paid from or created
    "foreign_proceeds",  # somebody else would get what the trade brings
    "other_mint",  # a token is touched that is neither the position's nor the quote
    "amount_unknown",  # nothing says how much may be spent
    "amount_too_large",  # more is spent than that
    "sol_outflow",  # more SOL leaves the wallet than tip and fees may take
    "quote_outflow",  # the same for another quote asset
    "priority_fee",  # the priority fee is over the cap
    "authority_change",  # an account would get another owner
    "delegate",  # somebody else could spend from an account
    "foreign_close",  # an account's rent, or its SOL, would go to somebody else
    "token_transfer",  # tokens would leave without being traded
    "burn",  # tokens would be destroyed
    "durable_nonce",  # the transaction would stay valid for ever
    "created_account",  # an account is paid for that does not become ours
]
"""What ``GuardRefusedError.reason`` can be."""


def refusal(reason: Reason, text: str) -> GuardRefusedError:
    """Return the error of a transaction that is not signed."""
    return GuardRefusedError(f"not signed: {text}", reason=reason)
