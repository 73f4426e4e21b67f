"""
Decode to classes, in any thread at any time.

msgspec looks at a class when it first decodes one, and runs Python code meanwhile; a second
thread that decodes the same class for the first time then takes the whole process down
(seen with 0.22). So nobody calls ``msgspec.json.decode(..., type=...)`` but this module.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

__all__ = ["decode_json", "decode_msgpack"]

T = TypeVar("T")

_decoders: dict[tuple[type, type], Any] = {}
# Guards that one thread at a time has msgspec look at classes.
_making = threading.Lock()


def decode_json(raw: bytes, kind: type[T]) -> T:
    """
    Return JSON as an object of a class.

    Raises:
        msgspec.MsgspecError: It is none.
    """
    return _decode(msgspec.json.Decoder, raw, kind)


def decode_msgpack(raw: bytes, kind: type[T]) -> T:
    """
    Return MessagePack as an object of a class.

    Raises:
        msgspec.MsgspecError: It is none.
    """
    return _decode(msgspec.msgpack.Decoder, raw, kind)


def _decode(made_by: type, raw: bytes, kind: type[T]) -> T:
    decoder = _decoders.get((made_by, kind))
    if decoder is None:
        with _making:
            decoder = _decoders.setdefault((made_by, kind), made_by(kind))
    decoded: T = decoder.decode(raw)
    return decoded
