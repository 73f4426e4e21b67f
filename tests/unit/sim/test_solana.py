from __future__ import annotations

import base64
import struct
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from lasersell.sim.solana import (
    TOKEN_PROGRAM,
    associated_token_account,
    made_up_key,
    unsigned_sell,
)
from tests.unit.sim.world import KEYPAIR, MINT, WALLET

_ACCOUNT = associated_token_account(WALLET, MINT)
_POOL = made_up_key("pool", MINT)


def _sell(**changes: Any) -> VersionedTransaction:
    arguments: dict[str, Any] = {
        "wallet": WALLET,
        "mint": MINT,
        "token_account": _ACCOUNT,
        "pool": _POOL,
        "tokens": 5_000_000,
        "min_quote_units": 90_000_000,
        "tip_lamports": 0,
        "slot": 7,
    }
    text = unsigned_sell(**{**arguments, **changes})
    return VersionedTransaction.from_bytes(base64.b64decode(text, validate=True))


def test_the_token_account_is_the_one_solana_derives() -> None:
    """The account of the vectors' wallet and mint is the one the vectors have."""
    assert _ACCOUNT == "4XHQ6iTrkyb3T8GD1aV5u79UhUaSQou9CNYXiKnsjMsX"


def test_made_up_keys_depend_on_their_parts_alone() -> None:
    """Equal parts give equal keys of 32 bytes, others another."""
    assert made_up_key("mint", 7, 1) == made_up_key("mint", 7, 1)
    assert made_up_key("mint", 7, 1) != made_up_key("mint", 7, 2)
    assert len(bytes(Pubkey.from_string(made_up_key("mint", 7, 1)))) == 32


def test_the_wallet_pays_and_is_the_only_signer() -> None:
    """The transaction needs one signature, the wallet's, and has a placeholder for it."""
    transaction = _sell()
    assert transaction.message.header.num_required_signatures == 1
    assert str(transaction.message.account_keys[0]) == WALLET
    assert transaction.signatures == [Signature.default()]


def test_the_wallet_can_sign_it() -> None:
    """Signed with the wallet's key, the transaction verifies."""
    signed = VersionedTransaction(_sell().message, [KEYPAIR])
    assert signed.verify_with_results() == [True]


def test_the_instruction_says_what_is_sold_and_for_how_much() -> None:
    """The last instruction carries the amounts, and names account, pool and mint."""
    message = _sell().message
    instruction = message.instructions[-1]
    assert struct.unpack("<QQ", instruction.data[8:]) == (5_000_000, 90_000_000)
    accounts = [str(message.account_keys[index]) for index in instruction.accounts]
    assert accounts == [WALLET, _ACCOUNT, _POOL, MINT, TOKEN_PROGRAM]


def test_a_tip_is_one_more_instruction() -> None:
    """A tip is a transfer at the end; without one there is none."""
    tipped = _sell(tip_lamports=1_000_000).message.instructions
    assert len(tipped) == len(_sell().message.instructions) + 1
    assert struct.unpack("<IQ", tipped[-1].data) == (2, 1_000_000)


def test_the_blockhash_follows_the_slot() -> None:
    """A later slot gives another transaction, the same slot the same."""
    assert _sell() == _sell()
    assert _sell(slot=8).message.recent_blockhash != _sell().message.recent_blockhash
