from __future__ import annotations

import pytest

from lasersell.protocol.server import Pong
from lasersell.sim.connection import BINARY, frame, text_frames


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
