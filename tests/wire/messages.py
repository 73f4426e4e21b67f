"""Hypothesis strategies: any valid message of the wire, and any JSON value."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from lasersell.protocol import (
    ClientMessage,
    ClosePosition,
    ExitSignalWithTx,
    LiquiditySnapshot,
    PnlUpdate,
    RequestExitSignal,
    ServerMessage,
    TradeTick,
    UnknownMessage,
)
from lasersell.protocol.wire import I64, U8, U16, U32, U64

CLIENT_CLASSES: list[Any] = list(get_args(ClientMessage))
SERVER_CLASSES: list[Any] = [
    cls for cls in get_args(ServerMessage) if cls is not UnknownMessage
]
HOT_CLASSES: list[Any] = [PnlUpdate, LiquiditySnapshot, TradeTick]

_SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (U8, st.integers(0, 2**8 - 1)),
    (U16, st.integers(0, 2**16 - 1)),
    (U32, st.integers(0, 2**32 - 1)),
    (U64, st.integers(0, 2**64 - 1)),
    (I64, st.integers(-(2**63), 2**63 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (str, st.text(max_size=12)),
]

_json_scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)

json_values: st.SearchStrategy[Any] = (
    _json_scalars
    | st.lists(_json_scalars, max_size=2)
    | st.dictionaries(st.text(max_size=4), _json_scalars, max_size=2)
)

_extra = st.dictionaries(
    st.text(max_size=4).map("future_".__add__), json_values, max_size=2
)


def messages(cls: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of one class, each field over its whole range."""
    fields = _field_strategies(cls)
    if cls in (ClosePosition, RequestExitSignal):
        return _naming_a_position(cls, fields, only_one=True)
    if cls is ExitSignalWithTx:
        return _naming_a_position(cls, fields, only_one=False)
    return st.builds(cls, **fields)


def _naming_a_position(
    cls: Any, fields: dict[str, st.SearchStrategy[Any]], *, only_one: bool
) -> st.SearchStrategy[Any]:
    position_id = st.integers(0, 2**64 - 1)
    other = st.none() if only_one else st.text(max_size=12) | st.none()
    by_id = fields | {"position_id": position_id, "token_account": other}
    by_account = fields | {
        "position_id": st.none(),
        "token_account": st.text(max_size=12),
    }
    return st.builds(cls, **by_id) | st.builds(cls, **by_account)


def _field_strategies(cls: Any) -> dict[str, st.SearchStrategy[Any]]:
    declared = get_type_hints(cls, include_extras=True)
    strategies = {
        attribute.name: _values(declared[attribute.name])
        for attribute in attrs.fields(cls)
        if attribute.name not in {"extra", "decode_notes"}
    }
    if "extra" in declared:
        strategies["extra"] = _extra
    return strategies


def _values(declared: Any) -> st.SearchStrategy[Any]:
    for scalar, strategy in _SCALARS:
        if declared == scalar:
            return strategy
    if get_origin(declared) is tuple:
        return st.lists(_values(get_args(declared)[0]), max_size=3).map(tuple)
    if NoneType in get_args(declared):
        return st.none() | _values(get_args(declared)[0])
    return st.builds(declared, **_field_strategies(declared))
