from __future__ import annotations

from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.pubkey import check_pubkey

_WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
# 64 bytes, the length of a keypair.
_SECRET = "5" * 87


@pytest.mark.parametrize(
    "key",
    [
        _WALLET,
        "11111111111111111111111111111111",
        "So11111111111111111111111111111111111111112",
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG",
    ],
)
def test_a_public_key_is_returned(key: str) -> None:
    """Keys of 32 bytes pass, with leading zeros and up to all ones."""
    assert check_pubkey(key, "wallet") == key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        (_WALLET[:-2], "decodes to 31 bytes"),
        ("2" * 32, "decodes to 23 bytes"),
        ("1" + _WALLET, "has 45 characters"),
        ("1" * 33, "decodes to 33 bytes"),
        ("1" * 31, "decodes to 31 bytes"),
        # One more than the greatest 32-byte number.
        ("JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFH", "decodes to 33 bytes"),
        ("0" + _WALLET[1:], "a character that base58 does not use"),
        ("O" + _WALLET[1:], "a character that base58 does not use"),
        ("I" + _WALLET[1:], "a character that base58 does not use"),
        ("l" + _WALLET[1:], "a character that base58 does not use"),
        (_WALLET + " ", "has 45 characters"),
        (" " + _WALLET[1:], "a character that base58 does not use"),
        ("é" * 44, "a character that base58 does not use"),
        ("x" * 1_000_000, "has 1000000 characters"),
        (None, "is NoneType, not str"),
        (_WALLET.encode(), "is bytes, not str"),
        (5, "is int, not str"),
    ],
)
def test_anything_else_is_refused(text: Any, problem: str) -> None:
    """The error names the field, the problem and the remedy."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        check_pubkey(text, "wallet_pubkeys[3]")
    assert str(caught.value).startswith("wallet_pubkeys[3] ")
    assert "pass the base58 public key" in str(caught.value)


def test_the_text_itself_is_not_repeated() -> None:
    """A private key passed by mistake does not end up in a log."""
    with pytest.raises(ConfigurationError) as caught:
        check_pubkey(_SECRET, "wallet")
    assert _SECRET[:8] not in str(caught.value)
