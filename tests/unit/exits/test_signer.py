from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.transaction import VersionedTransaction

from lasersell.errors import ConfigurationError, GuardRefusedError, TxError
from lasersell.exits.guard.policy import Policy
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.exits.responses import BuildTxResponse
from lasersell.exits.signer import Signer
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.codec import decode_server_message
from lasersell.protocol.mirror import AutoBuy
from lasersell.protocol.server import ExitSignalWithTx, MirrorBuySignal
from tests.unit.exits.trades import (
    MINT,
    OWN,
    THIEF,
    WALLET,
    build,
    buy_instructions,
    exit_instructions,
    exit_signal,
    seed_key,
    transfer,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "messages.jsonl"


def is_valid(signed: SignedTransaction) -> bool:
    """Tell whether a transaction is signed as the network wants it."""
    transaction = VersionedTransaction.from_bytes(signed.raw)
    return transaction.verify_with_results() == [True]


def test_an_exit_is_signed_by_its_wallet() -> None:
    """Of several keys the one of the event's wallet signs."""
    signer = Signer([seed_key(2), OWN])
    assert signer.wallets == (seed_key(2).pubkey, WALLET)
    signed = signer.sign_exit(exit_signal(build(exit_instructions())))
    assert is_valid(signed)
    assert signed.wallet == WALLET
    assert signed.tip_lamports == 10_000_000


def test_an_exit_of_somebody_else_is_not_signed() -> None:
    """A signal for a wallet whose key we do not hold is refused before all else."""
    signal = exit_signal("nonsense", wallet=THIEF)
    with pytest.raises(GuardRefusedError) as caught:
        Signer([OWN]).sign_exit(signal)
    assert caught.value.reason == "not_our_wallet"


def test_an_exit_for_our_wallet_with_a_foreign_transaction_is_not_signed() -> None:
    """The event names our wallet, and the transaction is somebody else's."""
    tx = build([transfer(5, to=WALLET, source=THIEF)], payer=THIEF)
    with pytest.raises(GuardRefusedError) as caught:
        Signer([OWN]).sign_exit(exit_signal(tx))
    assert caught.value.reason == "foreign_fee_payer"


def test_the_policy_decides() -> None:
    """The same transaction is signed or not, as the policy has it."""
    signal = exit_signal(build([*exit_instructions(), transfer(10**9)]))
    with pytest.raises(GuardRefusedError):
        Signer([OWN]).sign_exit(signal)
    assert is_valid(Signer([OWN], policy=Policy.signer_only()).sign_exit(signal))


def test_a_mirror_buy_is_held_against_the_own_setting() -> None:
    """What the server asks for beyond what we configured is not signed."""
    signal = MirrorBuySignal(
        session_id=1,
        watched_wallet=THIEF,
        mint=MINT,
        user_wallet=WALLET,
        amount_quote_units=100,
        input="SOL",
        unsigned_tx_b64=build(buy_instructions(units=100)),
        slippage_bps=1,
    )
    assert is_valid(Signer([OWN]).sign_mirror_buy(signal))
    less = AutoBuy(wallet_pubkey=WALLET, amount_quote_units=99)
    with pytest.raises(GuardRefusedError) as caught:
        Signer([OWN]).sign_mirror_buy(signal, less)
    assert caught.value.reason == "amount_too_large"


def test_what_the_api_built_is_held_against_the_request() -> None:
    """A transaction that sells or spends more than was asked for is not signed."""
    signer = Signer([OWN])

    def sell(tokens: int) -> SignedTransaction:
        request = BuildSellTxRequest(
            mint=MINT, user_pubkey=WALLET, amount_tokens=500, slippage_bps=1
        )
        built = BuildTxResponse(build(exit_instructions(tokens=tokens)))
        return signer.sign_sell(built, request)

    def buy(units: int) -> SignedTransaction:
        request = BuildBuyTxRequest(
            mint=MINT, user_pubkey=WALLET, amount_in_total=500, slippage_bps=1
        )
        return signer.sign_buy(
            BuildTxResponse(build(buy_instructions(units=units))), request
        )

    assert is_valid(sell(500))
    assert is_valid(buy(500))
    for over in (sell, buy):
        with pytest.raises(GuardRefusedError) as caught:
            over(501)
        assert caught.value.reason == "amount_too_large"


def test_a_damaged_transaction_is_an_error_of_decoding() -> None:
    """What cannot be read is not signed."""
    with pytest.raises(TxError) as caught:
        Signer([OWN]).sign_exit(exit_signal("nonsense"))
    assert caught.value.stage == "decode"


def test_a_signer_needs_a_key() -> None:
    """Without keys there is nothing to sign with."""
    with pytest.raises(ConfigurationError, match="no keys"):
        Signer([])


def test_a_signer_shows_its_wallets_only() -> None:
    """The text of a signer has the public keys."""
    assert repr(Signer([OWN])) == f"Signer({WALLET})"


def vector_signals() -> list[ExitSignalWithTx]:
    """Return the exit signals of the shared vectors."""
    signals = []
    for line in VECTORS.read_text().splitlines():
        entry = json.loads(line)
        if entry["name"].startswith("exit_signal_with_tx"):
            message = decode_server_message(json.dumps(entry["wire"]))
            assert isinstance(message, ExitSignalWithTx)
            signals.append(message)
    return signals


def test_the_vectors_are_signed_when_only_the_signer_counts() -> None:
    """Their bare transactions are real: signable, but no sales by the default policy."""
    signals = vector_signals()
    assert len(signals) > 5
    for signal in signals:
        assert is_valid(Signer([OWN], policy=Policy.signer_only()).sign_exit(signal))
        with pytest.raises(GuardRefusedError) as caught:
            Signer([OWN]).sign_exit(signal)
        assert caught.value.reason == "no_venue"
