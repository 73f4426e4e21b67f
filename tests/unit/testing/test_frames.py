from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasersell.stream.frames import encode_frame
from lasersell.testing.frames import Frame, FrameCutter

_SIZES = st.integers(0, 300) | st.integers(65_530, 65_540)
_HEADS = st.sampled_from([0x81, 0x01, 0x80, 0x82, 0x88, 0x89, 0x8A])


@given(
    sent=st.lists(st.tuples(_HEADS, _SIZES), max_size=5),
    pieces=st.integers(1, 500),
)
def test_frames_are_cut_as_they_were_sent(
    sent: list[tuple[int, int]], pieces: int
) -> None:
    """Whatever frames a server sends, in whatever pieces, they come out the same."""
    frames = [Frame(head, b"x" * size) for head, size in sent]
    data = b"".join(frame.encode() for frame in frames)
    cutter = FrameCutter()
    step = len(data) // pieces + 1
    cut = [
        frame
        for start in range(0, len(data), step)
        for frame in cutter.feed(data[start : start + step])
    ]
    assert cut == frames
    assert cutter.end() == []


@given(size=_SIZES, mask=st.binary(min_size=4, max_size=4))
def test_what_a_client_masked_is_unmasked(size: int, mask: bytes) -> None:
    """A client's frame comes out with what it carries."""
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (frame,) = FrameCutter().feed(encode_frame(0x1, payload, mask))
    assert frame == Frame(0x81, payload)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (Frame(0x81, "é".encode()), "é"),
        (Frame(0x81, b"\xff"), None),
        (Frame(0x01, b"a part"), None),
        (Frame(0x82, b"binary"), None),
        (Frame(None, b"bytes"), None),
    ],
)
def test_only_a_whole_and_good_text_is_text(frame: Frame, text: str | None) -> None:
    """Parts, bad UTF-8 and everything else are kept as bytes."""
    assert frame.text == text


def test_half_a_frame_is_bytes_at_the_end() -> None:
    """What never became whole is not lost."""
    cutter = FrameCutter()
    assert cutter.feed(b"\x81\x05hel") == []
    (rest,) = cutter.end()
    assert rest == Frame(None, b"\x81\x05hel")
    assert (rest.opcode, rest.encode()) == (None, b"\x81\x05hel")


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\x00", b"\x81\x7f" + b"\xff" * 8, b"\xc1\x00rest"]
)
def test_after_garbage_everything_is_bytes(garbage: bytes) -> None:
    """Reserved bits and absurd lengths are no frames, nor is what follows."""
    cutter = FrameCutter()
    good = Frame(0x81, b"{}")
    assert cutter.feed(good.encode() + garbage) == [good, Frame(None, garbage)]
    assert cutter.feed(good.encode()) == [Frame(None, good.encode())]
