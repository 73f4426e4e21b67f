"""
WebSocket frames (RFC 6455), as a pure state machine: bytes in, messages out.

websocket-client reads a frame in two or three system calls, builds an object
for it and checks its UTF-8 in Python, and knows no limits. This parser works on
whole read-ahead buffers, and refuses what would grow without bound.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum

import attrs

__all__ = [
    "BinaryMessage",
    "CloseFrame",
    "FrameError",
    "FrameParser",
    "MaskKeys",
    "Opcode",
    "PingFrame",
    "PongFrame",
    "encode_frame",
]

MAX_FRAGMENTS = 4096

_two_words = struct.Struct(">HH").unpack_from


class Opcode(IntEnum):
    """The opcodes of RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@attrs.frozen
class BinaryMessage:
    """A complete binary message; the protocol defines none."""

    payload: bytes


@attrs.frozen
class PingFrame:
    """A ping of the peer, to be answered with its payload."""

    payload: bytes


@attrs.frozen
class PongFrame:
    """The answer to a ping of ours."""

    payload: bytes


@attrs.frozen
class CloseFrame:
    """
    The peer's close frame.

    ``code`` is None when the frame was empty (RFC 6455, section 7.1.5).
    """

    code: int | None
    reason: str


Other = BinaryMessage | PingFrame | PongFrame | CloseFrame


class FrameError(Exception):
    """
    The peer broke the framing rules or a limit.

    Attributes:
        close_code: The code that RFC 6455 wants us to close with.
    """

    def __init__(self, problem: str, close_code: int = 1002) -> None:
        super().__init__(problem)
        self.close_code = close_code


class FrameParser:
    """
    Cuts a byte stream into messages.

    Not thread-safe: the reader thread owns it.

    Args:
        max_message_bytes: Largest payload of one message, fragments together.
        check_utf8: Whether a text that is not UTF-8 fails the connection with
            1007, as the RFC wants. Off by default: the codec checks anyway, and
            one bad text must not cost us the connection an exit comes by.
    """

    def __init__(self, max_message_bytes: int, *, check_utf8: bool = False) -> None:
        self.others: list[Other] = []
        """Everything but text, oldest first; the transport takes and clears it."""
        self.error: FrameError | None = None
        """Why the connection cannot go on; what came before it was still returned."""
        self._max = max_message_bytes
        self._check_utf8 = check_utf8
        # Where every length below the 64-bit form is allowed, none need be checked.
        self._may_cut = not check_utf8 and max_message_bytes > 0xFFFF
        self._rest = bytearray()
        self._need = 0
        self._fragments = bytearray()
        self._fragment_count = 0
        self._fragmented: int | None = None
        self._closed = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes off the socket; return the text messages they complete."""
        texts: list[bytes] = []
        if not self._closed:
            try:
                self._feed(data, texts)
            except FrameError as error:
                self.error = error
                self._closed = True
        return texts

    def _feed(self, data: bytes, texts: list[bytes]) -> None:
        if self._rest:
            # A large frame comes in many reads; joining them before it is
            # whole would cost quadratic time.
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at = 0
        while not self._closed:
            if self._fragmented is None and self._may_cut:
                at = self._cut_texts(data, at, texts)
                if at == len(data):
                    return
            size = self._take_frame(data, at, texts)
            if not size:
                break
            at += size
        if at < len(data):
            self._rest += data[at:] if at else data

    def _cut_texts(self, data: bytes, at: int, texts: list[bytes]) -> int:
        """
        Take the whole, unfragmented texts that are next; return where they end.

        Nearly every frame is one, so this loop makes no call but those for the text.
        """
        end = len(data)
        append = texts.append
        try:
            while True:
                head, length = _two_words(data, at)
                start = at + 4
                if head != 0x817E:
                    length = head - 0x8100
                    start = at + 2
                    if not 0 <= length < 0x7E:
                        break
                stop = start + length
                if stop > end:
                    break
                append(data[start:stop])
                at = stop
        except struct.error:
            pass  # it ends in the middle of a head
        return at

    def _take_frame(self, data: bytes, at: int, texts: list[bytes]) -> int:
        """Take the frame at ``at``, of any kind; return its size, 0 if it is not whole."""
        have = len(data) - at
        if have < 2:
            self._need = 2
            return 0
        length = data[at + 1]
        start = 2
        if length >= 126:
            if length > 127:
                raise FrameError("the server masked a frame")
            start += 2 if length == 126 else 8
            if have < start:
                self._need = start
                return 0
            length = int.from_bytes(data[at + 2 : at + start], "big")
        if length > self._max:
            raise FrameError(
                f"a frame of {length} bytes is over the limit of {self._max}", 1009
            )
        size = start + length
        if have < size:
            self._need = size
            return 0
        self._take(data[at], data[at + start : at + size], texts)
        return size

    def _take(self, first: int, payload: bytes, texts: list[bytes]) -> None:
        if first & 0x70:
            raise FrameError("the server set a reserved bit; no extension was agreed")
        final = first >= 0x80
        opcode = first & 0x0F
        if opcode >= 0x8:
            self._take_control(opcode, final, payload)
        elif opcode == Opcode.CONTINUATION:
            self._continue(final, payload, texts)
        elif opcode > Opcode.BINARY:
            raise FrameError(f"the server used the reserved opcode {opcode}")
        elif self._fragmented is not None:
            raise FrameError("a new message began inside a fragmented one")
        elif final:
            self._finish(opcode, payload, texts)
        else:
            self._fragmented = opcode
            self._fragments += payload
            self._fragment_count = 1

    def _continue(self, final: bool, payload: bytes, texts: list[bytes]) -> None:
        if self._fragmented is None:
            raise FrameError("a continuation frame came without a beginning")
        self._fragment_count += 1
        if self._fragment_count > MAX_FRAGMENTS:
            raise FrameError(
                f"a message came in more than {MAX_FRAGMENTS} fragments", 1009
            )
        if len(self._fragments) + len(payload) > self._max:
            raise FrameError(
                f"a fragmented message is over the limit of {self._max}", 1009
            )
        self._fragments += payload
        if final:
            opcode, whole = self._fragmented, bytes(self._fragments)
            self._fragmented = None
            self._fragments.clear()
            self._finish(opcode, whole, texts)

    def _finish(self, opcode: int, payload: bytes, texts: list[bytes]) -> None:
        if opcode == Opcode.BINARY:
            self.others.append(BinaryMessage(payload))
            return
        if self._check_utf8:
            try:
                payload.decode()
            except UnicodeDecodeError as error:
                raise FrameError("a text message is not UTF-8", 1007) from error
        texts.append(payload)

    def _take_control(self, opcode: int, final: bool, payload: bytes) -> None:
        if not final or len(payload) > 125:
            raise FrameError("a control frame was fragmented or over 125 bytes")
        if opcode == Opcode.PING:
            self.others.append(PingFrame(payload))
        elif opcode == Opcode.PONG:
            self.others.append(PongFrame(payload))
        elif opcode == Opcode.CLOSE:
            self.others.append(_parse_close(payload))
            self._closed = True
        else:
            raise FrameError(f"the server used the reserved opcode {opcode}")


def _parse_close(payload: bytes) -> CloseFrame:
    if not payload:
        return CloseFrame(None, "")
    if len(payload) == 1:
        raise FrameError("the server's close frame is cut short")
    code = int.from_bytes(payload[:2], "big")
    if not (
        3000 <= code < 5000 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))
    ):
        raise FrameError(f"the server closed with the invalid code {code}")
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise FrameError("the server's close reason is not UTF-8", 1007) from error


class MaskKeys:
    """
    Mask keys from the system's random source, drawn many at a time.

    Not thread-safe: whoever holds the send lock owns it.
    """

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def next(self) -> bytes:
        """Return four fresh random bytes."""
        if self._at == len(self._pool):
            self._pool = os.urandom(1024)
            self._at = 0
        self._at += 4
        return self._pool[self._at - 4 : self._at]


def encode_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Return one final, masked frame; clients must mask (RFC 6455, section 5.3)."""
    length = len(payload)
    if length < 126:
        header = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65536:
        header = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        header = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
    if not length:
        return header + mask
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return header + mask + masked.to_bytes(length, "big")
