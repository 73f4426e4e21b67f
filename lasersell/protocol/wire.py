"""
What the classes of the wire share: number widths, field rules, and the server's objects.

A field's type and default say how the codec treats it. No default: it must be
there, unless its type admits None (then a message without it is still of use). A
default: it may be absent, and is left out when it equals the default.
``metadata=REQUIRED`` and ``metadata=ALWAYS_SENT`` mark the exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar

from attrs import NOTHING, AttrsInstance, Factory, field, fields, frozen, make_class
from msgspec import NODEFAULT, Meta, Struct, structs

__all__ = [
    "ALWAYS_SENT",
    "I64",
    "REQUIRED",
    "U8",
    "U16",
    "U32",
    "U64",
    "HotMessage",
    "ServerObject",
    "defaults_on_class",
    "hot_message",
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

    The types that come many times a second do without, see :class:`HotMessage`.
    """

    extra: Mapping[str, Any] = field(factory=dict, hash=False, repr=False)
    """Fields this version does not know, by name, as decoded JSON. Do not modify."""

    decode_notes: tuple[str, ...] = field(default=(), eq=False, repr=False)
    """Fields that are None because the server sent them malformed or not at all."""


class HotMessage(Struct, frozen=True, gc=False, tag_field="type"):
    """
    A message that comes many times a second.

    A Struct is decoded in half the time of any other class and takes half the memory.
    The garbage collector need not look at it: a message refers to values only.
    """

    type: ClassVar[str]
    __attrs_attrs__: ClassVar[Any]


_HotClass = TypeVar("_HotClass", bound=type[HotMessage])


def hot_message(cls: _HotClass) -> _HotClass:
    """
    Make a hot message look like any other.

    It gets its wire tag as ``type``, and ``attrs.fields``, ``asdict``, ``evolve`` and
    so on take it, though attrs did not make it.
    """
    described = {
        f.name: field(
            default=NOTHING if f.default is NODEFAULT else f.default, kw_only=True
        )
        for f in structs.fields(cls)
    }
    alike: type[AttrsInstance] = make_class(cls.__name__, described)
    cls.__attrs_attrs__ = fields(alike)
    cls.type = str(cls.__struct_config__.tag)
    return cls


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
