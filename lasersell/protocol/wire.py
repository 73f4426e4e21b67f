"""
What the classes of the wire share: number widths, field rules, and the server's objects.

A field's type and default say how the codec treats it. No default: it must be
there, unless its type admits None (then a message without it is still of use). A
default: it may be absent, and is left out when it equals the default.
``metadata=REQUIRED`` and ``metadata=ALWAYS_SENT`` mark the exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from attrs import NOTHING, AttrsInstance, Factory, field, fields, frozen
from msgspec import Meta

__all__ = [
    "ALWAYS_SENT",
    "I64",
    "REQUIRED",
    "U8",
    "U16",
    "U32",
    "U64",
    "ServerObject",
    "defaults_on_class",
]

# msgspec cannot express a bound above 2**63 - 1, so its typed decoder refuses the
# upper half of u64 and the codec's general path, exact to "le" in extra, takes it.
U8: TypeAlias = Annotated[int, Meta(title="u8", ge=0, le=2**8 - 1)]
U16: TypeAlias = Annotated[int, Meta(title="u16", ge=0, le=2**16 - 1)]
U32: TypeAlias = Annotated[int, Meta(title="u32", ge=0, le=2**32 - 1)]
U64: TypeAlias = Annotated[
    int, Meta(title="u64", ge=0, le=2**63 - 1, extra={"le": 2**64 - 1})
]
I64: TypeAlias = Annotated[int, Meta(title="i64", ge=-(2**63), le=2**63 - 1)]

# On the wire whatever its value, though the class has a default.
ALWAYS_SENT: Mapping[str, str] = {"wire": "always_sent"}
# The same, and a message that lacks it is refused.
REQUIRED: Mapping[str, str] = {"wire": "required"}


@frozen(kw_only=True, slots=False)
class ServerObject:
    """
    What every object of the server carries besides its own fields.

    The three types that come many times a second (``pnl_update``,
    ``liquidity_snapshot``, ``trade_tick``) do without, for speed.
    """

    extra: Mapping[str, Any] = field(factory=dict, hash=False, repr=False)
    """Fields this version does not know, by name, as decoded JSON. Do not modify."""

    decode_notes: tuple[str, ...] = field(default=(), eq=False, repr=False)
    """Fields that are None because the server sent them malformed or not at all."""


_AttrsClass = TypeVar("_AttrsClass", bound=type[AttrsInstance])


def defaults_on_class(cls: _AttrsClass) -> _AttrsClass:
    """
    Put the defaults of a class without slots on the class itself.

    msgspec asks an instance for each field that did not come, and one it does not
    find costs an exception: half the time of decoding a bare ``pnl_update``. With
    slots there is no other place for a default than the instance.
    """
    for attribute in fields(cls):
        if attribute.default is not NOTHING and not _is_factory(attribute.default):
            setattr(cls, attribute.name, attribute.default)
    return cls


def _is_factory(default: Any) -> bool:
    return isinstance(default, Factory)  # type: ignore[arg-type] # typed as a function
