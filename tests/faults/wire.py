"""WebSocket frames and stream messages as a server writes and reads them."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from typing import Any

import attrs

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "close_frame",
    "error_frame",
    "event",
    "event_number",
    "frame",
    "hello_frame",
    "pnl_frame",
    "read_frame",
    "upgrade_answer",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@attrs.frozen
class Frame:
    """A frame that the client sent, unmasked."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The code of a close frame."""
        return int.from_bytes(self.payload[:2], "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    reserved: int = 0,
    claimed: int | None = None,
) -> bytes:
    """
    Return one unmasked frame.

    Args:
        opcode: What it is.
        payload: What it carries.
        final: Whether it ends its message.
        reserved: The three reserved bits, as a number from 0 to 7.
        claimed: The length its header tells, if not that of the payload.
    """
    head = bytes(((0x80 if final else 0) | reserved << 4 | opcode,))
    length = len(payload) if claimed is None else claimed
    if length < 126:
        return head + bytes((length,)) + payload
    if length < 65536:
        return head + b"\x7e" + length.to_bytes(2, "big") + payload
    return head + b"\x7f" + length.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


def _text(message: dict[str, Any]) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


def hello_frame(session_id: int = 1, *, pnl_flush_ms: int = 100) -> bytes:
    """Return ``hello_ok``."""
    limits = {
        "hi_capacity": 1024,
        "pnl_flush_ms": pnl_flush_ms,
        "max_positions_per_session": 100,
        "max_wallets_per_session": 10,
        "max_positions_per_wallet": 20,
        "max_sessions_per_api_key": 5,
    }
    return _text(
        {
            "type": "hello_ok",
            "session_id": session_id,
            "server_time_ms": 1_700_000_000_000,
            "limits": limits,
        }
    )


def event(number: int) -> bytes:
    """Return a small message of the high lane that carries a number."""
    return _text({"type": "pong", "server_time_ms": number})


def event_number(message: Any) -> int | None:
    """Return the number of a received :func:`event`; None if it is something else."""
    return message.server_time_ms if message.type == "pong" else None


def pnl_frame(position_id: int = 1) -> bytes:
    """Return a small message of the low lane."""
    return _text(
        {
            "type": "pnl_update",
            "position_id": position_id,
            "profit_units": 1,
            "proceeds_units": 2,
            "server_time_ms": 1_700_000_000_000,
        }
    )


def error_frame(code: str, message: str) -> bytes:
    """Return an ``error`` message."""
    return _text({"type": "error", "code": code, "message": message})


def upgrade_answer(request: bytes, *headers: str, accept: str | None = None) -> bytes:
    """
    Return the head that lets a client in.

    Args:
        request: The head of the client's request.
        headers: More lines.
        accept: The proof to give instead of the right one.
    """
    if accept is None:
        key = next(
            line.split(b":")[1].strip()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_frame(sock: socket.socket) -> Frame | None:
    """Read one masked frame; None at the end of the stream."""
    head = _read(sock, 2)
    if head is None:
        return None
    assert head[1] & 0x80, "a client must mask its frames"
    length = head[1] & 0x7F
    if length >= 126:
        length = int.from_bytes(_read(sock, 2 if length == 126 else 8) or b"", "big")
    mask = _read(sock, 4)
    payload = _read(sock, length)
    if mask is None or payload is None:
        return None
    return Frame(head[0] & 0x0F, _unmask(payload, mask))


def _read(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    plain = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return plain.to_bytes(len(payload), "big")
