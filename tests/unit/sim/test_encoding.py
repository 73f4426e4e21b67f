from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasersell.errors import ConfigurationError
from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.server import PnlUpdate, Pong
from lasersell.sim.encoding import BINARY, frame, text_frames

_U64 = st.integers(0, 2**64 - 1)
_I64 = st.integers(-(2**63), 2**63 - 1)
_PNL = PnlUpdate(
    position_id=1,
    profit_units=-2,
    proceeds_units=3,
    server_time_ms=4,
    token_price_quote=5,
    market_cap_quote=6,
)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_says_its_length_in_the_shortest_form(size: int, head: bytes) -> None:
    """The header of a final text frame has the length as RFC 6455 demands."""
    assert frame(b"x" * size) == head + b"x" * size


def test_a_binary_frame_says_so() -> None:
    """A binary frame differs from a text frame by its opcode."""
    assert frame(b"x", BINARY) == b"\x82\x01x"


def test_each_message_has_a_frame_of_its_own() -> None:
    """Messages become text frames of their JSON."""
    (only,) = text_frames([Pong(server_time_ms=5)])
    assert only == frame(b'{"type":"pong","server_time_ms":5}')


@given(
    position_id=_U64,
    profit_units=_I64,
    proceeds_units=_U64,
    server_time_ms=_U64,
    token_price_quote=_U64 | st.none(),
    market_cap_quote=_U64 | st.none(),
    watched=st.booleans(),
)
def test_a_profit_is_written_as_the_codec_writes_it(**fields: Any) -> None:
    """The quick way gives the codec's bytes, for every value the wire can carry."""
    pnl = PnlUpdate(**fields)
    assert text_frames([pnl]) == [frame(encode_server_message(pnl))]


@pytest.mark.parametrize(
    "fields",
    [
        {"position_id": -1},
        {"proceeds_units": 2**64},
        {"profit_units": 2**63},
        {"profit_units": -(2**63) - 1},
        {"server_time_ms": 1.0},
        {"token_price_quote": True},
        {"market_cap_quote": "6"},
        {"watched": 1},
    ],
    ids=str,
)
def test_what_the_wire_cannot_carry_is_refused(fields: dict[str, Any]) -> None:
    """The quick way lets nothing through that the codec refuses."""
    with pytest.raises(ConfigurationError, match=next(iter(fields))):
        text_frames([PnlUpdate(**(attrs.asdict(_PNL) | fields))])
