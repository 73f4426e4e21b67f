from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from lasersell.errors import ConfigurationError
from lasersell.exits.keys import KEY_VARIABLE, WalletKey

KEYPAIR = Keypair.from_seed(bytes([1]) * 32)
PUBKEY = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
BASE58 = str(KEYPAIR)
NUMBERS = json.dumps(list(bytes(KEYPAIR)))


def key_file(folder: Path, text: str = NUMBERS, mode: int = 0o600) -> Path:
    """Write a key file."""
    path = folder / "id.json"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_is_loaded_from_a_file(tmp_path: Path) -> None:
    """The file that solana-keygen writes is read."""
    assert WalletKey.from_file(key_file(tmp_path)).pubkey == PUBKEY
    assert WalletKey.from_file(str(key_file(tmp_path))).pubkey == PUBKEY


def test_a_key_is_loaded_from_base58() -> None:
    """What a wallet exports is read, with or without white space around it."""
    assert WalletKey.from_base58(f" {BASE58}\n").pubkey == PUBKEY


@pytest.mark.parametrize("text", [BASE58, NUMBERS, f"  {NUMBERS}\n"])
def test_a_key_is_loaded_from_the_environment(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable may hold either form."""
    monkeypatch.setenv(KEY_VARIABLE, text)
    assert WalletKey.from_env().pubkey == PUBKEY
    monkeypatch.setenv("MY_KEY", text)
    assert WalletKey.from_env("MY_KEY").pubkey == PUBKEY


def test_a_signature_can_be_verified() -> None:
    """What is signed verifies with the public key."""
    signature = Signature.from_bytes(WalletKey(KEYPAIR).sign(b"message"))
    assert signature.verify(Pubkey.from_string(PUBKEY), b"message")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o666])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """A group- or world-readable key is refused, with the remedy, unless allowed."""
    path = key_file(tmp_path, mode=mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        WalletKey.from_file(path)
    assert WalletKey.from_file(path, allow_insecure_permissions=True).pubkey == PUBKEY


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error with its path."""
    with pytest.raises(ConfigurationError, match="No such file"):
        WalletKey.from_file(tmp_path / "none.json")


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    """Only a file is opened: no folder, no pipe that would block."""
    with pytest.raises(ConfigurationError, match="is not a file"):
        WalletKey.from_file(tmp_path)


SECRET_NUMBERS = list(bytes(KEYPAIR))
MALFORMED_FILES = [
    "",
    "{}",
    "[1, 2, 3]",
    json.dumps(SECRET_NUMBERS[:63]),
    json.dumps([*SECRET_NUMBERS[:63], 300]),
    json.dumps([*SECRET_NUMBERS[:32], *[0] * 32]),
    json.dumps([str(number) for number in SECRET_NUMBERS]),
    NUMBERS[:-1],
    BASE58,
]


@pytest.mark.parametrize("text", MALFORMED_FILES)
def test_a_malformed_key_file_is_refused(tmp_path: Path, text: str) -> None:
    """What is no key pair, or one whose halves do not match, is refused."""
    with pytest.raises(ConfigurationError, match="holds no key pair"):
        WalletKey.from_file(key_file(tmp_path, text))


@pytest.mark.parametrize("text", ["", "0OIl", BASE58[:-1], PUBKEY, "z" * 88, "é"])
def test_malformed_base58_is_refused(text: str) -> None:
    """What is no key pair in base58 is refused; a public key is none."""
    with pytest.raises(ConfigurationError, match="no private key"):
        WalletKey.from_base58(text)


def test_an_empty_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set, or holds nonsense, is named."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=f"{KEY_VARIABLE} is not set"):
        WalletKey.from_env()
    monkeypatch.setenv(KEY_VARIABLE, "nonsense")
    with pytest.raises(ConfigurationError, match=f"{KEY_VARIABLE} holds no key pair"):
        WalletKey.from_env()


def test_only_a_key_pair_makes_a_key() -> None:
    """A text in the place of a key pair is refused without being repeated."""
    with pytest.raises(ConfigurationError, match="not str") as caught:
        WalletKey(BASE58)
    assert_no_secret(told_by(caught.value))


# The private key is shown nowhere


def assert_no_secret(text: str) -> None:
    """Fail if a text has the private key in any form in which it might be written."""
    secret = bytes(KEYPAIR)[:32]
    forms = [
        BASE58,
        BASE58[:40],
        secret.hex(),
        secret.hex().upper(),
        repr(secret)[2:-1],
        json.dumps(list(secret))[1:-1],
        ",".join(map(str, secret)),
        ", ".join(f"'{number}'" for number in secret),
        secret.decode("latin-1"),
    ]
    for form in forms:
        assert form not in text


def told_by(error: BaseException) -> str:
    """
    Return all that a logger could print of an error: its causes, all local variables.

    But for the frames of the test itself, which knows the secret.
    """
    parts: list[str] = []
    following: BaseException | None = error
    while following is not None:
        parts += [str(following), repr(following), repr(vars(following))]
        for frame, _ in traceback.walk_tb(following.__traceback__):
            if "tests" not in frame.f_code.co_filename:
                parts.append(repr(frame.f_locals))
        following = following.__cause__ or following.__context__
    return "\n".join(parts)


def test_a_key_is_not_shown() -> None:
    """The texts of a key have its public half only."""
    key = WalletKey(KEYPAIR)
    assert repr(key) == f"WalletKey({PUBKEY!r})"
    for text in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert_no_secret(text)


def test_a_key_is_neither_pickled_nor_copied() -> None:
    """A key does not leave the process, nor the object it is in."""
    key = WalletKey(KEYPAIR)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leave(key)


def _failures(folder: Path) -> dict[str, Callable[[], object]]:
    key = WalletKey(KEYPAIR)
    return {
        "a damaged file": lambda: WalletKey.from_file(key_file(folder, NUMBERS[:-1])),
        "mismatched halves": lambda: WalletKey.from_file(
            key_file(folder, json.dumps([*SECRET_NUMBERS[:32], *[0] * 32]))
        ),
        "an open file": lambda: WalletKey.from_file(key_file(folder, mode=0o644)),
        "damaged base58": lambda: WalletKey.from_base58(BASE58 + "0"),
        "the environment": lambda: WalletKey.from_env("MY_KEY"),
        "a wrong message": lambda: key.sign("text"),  # type: ignore[arg-type]
        "a pickle": lambda: pickle.dumps(key),
        "the raw bytes": lambda: WalletKey(bytes(KEYPAIR)),
    }


@pytest.mark.parametrize(
    "name",
    [
        "a damaged file",
        "mismatched halves",
        "an open file",
        "damaged base58",
        "the environment",
        "a wrong message",
        "a pickle",
        "the raw bytes",
    ],
)
def test_no_failure_tells_the_key(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error has the key in its text, its causes, or its frames' variables."""
    monkeypatch.setenv("MY_KEY", NUMBERS[:-1])
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each raises another
        _failures(tmp_path)[name]()
    assert_no_secret(told_by(caught.value))
