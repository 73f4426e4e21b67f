"""Solana public keys in base58, checked without a dependency."""

from __future__ import annotations

from lasersell.errors import ConfigurationError

__all__ = ["check_pubkey"]

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
_KEY_BYTES = 32
_MAX_CHARACTERS = 44


def check_pubkey(text: str, field: str) -> str:
    """
    Return ``text`` if it is a base58 public key of 32 bytes.

    Whether the key lies on the curve is not checked: token accounts do not.

    Args:
        text: The key as a user wrote it.
        field: What the key is for, such as ``wallet_pubkeys[0]``; used in the error.

    Raises:
        ConfigurationError: If it is no such key. The text itself is not repeated,
            in case it is a private key.
    """
    problem = _problem_with(text)
    if problem is not None:
        raise ConfigurationError(
            f"{field} {problem}; pass the base58 public key of a Solana account, "
            "32 to 44 characters long"
        )
    return text


def _problem_with(text: object) -> str | None:
    if not isinstance(text, str):
        return f"is {type(text).__name__}, not str"
    if not text:
        return "is empty"
    if len(text) > _MAX_CHARACTERS:
        return f"has {len(text)} characters, too many for a public key"
    if any(character not in _DIGITS for character in text):
        return "has a character that base58 does not use"
    if _decoded_length(text) != _KEY_BYTES:
        return f"decodes to {_decoded_length(text)} bytes instead of {_KEY_BYTES}"
    return None


def _decoded_length(text: str) -> int:
    number = 0
    for character in text:
        number = number * 58 + _DIGITS[character]
    leading_zero_bytes = len(text) - len(text.lstrip("1"))
    return leading_zero_bytes + (number.bit_length() + 7) // 8
