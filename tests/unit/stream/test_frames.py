from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasersell.stream.frames import (
    MAX_FRAGMENTS,
    BinaryMessage,
    CloseFrame,
    FrameParser,
    MaskKeys,
    Opcode,
    PingFrame,
    PongFrame,
    encode_frame,
)
from tests.faults.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
)

_LIMIT = 100_000


def _parser(limit: int = _LIMIT, *, check_utf8: bool = False) -> FrameParser:
    return FrameParser(limit, check_utf8=check_utf8)


def _feed_all(parser: FrameParser, pieces: Sequence[bytes]) -> list[bytes]:
    return [text for piece in pieces for text in parser.feed(piece)]


def _problem(parser: FrameParser) -> tuple[int, str]:
    assert parser.error is not None
    return parser.error.close_code, str(parser.error)


# Messages


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, _LIMIT])
def test_a_text_of_every_width_of_length_is_one_message(length: int) -> None:
    """The three ways to write a length (RFC 6455, 5.2) are all understood."""
    text = b"x" * length
    assert _parser().feed(frame(TEXT, text)) == [text]


def test_a_batch_gives_all_its_messages_in_order() -> None:
    """One read may hold many frames; none waits for the next read."""
    texts = [b"%d" % number for number in range(100)]
    assert _parser().feed(b"".join(frame(TEXT, text) for text in texts)) == texts


def test_a_fragmented_text_is_one_message() -> None:
    """Fragments are joined, empty ones too, and a control frame may come between."""
    parser = _parser()
    data = (
        frame(TEXT, b"ab", final=False)
        + frame(CONTINUATION, b"", final=False)
        + frame(PING, b"now")
        + frame(CONTINUATION, b"cd")
        + frame(TEXT, b"next")
    )
    assert parser.feed(data) == [b"abcd", b"next"]
    assert parser.others == [PingFrame(b"now")]


def test_control_frames_and_binaries_are_told_apart() -> None:
    """What is not text is handed out in its own class, in order."""
    parser = _parser()
    data = (
        frame(PING, b"a")
        + frame(PONG, b"b")
        + frame(BINARY, b"c")
        + frame(BINARY, b"d", final=False)
        + frame(CONTINUATION, b"e")
    )
    assert parser.feed(data) == []
    assert parser.others == [
        PingFrame(b"a"),
        PongFrame(b"b"),
        BinaryMessage(b"c"),
        BinaryMessage(b"de"),
    ]
    assert parser.error is None


def test_a_bad_text_passes_unless_utf8_is_checked() -> None:
    """One text that is not UTF-8 does not cost the connection; the codec reports it."""
    assert _parser().feed(frame(TEXT, b"\xff")) == [b"\xff"]


def test_a_checked_text_must_be_utf8() -> None:
    """On demand a text that is not UTF-8 fails the connection with 1007."""
    parser = _parser(check_utf8=True)
    texts = parser.feed(frame(TEXT, "grün".encode()) + frame(TEXT, b"\xff"))
    assert texts == ["grün".encode()]
    assert _problem(parser) == (1007, "a text message is not UTF-8")


def test_a_character_may_be_cut_by_fragments() -> None:
    """UTF-8 is judged on the whole message, for a fragment may end anywhere."""
    parser = _parser(check_utf8=True)
    data = frame(TEXT, b"\xc3", final=False) + frame(CONTINUATION, b"\xbc")
    assert parser.feed(data) == [b"\xc3\xbc"]


# Hostile input

_BROKEN: dict[str, tuple[bytes, int, str]] = {
    "a masked frame": (b"\x81\x81abcdx", 1002, "masked"),
    "a masked long frame": (b"\x81\xfe", 1002, "masked"),
    "reserved bit 1": (frame(TEXT, b"x", reserved=4), 1002, "reserved bit"),
    "reserved bit 2": (frame(TEXT, b"x", reserved=2), 1002, "reserved bit"),
    "reserved bit 3": (frame(PING, b"x", reserved=1), 1002, "reserved bit"),
    "reserved opcode 3": (frame(0x3, b"x"), 1002, "opcode 3"),
    "reserved opcode 7": (frame(0x7, b"x"), 1002, "opcode 7"),
    "reserved opcode 11": (frame(0xB, b"x"), 1002, "opcode 11"),
    "reserved opcode 15": (frame(0xF), 1002, "opcode 15"),
    "a fragmented ping": (frame(PING, b"x", final=False), 1002, "control frame"),
    "a long ping": (frame(PING, b"x" * 126), 1002, "control frame"),
    "a lone continuation": (frame(CONTINUATION, b"x"), 1002, "without a beginning"),
    "a text in a text": (
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        1002,
        "inside a fragmented",
    ),
    "a binary in a text": (
        frame(TEXT, b"a", final=False) + frame(BINARY, b"b", final=False),
        1002,
        "inside a fragmented",
    ),
    "a frame over the limit": (frame(TEXT, claimed=_LIMIT + 1), 1009, "over the limit"),
    "a frame of 2^63 bytes": (frame(TEXT, claimed=2**63), 1009, "over the limit"),
    "fragments over the limit": (
        frame(TEXT, b"x" * _LIMIT, final=False) + frame(CONTINUATION, b"x"),
        1009,
        "over the limit",
    ),
    "a close frame of one byte": (frame(CLOSE, b"x"), 1002, "cut short"),
    "a close reason in no UTF-8": (
        frame(CLOSE, b"\x03\xe8\xff"),
        1007,
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_broken_framing_is_an_error_with_its_close_code(name: str) -> None:
    """What breaks the rules ends the connection; the texts before it are returned."""
    broken, code, words = _BROKEN[name]
    parser = _parser()
    assert parser.feed(frame(TEXT, b"before") + broken) == [b"before"]
    close_code, problem = _problem(parser)
    assert close_code == code
    assert words in problem


def test_nothing_comes_after_an_error() -> None:
    """Once the framing is lost, no later byte can be trusted."""
    parser = _parser()
    parser.feed(frame(CONTINUATION, b"x"))
    assert parser.feed(frame(TEXT, b"after")) == []


def test_too_many_fragments_are_refused() -> None:
    """A message of endless empty fragments ends at a count, not at its size."""
    parser = _parser()
    allowed = frame(TEXT, final=False) + frame(CONTINUATION, final=False) * (
        MAX_FRAGMENTS - 1
    )
    assert parser.feed(allowed) == []
    assert parser.error is None
    parser.feed(frame(CONTINUATION))
    assert _problem(parser) == (
        1009,
        f"a message came in more than {MAX_FRAGMENTS} fragments",
    )


def test_the_count_of_fragments_starts_again_with_each_message() -> None:
    """Many fragmented messages are fine; only one of too many parts is not."""
    parser = _parser()
    message = frame(TEXT, b"a", final=False) + frame(CONTINUATION, b"b")
    assert parser.feed(message * MAX_FRAGMENTS) == [b"ab"] * MAX_FRAGMENTS


def test_an_announced_giant_is_refused_before_it_comes() -> None:
    """A header alone is enough to refuse a frame; its bytes are never waited for."""
    parser = _parser()
    parser.feed(frame(TEXT, claimed=_LIMIT + 1))
    assert parser.error is not None


# The close frame


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4001, 4999]
)
def test_a_valid_close_code_is_handed_on(code: int) -> None:
    """Codes of the RFC, of libraries and of applications are taken, with the reason."""
    parser = _parser()
    parser.feed(close_frame(code, "tschüß"))
    assert parser.others == [CloseFrame(code, "tschüß")]
    assert parser.error is None


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
def test_an_invalid_close_code_is_an_error(code: int) -> None:
    """Codes that may not stand in a close frame break the protocol."""
    parser = _parser()
    parser.feed(close_frame(code))
    assert _problem(parser) == (1002, f"the server closed with the invalid code {code}")
    assert parser.others == []


def test_a_close_frame_may_be_empty() -> None:
    """A close frame without a code is told apart from every code."""
    parser = _parser()
    parser.feed(frame(CLOSE))
    assert parser.others == [CloseFrame(None, "")]


def test_nothing_comes_after_a_close_frame() -> None:
    """What a peer sends after its close frame does not count (RFC 6455, 5.5.1)."""
    parser = _parser()
    assert parser.feed(close_frame(1000) + frame(TEXT, b"late")) == []
    assert parser.feed(frame(TEXT, b"later")) == []
    assert parser.error is None


# However it is cut

_any_frames = st.lists(
    st.builds(
        frame,
        st.sampled_from([TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 0x3]),
        st.binary(max_size=6) | st.sampled_from([b"y" * 126, b"z" * 300]),
        final=st.booleans(),
        reserved=st.sampled_from([0, 0, 0, 0, 0, 1]),
    ),
    max_size=8,
).map(b"".join)

_wild_bytes = st.binary(max_size=40)


@settings(max_examples=200)
@given(_any_frames | _wild_bytes, st.data(), st.booleans())
def test_how_the_stream_is_cut_makes_no_difference(
    stream: bytes, data: st.DataObject, check_utf8: bool
) -> None:
    """The same bytes give the same messages and the same error in any pieces."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    singles = [stream[at : at + 1] for at in range(len(stream))]
    outcomes = []
    for pieces in ([stream], chunks, singles):
        parser = _parser(200, check_utf8=check_utf8)
        texts = _feed_all(parser, pieces)
        outcomes.append((texts, parser.others, str(parser.error)))
    assert outcomes[0] == outcomes[1] == outcomes[2]


class _CountedBuffer(bytearray):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __bytes__(self) -> bytes:
        _CountedBuffer.copied += len(self)
        return bytes(memoryview(self))


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_large_message_in_small_reads_is_copied_once(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message in many reads costs linear work, not a copy for each read."""
    parser = _parser()
    monkeypatch.setattr(_CountedBuffer, "copied", 0)
    monkeypatch.setattr(parser, "_rest", _CountedBuffer())
    stream = frame(TEXT, b"x" * _LIMIT)
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    assert _feed_all(parser, pieces) == [b"x" * _LIMIT]
    assert len(stream) <= _CountedBuffer.copied <= len(stream) + 100


def test_a_fragmented_message_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining fragments costs linear work, too."""
    parser = _parser()
    monkeypatch.setattr(_CountedBuffer, "copied", 0)
    monkeypatch.setattr(parser, "_fragments", _CountedBuffer())
    part = b"x" * 100
    parser.feed(frame(TEXT, part, final=False))
    parser.feed(frame(CONTINUATION, part, final=False) * 900)
    assert parser.feed(frame(CONTINUATION, part)) == [part * 902]
    assert _CountedBuffer.copied == 90_200


# Writing


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 125, 126, 65535, 65536])
def test_what_is_written_can_be_read(length: int) -> None:
    """A frame of ours, unmasked by the RFC's own rule, is what was to be sent."""
    payload = bytes(index % 251 for index in range(length))
    mask = b"\x01\x80\xfe\x00"
    data = encode_frame(Opcode.TEXT, payload, mask)
    header = len(data) - length - 4
    assert data[1] & 0x80, "a client must mask"
    assert data[header : header + 4] == mask
    masked = data[header + 4 :]
    plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
    head = bytes((data[0], data[1] & 0x7F)) + data[2:header]
    assert head + plain == frame(TEXT, payload)


def test_every_mask_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame has a key of its own from the system's random source, four bytes long."""
    drawn: list[bytes] = []

    def draw(size: int) -> bytes:
        drawn.append(bytes((len(drawn) * 31 + at) % 256 for at in range(size)))
        return drawn[-1]

    monkeypatch.setattr(os, "urandom", draw)
    keys = MaskKeys()
    taken = b"".join(keys.next() for _ in range(600))
    assert len(drawn) == 3
    assert taken == b"".join(drawn)[:2400]
