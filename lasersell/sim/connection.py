"""
The server's end of one WebSocket: frames out in whole batches, commands in one by one.

Frames are written to the transport directly: one write for all that a tick
brings, where the library underneath makes a system call for each frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from lasersell.protocol.client import ClientMessage
from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.server import ServerMessage
from lasersell.sim.session import SimSession

__all__ = ["ABNORMAL_CLOSURE", "BINARY", "TEXT", "Connection", "frame", "text_frames"]

TEXT = 0x1
"""Opcode of a text frame."""

BINARY = 0x2
"""Opcode of a binary frame."""

ABNORMAL_CLOSURE = 1006
"""The code that is never sent: the connection ends without a close frame."""

_FINAL = 0x80
_CLOSE = 0x8
_CLOSE_TIMEOUT = 1.0
_CONGESTED_BYTES = 256 * 1024


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one whole unmasked WebSocket frame, as a server sends it."""
    head = bytes((_FINAL | opcode,))
    size = len(payload)
    if size < 126:
        return head + bytes((size,)) + payload
    if size < 65_536:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


def text_frames(messages: Iterable[ServerMessage]) -> list[bytes]:
    """Return each message as one text frame."""
    return [frame(encode_server_message(message)) for message in messages]


class Connection:
    """
    One client that is connected; only the server's thread may call it.

    Attributes:
        api_key: The key it came with.
        session: What the server knows of it.
        is_open: Whether the conversation has begun; until then commands wait.
    """

    def __init__(
        self,
        api_key: str,
        session: SimSession,
        transport: asyncio.Transport,
    ) -> None:
        self.api_key = api_key
        self.session = session
        self.is_open = False
        self._waiting: list[ClientMessage] = []
        self._has_said_goodbye = False
        self._transport = transport

    def __repr__(self) -> str:
        return f"<Connection of session {self.session.session_id}>"

    @property
    def is_congested(self) -> bool:
        """Whether the client reads slower than we write."""
        return self._transport.get_write_buffer_size() > _CONGESTED_BYTES

    def receive(self, message: ClientMessage) -> list[ServerMessage]:
        """Return the answer to a command; none if it has to wait."""
        if self.is_open:
            return self.session.receive(message)
        self._waiting.append(message)
        return []

    def open(self, greeting: Sequence[ServerMessage]) -> list[ServerMessage]:
        """Begin the conversation: return the greeting and what waiting commands give."""
        self.is_open = True
        answers = list(greeting)
        for message in self._waiting:
            answers += self.session.receive(message)
        self._waiting.clear()
        return answers

    def write(self, data: bytes) -> None:
        """Write bytes that are whole frames already, or are not meant to be."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def send(self, messages: Iterable[ServerMessage]) -> None:
        """Send messages, each in a frame of its own, in one write."""
        self.write(b"".join(text_frames(messages)))

    def say_goodbye(self, code: int, reason: str) -> None:
        """
        Send a close frame; code 1006 cuts the connection instead.

        The client has 1 s to answer. Until then the connection must be read on:
        what is left unread would make TCP take the close frame back.
        """
        if code == ABNORMAL_CLOSURE:
            self.cut()
            return
        self.write(frame(code.to_bytes(2, "big") + reason.encode(), _CLOSE))
        self._has_said_goodbye = True
        asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self.cut)

    def end(self) -> None:
        """Close the socket, if the last word was ours and the client has answered."""
        if self._has_said_goodbye:
            self._transport.close()

    def cut(self) -> None:
        """End the connection at once, without a close frame."""
        self._transport.abort()
