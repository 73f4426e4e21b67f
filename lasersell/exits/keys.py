"""
The private keys of wallets: loaded once, shown never.

A key is in no ``repr``, log line, exception or pickle. Neither is it a local variable
of a frame that raises, because some loggers print those; hence the ``del`` below.
Python cannot wipe memory, so whoever can read the process's memory can read the key.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from solders.keypair import Keypair

from lasersell._decode import decode_json
from lasersell.errors import ConfigurationError

__all__ = ["KEY_VARIABLE", "WalletKey"]

KEY_VARIABLE = "LASERSELL_PRIVATE_KEY"
"""The environment variable a key is read from."""

_FILE_LIMIT = 4096


class WalletKey:
    """
    The key pair of one wallet; signs, and never shows its private half.

    Made by one of the ``from_`` methods, or of a ``solders.keypair.Keypair``. May be
    used from any thread.
    """

    __slots__ = ("_keypair", "_pubkey")

    def __init__(self, keypair: Any) -> None:
        # Whoever prints the variables of this frame prints us before we are complete.
        self._pubkey = ""
        if not isinstance(keypair, Keypair):
            kind = type(keypair).__name__
            del keypair
            raise ConfigurationError(
                f"a WalletKey is made of a solders Keypair, not {kind}; "
                "see WalletKey.from_file, from_base58 and from_env"
            )
        self._keypair: Keypair = keypair
        self._pubkey = str(keypair.pubkey())

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, allow_insecure_permissions: bool = False
    ) -> WalletKey:
        """
        Load a key file of the Solana command line: a JSON array of 64 bytes.

        Args:
            path: The file.
            allow_insecure_permissions: Whether to take a file that the group or the
                world may read.

        Raises:
            ConfigurationError: There is no such file, others may read it, or it
                holds no key pair.
        """
        place = Path(path)
        _check_file(place, allow_insecure_permissions)
        keypair = _load(place)
        if keypair is None:
            raise ConfigurationError(
                f"{place} holds no key pair; it must be a JSON array of the 64 bytes "
                "that solana-keygen writes"
            )
        return cls(keypair)

    @classmethod
    def from_base58(cls, text: str) -> WalletKey:
        """
        Load a key as wallets export it: the 64 bytes in base58.

        Raises:
            ConfigurationError: It is no key pair. The text is not repeated.
        """
        keypair = _of_base58(text)
        del text
        if keypair is None:
            raise ConfigurationError(
                "this is no private key: give the 64 bytes of the key pair in base58, "
                "87 or 88 characters, as the wallet exports them"
            )
        return cls(keypair)

    @classmethod
    def from_env(cls, variable: str = KEY_VARIABLE) -> WalletKey:
        """
        Load the key from an environment variable: base58, or a JSON array of 64 bytes.

        Raises:
            ConfigurationError: The variable is not set, or holds no key pair.
        """
        if not os.environ.get(variable, "").strip():
            raise ConfigurationError(
                f"{variable} is not set; put the wallet's private key there, in base58 "
                "or as a JSON array of 64 bytes"
            )
        keypair = _of_text(os.environ[variable])
        if keypair is None:
            raise ConfigurationError(
                f"{variable} holds no key pair; it must be base58 of 87 or 88 characters, "
                "or a JSON array of 64 bytes"
            )
        return cls(keypair)

    @property
    def pubkey(self) -> str:
        """The public key, in base58: the wallet's address."""
        return self._pubkey

    def sign(self, message: bytes) -> bytes:
        """Return the ed25519 signature of a message, 64 bytes."""
        return bytes(self._keypair.sign_message(message))

    def __repr__(self) -> str:
        return f"WalletKey({self._pubkey!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a private key is not pickled; load it in each process from its source"
        )


def _check_file(place: Path, allow_insecure_permissions: bool) -> None:
    try:
        status = place.stat()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the key file {place}: {error.strerror}"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the key file {place} is not a file")
    shared = os.name == "posix" and status.st_mode & 0o077
    if shared and not allow_insecure_permissions:
        raise ConfigurationError(
            f"others may use the key file {place} (mode {stat.S_IMODE(status.st_mode):o}); "
            f"run: chmod 600 {place}, or pass allow_insecure_permissions=True"
        )


def _load(place: Path) -> Keypair | None:
    try:
        with place.open("rb") as file:
            return _of_json(file.read(_FILE_LIMIT))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the key file {place}: {error.strerror}"
        ) from error


def _of_text(text: str) -> Keypair | None:
    text = text.strip()
    return _of_json(text.encode()) if text.startswith("[") else _of_base58(text)


def _of_json(text: bytes) -> Keypair | None:
    # None instead of an error: an error would carry the text along.
    try:
        return Keypair.from_bytes(bytes(decode_json(text, list[int])))
    except (ValueError, msgspec.MsgspecError):
        return None


def _of_base58(text: Any) -> Keypair | None:
    try:
        return Keypair.from_base58_string(text.strip())
    except (ValueError, AttributeError, TypeError):
        return None
