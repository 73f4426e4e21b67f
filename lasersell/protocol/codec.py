"""
JSON text to messages and back: strict, exact, and fast where it counts.

Integers are checked against the width they have on the wire, and nothing is
coerced: ``"7"``, ``1.9`` and ``true`` are not integers. An f64 takes an integer.

From the server, a malformed field refuses the message only if the message is of no
use without it; otherwise it becomes None, named in ``decode_notes``. From a client,
any malformed field refuses the message, as the service itself does.

The three types that come many times a second are decoded straight into their class.
Any other message of the server is parsed, and if it has nothing that must be noted,
converted straight into its class. Whatever does not fit these paths exactly takes the
general one, which gives the same value, or the error.

Everything is prepared at import: any thread may call any function here at any time,
and nothing a peer sends makes anything here grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Annotated, Any, TypeAlias, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec
from attrs import NOTHING
from cattrs import Converter

from lasersell.errors import ConfigurationError, DecodeError
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    Configure,
    RequestExitSignal,
    UpdateWallets,
)
from lasersell.protocol.server import (
    ExitSignalWithTx,
    LiquiditySnapshot,
    PnlUpdate,
    ServerMessage,
    TradeTick,
    UnknownMessage,
)
from lasersell.protocol.wire import ALWAYS_SENT, REQUIRED, HotMessage, ServerObject

__all__ = [
    "decode_client_message",
    "decode_server_message",
    "encode_client_message",
    "encode_server_message",
]

_StructureHook = Callable[[Any, Any], Any]
_UnstructureHook = Callable[[Any], Any]


def decode_server_message(text: str | bytes) -> ServerMessage:
    """
    Decode one message of the server.

    A type this version does not know gives an :class:`UnknownMessage`.

    Args:
        text: The JSON text; ``bytes``, in UTF-8, are faster.

    Raises:
        DecodeError: If it is no valid message; ``path`` says where.
    """
    raw = text if isinstance(text, bytes) else _utf8(text)
    # A guess, which only costs time if it is wrong: the type comes first as a rule.
    if raw.startswith(_HOT_STARTS):
        try:
            # msgspec does not look into the fields it skips.
            if not raw.isascii():
                raw.decode()
            return _decode_hot(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    return _decode_any_server_message(raw)


def decode_client_message(text: str | bytes) -> ClientMessage:
    """
    Decode one message of a client, as the service would.

    The legacy forms are understood: ``sell_now``, ``wallet_pubkey``, and one string
    in place of a list of wallets. Unknown fields are ignored.

    Args:
        text: The JSON text; ``bytes`` are in UTF-8.

    Raises:
        DecodeError: If it is no valid message of a known type; ``path`` says where.
    """
    raw = text if isinstance(text, bytes) else _utf8(text)
    tag, value = _parse(raw)
    hook = _CLIENT_HOOKS.get(tag)
    if hook is None:
        raise DecodeError(
            f"no client message has the type {tag[:64]!r}", path="type", raw=raw
        )
    return cast(ClientMessage, _structure(hook, tag, value, raw))


def encode_client_message(message: ClientMessage) -> bytes:
    """
    Encode one message of a client as JSON, in UTF-8.

    Raises:
        ConfigurationError: If a field holds what the wire cannot carry there, such
            as NaN or too large an integer, or a command does not name its position
            in exactly one way; the text names the field.
    """
    return _encode(message, _CLIENT_WRITERS)


def encode_server_message(message: ServerMessage) -> bytes:
    """
    Encode one message of the server as JSON, in UTF-8, its ``extra`` fields included.

    Raises:
        ConfigurationError: If a field holds what the wire cannot carry there; the
            text names the field.
    """
    if isinstance(message, UnknownMessage):
        return _to_json({**message.raw, "type": message.type}, message.type)
    return _encode(message, _SERVER_WRITERS)


# --- From text to values ------------------------------------------------------


def _decode_any_server_message(raw: bytes) -> ServerMessage:
    tag, value = _parse(raw)
    hook = _SERVER_HOOKS.get(tag)
    if hook is None:
        return UnknownMessage(type=tag, raw=value)
    shape = _SERVER_SHAPES.get(tag)
    if shape is not None and shape.fits(value):
        try:
            return shape.decode(raw)
        except msgspec.ValidationError:
            pass
    return cast(ServerMessage, _structure(hook, tag, value, raw))


def _utf8(text: str) -> bytes:
    # A lone surrogate passes here and is refused as bad UTF-8 by the parser.
    return text.encode(errors="surrogatepass")


def _parse(raw: bytes) -> tuple[str, dict[str, Any]]:
    """Return the type and the whole of the JSON object in ``raw``."""
    value = _parse_json(raw)
    if not isinstance(value, dict):
        raise DecodeError(f"expected an object, got {_kind(value)}", raw=raw)
    if "type" not in value:
        raise DecodeError("missing", path="type", raw=raw)
    tag = value["type"]
    if not isinstance(tag, str):
        raise DecodeError(f"expected text, got {_kind(tag)}", path="type", raw=raw)
    return tag, value


def _parse_json(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise DecodeError(f"not valid UTF-8: {error.reason}", raw=raw) from error
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not valid JSON: {error}", raw=raw) from error
    except RecursionError as error:
        raise DecodeError("nested too deeply", raw=raw) from error


def _structure(
    hook: _StructureHook, tag: str, value: dict[str, Any], raw: bytes
) -> Any:
    try:
        return hook(value, None)
    except _Malformed as error:
        located = error.inside(tag)
        raise DecodeError(located.problem, path=located.path, raw=raw) from None


# --- From values to text ------------------------------------------------------


def _encode(message: Any, writers: Mapping[type, _UnstructureHook]) -> bytes:
    writer = writers.get(type(message))
    if writer is None:
        raise ConfigurationError(
            f"{type(message).__name__} is no message of this direction"
        )
    try:
        value = writer(message)
    except _Malformed as error:
        located = error.inside(message.type)
        raise ConfigurationError(f"{located.path}: {located.problem}") from None
    return _to_json(value, message.type)


def _to_json(value: dict[str, Any], tag: str) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{tag}: not expressible as JSON: {error}") from error


# --- One value ----------------------------------------------------------------


class _Malformed(Exception):
    """A value does not fit its place; ``path`` leads to it from where this is caught."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path

    def inside(self, step: str) -> _Malformed:
        """Return the same problem as seen from one level further out."""
        separator = "" if not self.path or self.path.startswith("[") else "."
        return _Malformed(self.problem, f"{step}{separator}{self.path}")


def _text(value: Any, _type: object = None) -> str:
    if type(value) is not str:
        raise _Malformed(f"expected text, got {_kind(value)}")
    return value


def _flag(value: Any, _type: object = None) -> bool:
    if type(value) is not bool:
        raise _Malformed(f"expected true or false, got {_kind(value)}")
    return value


def _number(value: Any, _type: object = None) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Malformed(f"expected a number, got {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise _Malformed("too large a number") from None
    if not math.isfinite(number):
        raise _Malformed("not a finite number")
    return number


def _is_width(declared: Any) -> bool:
    return get_origin(declared) is Annotated


def _width_hook(declared: Any) -> Callable[..., int]:
    meta = declared.__metadata__[0]
    low, high, name = meta.ge, (meta.extra or {}).get("le", meta.le), meta.title

    def check(value: Any, _type: object = None) -> int:
        if type(value) is not int:
            raise _Malformed(f"expected an integer ({name}), got {_kind(value)}")
        if not low <= value <= high:
            raise _Malformed(f"out of range for {name}")
        return value

    return check


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


_KINDS: dict[type, str] = {
    NoneType: "null",
    type(NOTHING): "nothing",
    bool: "true or false",
    int: "an integer",
    float: "a fraction",
    str: "text",
    list: "an array",
    dict: "an object",
}


# --- Arrays and objects -------------------------------------------------------


def _is_tuple(declared: Any) -> bool:
    return get_origin(declared) is tuple


def _tuple_structure_hook(declared: Any) -> _StructureHook:
    read = _converter.get_structure_hook(get_args(declared)[0])

    def structure(value: Any, _type: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _Malformed(f"expected an array, got {_kind(value)}")
        return tuple(
            _located(f"[{i}]", read, item, None) for i, item in enumerate(value)
        )

    return structure


def _tuple_unstructure_hook(declared: Any) -> _UnstructureHook:
    write = _converter.get_unstructure_hook(get_args(declared)[0])

    def unstructure(value: Any) -> list[Any]:
        if not isinstance(value, (tuple, list)):
            raise _Malformed(f"expected a tuple, got {_kind(value)}")
        return [_located(f"[{i}]", write, item) for i, item in enumerate(value)]

    return unstructure


def _located(step: str, hook: Callable[..., Any], *args: Any) -> Any:
    try:
        return hook(*args)
    except _Malformed as error:
        raise error.inside(step) from None


@attrs.frozen
class _Field:
    """How one field of a class travels."""

    name: str
    default: Any  # NOTHING if there is none
    is_optional: bool  # None is among its values
    may_be_absent: bool
    may_be_null: bool
    is_always_sent: bool
    none_is_null: bool  # else a None is left out
    read: _StructureHook
    write: _UnstructureHook


def _describe(attribute: attrs.Attribute[Any], declared: Any) -> _Field:
    alternatives = get_args(declared)
    is_optional = NoneType in alternatives
    type_less_none = alternatives[0] if is_optional else declared
    has_default = attribute.default is not NOTHING
    is_always_sent = attribute.metadata in (REQUIRED, ALWAYS_SENT)
    return _Field(
        name=attribute.name,
        default=attribute.default,
        is_optional=is_optional,
        may_be_absent=has_default and attribute.metadata != REQUIRED,
        may_be_null=is_optional and attribute.default is None,
        is_always_sent=is_always_sent,
        # Absent would mean a default other than None.
        none_is_null=is_always_sent or attribute.default not in (None, NOTHING),
        read=_converter.get_structure_hook(type_less_none),
        write=_converter.get_unstructure_hook(type_less_none),
    )


def _fields(cls: type) -> list[_Field]:
    declared = get_type_hints(cls, include_extras=True)
    return [
        _describe(attribute, declared[attribute.name])
        for attribute in attrs.fields(cls)
        if attribute.name not in _NOT_ON_THE_WIRE
    ]


def _known_names(cls: type) -> set[str]:
    names = {field.name for field in _fields(cls)}
    return names | {"type"} if hasattr(cls, "type") else names


_NOT_ON_THE_WIRE = {attribute.name for attribute in attrs.fields(ServerObject)}


def _object_structure_hook(cls: Any) -> _StructureHook:
    fields = _fields(cls)
    known = _known_names(cls)
    is_server_object = issubclass(cls, ServerObject)
    is_lenient = is_server_object or issubclass(cls, HotMessage)

    def structure(value: Any, _type: object) -> Any:
        if type(value) is not dict:
            raise _Malformed(f"expected an object, got {_kind(value)}")
        found: dict[str, Any] = {}
        notes: list[str] = []
        for field in fields:
            item = value.get(field.name, NOTHING)
            if item is NOTHING and field.may_be_absent:
                continue
            if item is None and field.may_be_null:
                continue
            try:
                found[field.name] = field.read(item, None)
            except _Malformed as error:
                if not (is_lenient and field.is_optional):
                    raise error.inside(field.name) from None
                found[field.name] = None
                notes.append(field.name)
        if is_server_object:
            notes += _notes_within(found)
            found["extra"] = {
                name: item for name, item in value.items() if name not in known
            }
            found["decode_notes"] = tuple(notes)
        return cls(**found)

    return structure


def _notes_within(found: dict[str, Any]) -> list[str]:
    return [
        f"{name}.{note}"
        for name, item in found.items()
        if isinstance(item, ServerObject)
        for note in item.decode_notes
    ]


class _Shape:
    """
    Tells which objects msgspec makes the right instance of by itself.

    It drops the fields it does not know, and takes a null wherever None may be. Both
    must be noted, so an object that has either is left to the general path.
    """

    def __init__(self, cls: Any) -> None:
        self.decode: Callable[[bytes], ServerMessage] = msgspec.json.Decoder(cls).decode
        self._names = _known_names(cls)
        declared = get_type_hints(cls, include_extras=True)
        self._parts = [
            (name, _Shape(part))
            for name in self._names & declared.keys()
            for part in (declared[name], *get_args(declared[name]))
            if isinstance(part, type) and issubclass(part, ServerObject)
        ]

    def fits(self, value: dict[str, Any]) -> bool:
        if not self._names.issuperset(value) or None in value.values():
            return False
        for name, part in self._parts:
            inner = value.get(name)
            if type(inner) is dict and not part.fits(inner):
                return False
        return True


def _with_position_named(hook: _StructureHook) -> _StructureHook:
    def structure(value: Any, declared: object) -> Any:
        signal = hook(value, declared)
        if signal.position_id is None and signal.token_account is None:
            raise _Malformed("neither position_id nor token_account is usable")
        return signal

    return structure


def _object_unstructure_hook(cls: Any) -> _UnstructureHook:
    fields = _fields(cls)
    # The type goes first, so that a reader knows it before it reads the rest.
    start = {"type": cls.type} if hasattr(cls, "type") else {}

    def unstructure(value: Any) -> dict[str, Any]:
        if type(value) is not cls:
            raise _Malformed(f"expected {cls.__name__}, got {_kind(value)}")
        written = dict(start)
        for field in fields:
            item = getattr(value, field.name)
            if item is None and field.is_optional:
                if field.none_is_null:
                    written[field.name] = None
            elif field.is_always_sent or item != field.default:
                written[field.name] = _located(field.name, field.write, item)
        if isinstance(value, ServerObject):
            for name, item in value.extra.items():
                written.setdefault(name, item)
        return written

    return unstructure


def _naming_one_position(hook: _UnstructureHook) -> _UnstructureHook:
    # What the server makes of both or neither is not documented.
    def unstructure(message: Any) -> dict[str, Any]:
        if (message.position_id is None) == (message.token_account is None):
            raise _Malformed("give either position_id or token_account, and not both")
        written: dict[str, Any] = hook(message)
        return written

    return unstructure


# --- Legacy forms of client messages ------------------------------------------


def _with_wallet_list(value: dict[str, Any]) -> dict[str, Any]:
    """Put one wallet given as a string into a list."""
    wallets = value.get("wallet_pubkeys")
    return {**value, "wallet_pubkeys": [wallets]} if isinstance(wallets, str) else value


def _with_wallet_pubkeys(value: dict[str, Any]) -> dict[str, Any]:
    """Give the wallets of a ``configure`` their present name, and put one into a list."""
    if "wallet_pubkey" in value and "wallet_pubkeys" not in value:
        value = {**value, "wallet_pubkeys": value["wallet_pubkey"]}
    return _with_wallet_list(value)


def _modernised(
    modernise: Callable[[dict[str, Any]], dict[str, Any]], hook: _StructureHook
) -> _StructureHook:
    return lambda value, declared: hook(modernise(value), declared)


# --- Preparation --------------------------------------------------------------


def _make_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    for scalar, check in ((str, _text), (bool, _flag), (float, _number)):
        converter.register_structure_hook(scalar, check)
        converter.register_unstructure_hook(scalar, check)
    for applies, structure_hook, unstructure_hook in (
        (_is_width, _width_hook, _width_hook),
        (_is_tuple, _tuple_structure_hook, _tuple_unstructure_hook),
        (attrs.has, _object_structure_hook, _object_unstructure_hook),
    ):
        converter.register_structure_hook_factory(applies, structure_hook)
        converter.register_unstructure_hook_factory(applies, unstructure_hook)
    return converter


_CLIENT_CLASSES = get_args(ClientMessage)
_SERVER_CLASSES = [cls for cls in get_args(ServerMessage) if cls is not UnknownMessage]

_converter = _make_converter()

_CLIENT_HOOKS = {
    cls.type: _converter.get_structure_hook(cls) for cls in _CLIENT_CLASSES
}
_CLIENT_HOOKS |= {
    "sell_now": _CLIENT_HOOKS[RequestExitSignal.type],
    Configure.type: _modernised(_with_wallet_pubkeys, _CLIENT_HOOKS[Configure.type]),
    UpdateWallets.type: _modernised(
        _with_wallet_list, _CLIENT_HOOKS[UpdateWallets.type]
    ),
}

_SERVER_HOOKS = {
    cls.type: _converter.get_structure_hook(cls) for cls in _SERVER_CLASSES
}
_SERVER_HOOKS[ExitSignalWithTx.type] = _with_position_named(
    _SERVER_HOOKS[ExitSignalWithTx.type]
)

_SERVER_SHAPES = {
    cls.type: _Shape(cls) for cls in _SERVER_CLASSES if issubclass(cls, ServerObject)
}

_CLIENT_WRITERS = {cls: _converter.get_unstructure_hook(cls) for cls in _CLIENT_CLASSES}
_CLIENT_WRITERS |= {
    cls: _naming_one_position(_CLIENT_WRITERS[cls])
    for cls in (ClosePosition, RequestExitSignal)
}
_SERVER_WRITERS = {cls: _converter.get_unstructure_hook(cls) for cls in _SERVER_CLASSES}

_Hot: TypeAlias = PnlUpdate | LiquiditySnapshot | TradeTick
_HOT_STARTS = tuple(f'{{"type":"{cls.type}"'.encode() for cls in get_args(_Hot))
_decode_hot: Callable[[bytes], ServerMessage] = msgspec.json.Decoder(_Hot).decode
