"""
The transport as an echo client, case by case along RFC 6455.

The server is a script that writes the bytes of the case and notes every frame the
client sends until it is gone. The cases cover the same ground as groups 1 to 7
and 10 of the Autobahn test suite, for machines on which that cannot run.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.autobahn_client import echo
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
    frame,
)

KIB = 1 << 10
MIB = 1 << 20
WHOLE = 1 << 62
"""As the size of a piece: bytes go out in one write."""

HELLO = "Hällo, wörld, €, 𝄞".encode()


def _talk(
    said: bytes, answers: int | None = None, *, piece: int = WHOLE
) -> list[Frame]:
    """
    Say bytes to the echo client; return every frame it sends until it is gone.

    Args:
        said: Frames, broken ones too.
        answers: After how many frames of the client it is told to close; None if
            what was said must end the connection by itself.
        piece: Most bytes of one write.
    """
    heard: list[Frame] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Once the client has hung up, what it said can still be read.
        with contextlib.suppress(OSError):
            for at in range(0, len(said), piece):
                peer.send(said[at : at + piece])
            if answers is not None:
                heard.extend(_frames(peer, answers))
                peer.send(close_frame(1000))
        with contextlib.suppress(OSError):
            heard.extend(_frames(peer))

    with RawServer(script) as server:
        echo(server.endpoint)
    return heard


def _frames(peer: Peer, most: int = 1 << 62) -> Iterator[Frame]:
    """Read the frames of a client until there are enough or it is gone."""
    for _ in range(most):
        received = peer.read()
        if received is None:
            return
        yield received


def _closed(code: int = 1000, reason: str = "") -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


def _fragments(opcode: int, *parts: bytes, between: bytes = b"") -> bytes:
    """Return a message in fragments, with other frames in between."""
    last = len(parts) - 1
    return between.join(
        frame(CONTINUATION if index else opcode, part, final=index == last)
        for index, part in enumerate(parts)
    )


def _octets(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# 5.2: lengths

LENGTHS = [0, 1, 125, 126, 127, 128, 65535, 65536]


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("piece", [WHOLE, 997], ids=["whole", "chopped"])
def test_a_message_of_any_length_is_echoed(
    opcode: int, length: int, piece: int
) -> None:
    """Each of the three ways to write a length is read and written, at its edges too."""
    payload = b"*" * length
    assert _talk(frame(opcode, payload), 1, piece=piece) == [
        Frame(opcode, payload),
        _closed(),
    ]


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("length", [0, 125, 126, 128])
def test_a_message_may_come_one_octet_at_a_time(opcode: int, length: int) -> None:
    """A frame is put together from as many reads as it takes, head and payload alike."""
    payload = b"*" * length
    assert _talk(frame(opcode, payload), 1, piece=1) == [
        Frame(opcode, payload),
        _closed(),
    ]


def test_messages_of_one_write_are_echoed_in_order() -> None:
    """Many messages in one packet are many messages."""
    texts = [b"message %d" % number for number in range(100)]
    said = b"".join(frame(TEXT, text) for text in texts)
    assert _talk(said, 100) == [*(Frame(TEXT, text) for text in texts), _closed()]


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("length", [65535, 65536])
def test_a_large_message_may_come_one_octet_at_a_time(opcode: int, length: int) -> None:
    """The extended lengths are put together from single octets, too."""
    payload = b"*" * length
    assert _talk(frame(opcode, payload), 1, piece=1) == [
        Frame(opcode, payload),
        _closed(),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("mebibytes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("piece", [WHOLE, 1300], ids=["whole", "chopped"])
def test_a_message_of_mebibytes_is_echoed(
    opcode: int, mebibytes: int, piece: int
) -> None:
    """Where the limit is raised, messages of up to 16 MiB pass in both directions."""
    payload = b"*" * (mebibytes * MIB)
    assert _talk(frame(opcode, payload), 1, piece=piece) == [
        Frame(opcode, payload),
        _closed(),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("size", [4 * KIB, 64 * KIB, MIB])
def test_a_message_of_mebibytes_may_be_fragmented(opcode: int, size: int) -> None:
    """Fragments of any size make one large message."""
    payload = bytes(range(32, 96)) * (8 * MIB // 64)
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    assert _talk(_fragments(opcode, *parts), 1) == [
        Frame(opcode, payload),
        _closed(),
    ]


def test_a_message_over_the_limit_fails_the_connection() -> None:
    """What is larger than we take ends with 1009 (7.4.1), before it was sent whole."""
    assert _talk(frame(TEXT, b"", claimed=16 * MIB + 1)) == [_closed(1009)]


def test_a_masked_frame_fails_the_connection() -> None:
    """A server must not mask (5.1)."""
    assert _talk(b"\x81\x83abcd" + b"xyz") == [_closed(1002)]


# 5.5.2 and 5.5.3: pings and pongs


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
@pytest.mark.parametrize(
    "payload",
    [b"", b"Hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"*" * 125],
    ids=["empty", "text", "no text", "125 octets"],
)
def test_a_ping_is_answered_with_its_payload(payload: bytes, piece: int) -> None:
    """A pong has the same payload as its ping, whatever that is."""
    assert _talk(frame(PING, payload), 1, piece=piece) == [
        Frame(PONG, payload),
        _closed(),
    ]


def test_a_ping_of_126_octets_fails_the_connection() -> None:
    """A control frame has at most 125 octets (5.5)."""
    assert _talk(frame(PING, b"*" * 126)) == [_closed(1002)]


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
def test_ten_pings_are_answered_by_ten_pongs(piece: int) -> None:
    """Each ping has its pong, in order."""
    payloads = [b"payload %d" % number for number in range(10)]
    said = b"".join(frame(PING, payload) for payload in payloads)
    assert _talk(said, 10, piece=piece) == [
        *(Frame(PONG, payload) for payload in payloads),
        _closed(),
    ]


@pytest.mark.parametrize("payload", [b"", b"unasked"])
def test_an_unsolicited_pong_is_not_answered(payload: bytes) -> None:
    """A pong may come without a ping; the ping behind it is answered alone."""
    assert _talk(frame(PONG, payload) + frame(PING, b"asked"), 1) == [
        Frame(PONG, b"asked"),
        _closed(),
    ]


# 5.2: reserved bits and opcodes


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize(
    ("opcode", "payload"),
    [(TEXT, HELLO), (BINARY, HELLO), (PING, b""), (PONG, b"x"), (CLOSE, b"\x03\xe8")],
    ids=["text", "binary", "ping", "pong", "close"],
)
def test_a_reserved_bit_fails_the_connection(
    opcode: int, payload: bytes, reserved: int, piece: int
) -> None:
    """No extension was agreed on; messages before are echoed, nothing behind counts."""
    said = (
        frame(TEXT, b"before")
        + frame(opcode, payload, reserved=reserved)
        + frame(PING, b"behind")
    )
    assert _talk(said, piece=piece) == [Frame(TEXT, b"before"), _closed(1002)]


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
@pytest.mark.parametrize("payload", [b"", b"payload"], ids=["empty", "payload"])
@pytest.mark.parametrize("opcode", [*range(0x3, 0x8), *range(0xB, 0x10)])
def test_a_reserved_opcode_fails_the_connection(
    opcode: int, payload: bytes, piece: int
) -> None:
    """An opcode without a meaning is refused, and nothing behind it counts."""
    said = frame(TEXT, b"before") + frame(opcode, payload) + frame(PING, b"behind")
    assert _talk(said, piece=piece) == [Frame(TEXT, b"before"), _closed(1002)]


# 5.4: fragments


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
@pytest.mark.parametrize(
    "parts",
    [
        [b"one", b"two"],
        [b"", b""],
        [b"", b"", b""],
        [b"", b"middle", b""],
        [b"one", b"", b"two"],
        [b"%d" % number for number in range(100)],
    ],
    ids=["two", "two empty", "three empty", "empty ends", "empty middle", "hundred"],
)
def test_a_fragmented_message_is_put_together(
    opcode: int, parts: list[bytes], piece: int
) -> None:
    """Fragments of any size, empty ones too, make one message."""
    assert _talk(_fragments(opcode, *parts), 1, piece=piece) == [
        Frame(opcode, b"".join(parts)),
        _closed(),
    ]


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
def test_a_ping_between_fragments_is_answered_at_once(piece: int) -> None:
    """Control frames may stand inside a fragmented message (5.4)."""
    said = _fragments(TEXT, b"one", b"two", b"three", between=frame(PING, b"now"))
    assert _talk(said, 3, piece=piece) == [
        Frame(PONG, b"now"),
        Frame(PONG, b"now"),
        Frame(TEXT, b"onetwothree"),
        _closed(),
    ]


def test_a_pong_between_fragments_does_no_harm() -> None:
    """An unsolicited pong may stand inside a fragmented message."""
    said = _fragments(TEXT, b"one", b"two", between=frame(PONG, b"?"))
    assert _talk(said, 1) == [Frame(TEXT, b"onetwo"), _closed()]


def test_a_ping_is_answered_before_its_message_is_complete() -> None:
    """The answer to a ping does not wait for the end of the message around it."""
    heard: list[Frame | None] = []

    def script(peer: Peer) -> None:
        peer.upgrade()
        for part in (b"one", b"two"):
            peer.send(frame(CONTINUATION if heard else TEXT, part, final=False))
            peer.send(frame(PING, part))
            heard.append(peer.read())
        peer.send(frame(CONTINUATION, b"three"))
        heard.append(peer.read())
        peer.send(close_frame(1000))
        peer.drain()

    with RawServer(script) as server:
        echo(server.endpoint)
    assert heard == [
        Frame(PONG, b"one"),
        Frame(PONG, b"two"),
        Frame(TEXT, b"onetwothree"),
    ]


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
@pytest.mark.parametrize(
    "broken",
    [
        frame(PING, b"x", final=False),
        frame(PONG, b"x", final=False),
        frame(CLOSE, b"\x03\xe8", final=False),
        frame(CONTINUATION, b"x"),
        frame(CONTINUATION, b""),
        frame(CONTINUATION, b"x", final=False),
        _fragments(TEXT, b"one", b"two")[:-5] + frame(TEXT, b"two"),
        _fragments(TEXT, b"one", b"two")[:-5] + frame(BINARY, b"two"),
        _fragments(BINARY, b"one", b"two")[:-5] + frame(BINARY, b"two", final=False),
        _fragments(PING, b"one", b"two"),
    ],
    ids=[
        "ping in part",
        "pong in part",
        "close in part",
        "continuation of nothing",
        "empty continuation of nothing",
        "continuation of nothing, in part",
        "text in text",
        "binary in text",
        "binary in part in binary",
        "ping in fragments",
    ],
)
def test_a_breach_of_fragmentation_fails_the_connection(
    broken: bytes, piece: int
) -> None:
    """Control frames are never fragmented, and messages do not overlap (5.4)."""
    said = frame(TEXT, b"before") + broken + frame(PING, b"behind")
    assert _talk(said, piece=piece) == [Frame(TEXT, b"before"), _closed(1002)]


def test_a_continuation_after_the_last_fragment_fails_the_connection() -> None:
    """A message that was finished cannot go on."""
    said = _fragments(TEXT, b"one", b"two") + frame(CONTINUATION, b"three")
    assert _talk(said) == [Frame(TEXT, b"onetwo"), _closed(1002)]


def test_a_message_in_many_even_fragments_is_put_together() -> None:
    """64 KiB in frames of 1,300 octets, as a server that fragments by itself sends it."""
    payload = b"*" * 65536
    parts = [payload[at : at + 1300] for at in range(0, len(payload), 1300)]
    assert _talk(_fragments(TEXT, *parts), 1) == [Frame(TEXT, payload), _closed()]


# 8.1: UTF-8. Which sequences are valid says RFC 3629.


def _scalar(code_point: int, width: int) -> bytes:
    """Return any number as UTF-8 would write it in so many octets, allowed or not."""
    if width == 1:
        return bytes((code_point,))
    tail = bytes(
        0x80 | code_point >> 6 * place & 0x3F for place in range(width - 2, -1, -1)
    )
    lead = (0xFF00 >> width & 0xFF) | code_point >> 6 * (width - 1)
    return bytes((lead,)) + tail


_EDGES = [0x00, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0x10000, 0x10FFFF]
_NO_CHARACTERS = [
    plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)
]

VALID = {
    "empty": b"",
    "one of each width": HELLO,
    "Greek": "κόσμε".encode(),
    **{f"U+{point:04X}": chr(point).encode() for point in _EDGES},
    **{f"U+{point:04X}": chr(point).encode() for point in _NO_CHARACTERS},
    "first and last of each width": "".join(map(chr, _EDGES)).encode(),
}

_LEADS = {2: range(0xC0, 0xE0), 3: range(0xE0, 0xF0), 4: range(0xF0, 0xF8)}
_LARGEST = {2: 0x7F, 3: 0x7FF, 4: 0xFFFF, 5: 0x1FFFFF, 6: 0x3FFFFFF}

INVALID = {
    "the first continuation alone": b"\x80",
    "the last continuation alone": b"\xbf",
    **{
        f"{count} continuations": (b"\x80\xbf" * 4)[:count]
        for count in (2, 3, 4, 5, 6, 7)
    },
    "all continuations": bytes(range(0x80, 0xC0)),
    **{
        f"leads of {width} without the rest": b" ".join(_octets(bytes(leads))) + b" "
        for width, leads in _LEADS.items()
    },
    "leads of 5 and 6": b"\xf8 \xf9 \xfa \xfb \xfc \xfd ",
    **{
        f"cut by one, width {width}": _scalar(point, width)[:-1]
        for width, point in ((2, 0x7FF), (3, 0xFFFF), (4, 0x10FFFF))
    },
    **{
        f"cut by one in the middle, width {width}": _scalar(point, width)[:-1] + b"."
        for width, point in ((2, 0x7FF), (3, 0xFFFF), (4, 0x10FFFF))
    },
    "only the lead of four": b"\xf4",
    "FE": b"\xfe",
    "FF": b"\xff",
    "FE FE FF FF": b"\xfe\xfe\xff\xff",
    **{f"slash in {width}": _scalar(0x2F, width) for width in range(2, 7)},
    **{f"NUL in {width}": _scalar(0, width) for width in range(2, 7)},
    **{
        f"largest overlong of {width}": _scalar(point, width)
        for width, point in _LARGEST.items()
    },
    **{
        f"surrogate {point:04X}": _scalar(point, 3)
        for point in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
    },
    **{
        f"surrogates {first:04X} {second:04X}": _scalar(first, 3) + _scalar(second, 3)
        for first in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)
        for second in (0xDC00, 0xDFFF)
    },
    "U+110000": _scalar(0x110000, 4),
    "the last of four": _scalar(0x1FFFFF, 4),
    "the first of five": _scalar(0x200000, 5),
    "the last of five": _scalar(0x3FFFFFF, 5),
    "the first of six": _scalar(0x4000000, 6),
    "the last of six": _scalar(0x7FFFFFFF, 6),
    "valid, then not": HELLO + b"\xed\xa0\x80" + HELLO,
    "not, then valid": b"\xff" + HELLO,
}

WAYS = ["whole", "octets", "fragments"]


def _send(payload: bytes, way: str) -> tuple[bytes, int]:
    """Return a text on the wire and how large its writes are."""
    if way == "fragments":
        return _fragments(TEXT, b"", *_octets(payload), b""), WHOLE
    return frame(TEXT, payload), 1 if way == "octets" else WHOLE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", VALID)
def test_valid_utf8_is_echoed(name: str, way: str) -> None:
    """Every scalar value passes, and a fragment may end within one."""
    said, piece = _send(VALID[name], way)
    assert _talk(said, 1, piece=piece) == [Frame(TEXT, VALID[name]), _closed()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INVALID)
def test_invalid_utf8_fails_the_connection(name: str, way: str) -> None:
    """A text that is not UTF-8 ends the connection with 1007, once it is complete."""
    said, piece = _send(INVALID[name], way)
    said += frame(PING, b"behind")
    assert _talk(said, piece=piece) == [_closed(1007)]


def test_invalid_utf8_is_no_matter_in_a_binary_message() -> None:
    """Only texts have to be UTF-8 (5.6)."""
    payload = b"\xff\xfe\xed\xa0\x80"
    assert _talk(frame(BINARY, payload), 1) == [Frame(BINARY, payload), _closed()]
    assert _talk(_fragments(BINARY, *_octets(payload)), 1) == [
        Frame(BINARY, payload),
        _closed(),
    ]


def test_a_bad_text_is_refused_after_good_ones() -> None:
    """What came before a bad text is echoed before the connection ends."""
    said = frame(TEXT, HELLO) + frame(TEXT, b"\xff") + frame(TEXT, HELLO)
    assert _talk(said) == [Frame(TEXT, HELLO), _closed(1007)]


# 5.5.1 and 7: closing


def test_a_close_is_answered() -> None:
    """A connection that served ends cleanly."""
    assert _talk(frame(TEXT, HELLO), 1) == [Frame(TEXT, HELLO), _closed()]


@pytest.mark.parametrize(
    "behind",
    [
        close_frame(1000),
        frame(CLOSE),
        frame(PING, b"behind"),
        frame(TEXT, b"behind"),
        frame(BINARY, b"behind"),
        frame(TEXT, b"\xff"),
        frame(0x3, b"behind"),
    ],
    ids=["close", "empty close", "ping", "text", "binary", "bad text", "bad opcode"],
)
@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
def test_nothing_behind_a_close_counts(behind: bytes, piece: int) -> None:
    """After its close frame a peer has nothing more to say; it is answered once."""
    assert _talk(close_frame(1000) + behind, piece=piece) == [_closed()]


def test_a_close_inside_a_fragmented_message_is_answered() -> None:
    """A message that will never be complete does not keep the connection open."""
    said = _fragments(TEXT, b"one", b"two", between=close_frame(1000))
    assert _talk(said) == [_closed()]


def test_a_close_behind_a_large_message_is_answered() -> None:
    """However much comes before it, a close frame is found and answered, last."""
    said = frame(TEXT, b"*" * (256 * KIB)) + close_frame(1000) + frame(PING)
    heard = _talk(said)
    # The message may have come alone, and then it is echoed first.
    assert heard[-1] == _closed()
    assert heard[:-1] in ([], [Frame(TEXT, b"*" * (256 * KIB))])


def test_an_empty_close_is_answered() -> None:
    """A close frame need not tell a code."""
    assert _talk(frame(CLOSE)) == [_closed()]


@pytest.mark.parametrize("reason", ["", "a", "Bye, €", "*" * 123])
def test_a_close_may_give_a_reason(reason: str) -> None:
    """Up to 123 octets of text behind the code are taken."""
    assert _talk(close_frame(1000, reason)) == [_closed()]


@pytest.mark.parametrize("piece", [WHOLE, 1], ids=["whole", "octets"])
def test_a_close_of_one_octet_fails_the_connection(piece: int) -> None:
    """A code has two octets."""
    assert _talk(frame(CLOSE, b"\x03"), piece=piece) == [_closed(1002)]


def test_a_close_of_126_octets_fails_the_connection() -> None:
    """A close frame is a control frame, and has at most 125 octets."""
    assert _talk(close_frame(1000, "*" * 124)) == [_closed(1002)]


@pytest.mark.parametrize("name", INVALID)
def test_a_close_with_a_reason_that_is_no_utf8_fails_the_connection(name: str) -> None:
    """The reason of a close frame is text as well."""
    assert _talk(frame(CLOSE, b"\x03\xe8" + INVALID[name])) == [_closed(1007)]


@pytest.mark.parametrize(
    "code",
    [
        *(1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014),
        *(3000, 3999, 4000, 4999),
    ],
)
def test_a_valid_close_code_is_answered_with_the_same(code: int) -> None:
    """The codes of the RFC, of its registry, and those free to use are taken (7.4)."""
    assert _talk(close_frame(code, "reason")) == [_closed(code)]


@pytest.mark.parametrize(
    "code",
    [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535],
)
@pytest.mark.parametrize("reason", ["", "reason"])
def test_an_invalid_close_code_fails_the_connection(code: int, reason: str) -> None:
    """Codes that are not defined, or never stand in a frame, are refused (7.4)."""
    assert _talk(close_frame(code, reason)) == [_closed(1002)]
