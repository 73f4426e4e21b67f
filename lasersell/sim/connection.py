"""
The server's end of one WebSocket: frames out in whole batches, commands in one by one.

Frames are written to the transport directly: one write for all that a tick
brings, where the library underneath makes a system call for each frame.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Sequence

from lasersell.protocol.client import ClientMessage
from lasersell.protocol.server import (
    LiquiditySnapshot,
    PnlUpdate,
    ServerMessage,
    TradeTick,
)
from lasersell.sim.encoding import CLOSE, frame, text_frames
from lasersell.sim.session import SimSession

__all__ = ["ABNORMAL_CLOSURE", "LOW_PRIORITY", "Connection"]

ABNORMAL_CLOSURE = 1006
"""The code that is never sent: the connection ends without a close frame."""

LOW_PRIORITY = (PnlUpdate, LiquiditySnapshot, TradeTick)
"""What a client that does not keep up can do without."""

_CLOSE_TIMEOUT = 1.0
_CONGESTED_BYTES = 256 * 1024


class Connection:
    """
    One client that is connected; only the server's thread may call it.

    Attributes:
        api_key: The key it came with.
        session: What the server knows of it.
        is_open: Whether the conversation has begun; until then commands wait.
        is_mute: Whether what it would be sent is lost.
        heard_at_ms: When it last said something, by the server's clock, in Unix ms.
    """

    def __init__(
        self,
        api_key: str,
        session: SimSession,
        transport: asyncio.Transport,
        now_ms: int,
    ) -> None:
        self.api_key = api_key
        self.session = session
        self.is_open = False
        self.is_mute = False
        self.heard_at_ms = now_ms
        self._waiting: list[ClientMessage] = []
        self._has_said_goodbye = False
        self._transport = transport
        self._stalled: list[bytes] | None = None
        self._bytes_written = 0
        # Where each batch with high-priority messages ends, and how many it has.
        self._unsent: deque[tuple[int, int]] = deque()

    def __repr__(self) -> str:
        return f"<Connection of session {self.session.session_id}>"

    @property
    def is_congested(self) -> bool:
        """Whether the client reads slower than we write."""
        return self._transport.get_write_buffer_size() > _CONGESTED_BYTES

    @property
    def unsent_high(self) -> int:
        """How many high-priority messages the client has not taken yet, about."""
        taken = self._bytes_written - self._transport.get_write_buffer_size()
        while self._unsent and self._unsent[0][0] <= taken:
            self._unsent.popleft()
        return sum(number for _, number in self._unsent)

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
        if self.is_mute or self._transport.is_closing():
            return
        if self._stalled is not None:
            self._stalled.append(data)
            return
        self._bytes_written += len(data)
        self._transport.write(data)

    def send(self, messages: Sequence[ServerMessage]) -> None:
        """Send messages, each in a frame of its own, in one write."""
        self.write(b"".join(text_frames(messages)))

    def count_high(self, number: int) -> None:
        """Take note that the batch just sent has high-priority messages."""
        self._unsent.append((self._bytes_written, number))

    # --- faults ---------------------------------------------------------------

    def stall(self) -> None:
        """Read and write nothing more until :meth:`resume`, as a process that hangs."""
        if self._stalled is None:
            self._stalled = []
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on where :meth:`stall` stopped; what was to be sent is sent now."""
        held, self._stalled = self._stalled, None
        if held is None or self._transport.is_closing():
            return
        self.write(b"".join(held))
        self._transport.resume_reading()

    # --- the end --------------------------------------------------------------

    def say_goodbye(self, code: int, reason: str) -> None:
        """
        Send a close frame; code 1006 cuts the connection instead.

        The client has 1 s to answer. Until then the connection must be read on:
        what is left unread would make TCP take the close frame back.
        """
        if code == ABNORMAL_CLOSURE:
            self.cut()
            return
        self.write(frame(code.to_bytes(2, "big") + reason.encode(), CLOSE))
        self._has_said_goodbye = True
        asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self.cut)

    def end(self) -> None:
        """Close the socket, if the last word was ours and the client has answered."""
        if self._has_said_goodbye:
            self._transport.close()

    def hang_up(self) -> None:
        """End the connection once what was written has gone, without a close frame."""
        self._transport.close()

    def cut(self) -> None:
        """End the connection at once, without a close frame."""
        self._transport.abort()

    def reset(self) -> None:
        """End the connection with a TCP reset, which discards what is under way."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
