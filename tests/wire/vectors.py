"""The wire vectors, and the codec in the direction each of them goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import frozen

from lasersell.protocol import (
    ClientMessage,
    ServerMessage,
    decode_client_message,
    decode_server_message,
    encode_client_message,
    encode_server_message,
)

_FOLDER = Path(__file__).parent.parent / "vectors"


@frozen
class Vector:
    """One line of a vector file."""

    direction: str
    name: str
    wire: dict[str, Any]
    expect: str = ""

    @property
    def text(self) -> bytes:
        return as_text(self.wire)

    def decode(self, text: bytes) -> ClientMessage | ServerMessage:
        if self.direction == "client":
            return decode_client_message(text)
        return decode_server_message(text)

    def encode(self, message: Any) -> bytes:
        if self.direction == "client":
            return encode_client_message(message)
        return encode_server_message(message)


def as_text(wire: object) -> bytes:
    """Write a JSON value as a peer would: no blanks, keys in the order given."""
    return json.dumps(wire, separators=(",", ":"), ensure_ascii=False).encode()


def _load(name: str) -> dict[str, Vector]:
    lines = (_FOLDER / name).read_text(encoding="utf-8").splitlines()
    vectors = [Vector(**json.loads(line)) for line in lines]
    return {vector.name: vector for vector in vectors}


MESSAGES = _load("messages.jsonl")
EDGE_CASES = _load("edge_cases.jsonl")
