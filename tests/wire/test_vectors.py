from __future__ import annotations

import json
from typing import Any

import pytest

from lasersell.protocol import RequestExitSignal, decode_client_message
from tests.wire.vectors import MESSAGES, Vector

# What our form of these differs in: the value of a field, or None if it is left out.
_OTHER_FORM: dict[str, dict[str, Any]] = {
    # Legacy aliases.
    "configure/legacy_wallet_pubkey_string": {
        "wallet_pubkey": None,
        "wallet_pubkeys": ["AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"],
    },
    "configure/wallet_pubkeys_as_string": {
        "wallet_pubkeys": ["AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"]
    },
    "update_wallets/single_string": {
        "wallet_pubkeys": ["AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"]
    },
    "request_exit_signal/legacy_sell_now": {"type": "request_exit_signal"},
    # A field that is not on the wire, and one written at its default.
    "configure/docs_example_with_deadline_field": {
        "deadline_timeout_sec": None,
        "strategy": {
            "target_profit_pct": 5.0,
            "stop_loss_pct": 1.5,
            "trailing_stop_pct": 3.0,
        },
    },
    # Nulls and defaults written out.
    "configure/rust_sdk_null_options": {
        "strategy": {"target_profit_pct": 5.0, "stop_loss_pct": 1.5},
        "send_mode": None,
        "tip_lamports": None,
    },
    # Partial mirror settings are always completed.
    "configure/mirror_config_empty_object": {
        "mirror_config": {
            "max_positions_per_wallet": 0,
            "cooldown_sec": 0,
            "skip_creator_tokens": False,
            "max_active_sol": 0.0,
            "buy_slippage_bps": 0,
            "min_liquidity_sol": None,
            "max_entry_drift_pct": None,
            "max_consecutive_losses": None,
        }
    },
}

every_vector = pytest.mark.parametrize(
    "vector", MESSAGES.values(), ids=lambda vector: vector.name
)


@every_vector
def test_what_is_encoded_decodes_to_the_same(vector: Vector) -> None:
    """decode(encode(decode(x))) == decode(x), for every vector."""
    message = vector.decode(vector.text)
    assert vector.decode(vector.encode(message)) == message


@every_vector
def test_what_is_decoded_encodes_to_the_same(vector: Vector) -> None:
    """encode(decode(x)) == x as JSON values, but for the exceptions named above."""
    changes = _OTHER_FORM.get(vector.name, {})
    expected = {
        name: value
        for name, value in {**vector.wire, **changes}.items()
        if not (name in changes and value is None)
    }
    assert json.loads(vector.encode(vector.decode(vector.text))) == expected


@pytest.mark.parametrize("name", _OTHER_FORM)
def test_the_exceptions_are_exceptions(name: str) -> None:
    """Each named exception is a vector that our own form really differs from."""
    vector = MESSAGES[name]
    encoded = json.loads(vector.encode(vector.decode(vector.text)))
    assert encoded != vector.wire


@every_vector
def test_no_vector_has_anything_malformed(vector: Vector) -> None:
    """A valid message of the server gives neither decode notes nor extra fields."""
    message = vector.decode(vector.text)
    assert getattr(message, "decode_notes", ()) == ()
    assert getattr(message, "extra", {}) == {}


@every_vector
def test_the_order_of_keys_and_blanks_do_not_matter(vector: Vector) -> None:
    """A message laid out in another way decodes to the same, by whatever path."""
    reordered = dict(reversed(vector.wire.items()))
    laid_out = json.dumps(reordered, indent=2).encode()
    assert vector.decode(laid_out) == vector.decode(vector.text)


def test_the_legacy_sell_now_is_a_request_exit_signal() -> None:
    """The old name of the request gives the class of the new one."""
    vector = MESSAGES["request_exit_signal/legacy_sell_now"]
    expected = RequestExitSignal(position_id=123, slippage_bps=42)
    assert decode_client_message(vector.text) == expected
