"""WebSocket frames as a relay sees them: of both sides, whatever they hold; pure."""

from __future__ import annotations

import attrs

from lasersell.stream.frames import Opcode

__all__ = ["TEXT_HEAD", "Frame", "FrameCutter"]

TEXT_HEAD = 0x80 | Opcode.TEXT
"""First byte of a whole text frame."""
_RESERVED = 0x70
_MAX_BYTES = 1 << 24


@attrs.frozen
class Frame:
    """
    One frame, or bytes that are none.

    Attributes:
        head: Its first byte: flags and opcode; None for bytes that are no frame.
        payload: What it carries, unmasked.
    """

    head: int | None
    payload: bytes

    @property
    def opcode(self) -> int | None:
        """Its opcode; None for bytes that are no frame."""
        return None if self.head is None else self.head & 0x0F

    @property
    def text(self) -> str | None:
        """The text of a whole text frame in good UTF-8; None for any other."""
        if self.head != TEXT_HEAD:
            return None
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            return None

    def encode(self) -> bytes:
        """Return it as a server sends it, unmasked."""
        if self.head is None:
            return self.payload
        size = len(self.payload)
        if size < 126:
            length = bytes((size,))
        elif size < 65_536:
            length = b"\x7e" + size.to_bytes(2, "big")
        else:
            length = b"\x7f" + size.to_bytes(8, "big")
        return bytes((self.head,)) + length + self.payload


class FrameCutter:
    """
    Cuts the bytes of one side into frames.

    After something that cannot be a frame, everything is bytes.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_lost = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames they complete."""
        self._rest += data
        frames: list[Frame] = []
        while not self._is_lost and (frame := self._cut()) is not None:
            frames.append(frame)
        if self._is_lost:
            frames += self.end()
        return frames

    def end(self) -> list[Frame]:
        """Return what is left: half a frame, or bytes that are none."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [Frame(None, rest)] if rest else []

    def _cut(self) -> Frame | None:
        """Return the next frame, if it is whole."""
        rest = self._rest
        self._is_lost = bool(rest) and rest[0] & _RESERVED != 0
        if self._is_lost or len(rest) < 2:
            return None
        size, start = rest[1] & 0x7F, 2
        if size >= 126:
            start += 2 if size == 126 else 8
            if len(rest) < start:
                return None
            size = int.from_bytes(rest[2:start], "big")
        if size > _MAX_BYTES:
            self._is_lost = True
            return None
        mask = b""
        if rest[1] & 0x80:
            mask = bytes(rest[start : start + 4])
            start += 4
        if len(rest) < start + size:
            return None
        head, payload = rest[0], bytes(rest[start : start + size])
        del rest[: start + size]
        return Frame(head, _unmask(payload, mask) if mask else payload)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    plain = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return plain.to_bytes(size, "big")
