from __future__ import annotations

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from lasersell.sim.solana import (
    associated_token_account,
    is_signed_by,
    made_up_key,
    made_up_signature,
    private_key,
)
from tests.unit.sim.world import KEYPAIR, MINT, OTHER, WALLET


def test_the_token_account_is_the_one_solana_derives() -> None:
    """The account of the vectors' wallet and mint is the one the vectors have."""
    account = associated_token_account(WALLET, MINT)
    assert account == "4XHQ6iTrkyb3T8GD1aV5u79UhUaSQou9CNYXiKnsjMsX"


def test_made_up_keys_depend_on_their_parts_alone() -> None:
    """Equal parts give equal keys of 32 bytes, others another."""
    assert made_up_key("mint", 7, 1) == made_up_key("mint", 7, 1)
    assert made_up_key("mint", 7, 1) != made_up_key("mint", 7, 2)
    assert len(bytes(Pubkey.from_string(made_up_key("mint", 7, 1)))) == 32


def test_made_up_signatures_look_like_real_ones() -> None:
    """Equal parts give equal signatures of 64 bytes."""
    assert made_up_signature("x") == made_up_signature("x")
    assert len(bytes(Signature.from_string(made_up_signature("x")))) == 64


def test_a_signature_is_verified() -> None:
    """Only the wallet's own signature of the very message counts."""
    signature = str(KEYPAIR.sign_message(b"message"))
    assert is_signed_by(WALLET, b"message", signature)
    assert not is_signed_by(WALLET, b"another", signature)
    assert not is_signed_by(OTHER, b"message", signature)
    assert not is_signed_by(WALLET, b"message", "no signature")


def test_a_private_key_is_written_as_wallets_export_it() -> None:
    """Its 64 bytes in base58 are the key pair again."""
    assert Keypair.from_base58_string(private_key(bytes([1]) * 32)) == KEYPAIR
