from __future__ import annotations

from solders.pubkey import Pubkey
from solders.signature import Signature

from lasersell.exits.ownership import prove_ownership
from tests.clock import FakeClock
from tests.unit.exits.trades import OWN, WALLET


def test_a_proof_is_the_signed_message_of_the_wire(clock: FakeClock) -> None:
    """The message names the wallet and the time in seconds, and is signed raw."""
    proof = prove_ownership(OWN, clock=clock)
    assert proof.wallet_pubkey == WALLET
    assert proof.message == f"lasersell-register:{WALLET}:1700000000"
    signature = Signature.from_string(proof.signature)
    assert signature.verify(Pubkey.from_string(WALLET), proof.message.encode())
