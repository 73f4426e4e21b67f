"""The codec has a fast path for what is as expected; its values are those of the general one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from lasersell.errors import DecodeError
from lasersell.protocol import codec, decode_server_message
from tests.wire.vectors import MESSAGES, Vector, as_text

_ODD: list[Any] = [
    None,
    True,
    7,
    -1,
    1.5,
    2**63,
    2**64,
    "7",
    "pumpswap",
    [],
    {},
    {"pool": None},
    {"market_type": "pumpfun", "pumpfun": {"pool": "p", "new": 1}, "new": 1},
]
_SERVER = [vector for vector in MESSAGES.values() if vector.direction == "server"]


def _variants(wire: Any) -> Iterator[Any]:
    """Yield the object with each one of its fields, at any depth, odd, gone or new."""
    for path in _paths(wire):
        for odd in _ODD:
            yield _with(wire, path, odd)
            yield _with(wire, (*path[:-1], "new_field"), odd)
        yield _with(wire, path)


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name in value:
            yield (*path, name)
            yield from _paths(value[name], (*path, name))


def _with(wire: Any, path: tuple[str, ...], *item: Any) -> Any:
    changed = copy.deepcopy(wire)
    place = changed
    for name in path[:-1]:
        place = place[name]
    if item:
        place[path[-1]] = item[0]
    else:
        del place[path[-1]]
    return changed


def _outcome(raw: bytes) -> object:
    try:
        return decode_server_message(raw)
    except DecodeError as error:
        return str(error), error.path


@pytest.mark.parametrize("vector", _SERVER, ids=lambda vector: vector.name)
def test_the_fast_path_gives_what_the_general_one_gives(
    vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that is odd, missing or new is treated the same on both paths."""
    texts = [as_text(variant) for variant in _variants(vector.wire)]
    fast = [_outcome(text) for text in texts]
    monkeypatch.setattr(codec, "_SERVER_SHAPES", {})
    general = [_outcome(text) for text in texts]
    assert fast == general
    extras = [getattr(outcome, "extra", None) for outcome in general]
    assert [getattr(outcome, "extra", None) for outcome in fast] == extras
    notes = [getattr(outcome, "decode_notes", None) for outcome in general]
    assert [getattr(outcome, "decode_notes", None) for outcome in fast] == notes


# msgspec has no bound for the upper half of u64.
_BEYOND = {"position_opened/second_wallet_other_mint"}
_USUAL = [vector for vector in _SERVER if vector.name not in _BEYOND]


@pytest.mark.parametrize("vector", _USUAL, ids=lambda vector: vector.name)
def test_what_is_as_expected_takes_the_fast_path(
    vector: Vector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The general path sees no message that has nothing to be noted."""

    def refuse(*_: object) -> None:
        raise AssertionError("the general path was taken")

    usual = decode_server_message(vector.text)
    monkeypatch.setattr(codec, "_structure", refuse)
    assert decode_server_message(vector.text) == usual
