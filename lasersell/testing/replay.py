"""
The replay: a stream server that says what was recorded, at the pace it was said.

The first client gets the first recorded connection, the next one the second, and so
on; after the last it begins again. What the server said after ``configure`` waits
for the client's; nothing else that a client says changes anything. Pongs are not
replayed but given, each for a ping of the present client.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from itertools import count

from lasersell.errors import ConfigurationError
from lasersell.stream.frames import Opcode
from lasersell.testing.frames import Frame, FrameCutter
from lasersell.testing.http import Head, accept_key, read_head, response
from lasersell.testing.recording import RecordedConnection, Recording
from lasersell.testing.tcp import TcpServer, reset

__all__ = ["Replay"]

_FINAL = 0x80
_BLOCK = 65_536


class Replay(TcpServer):
    """
    Serves a recording to clients that take it for the stream.

    The last connection, where its server did not end it, stays open until the
    client leaves. Any API key is let in.

    Args:
        recording: What to serve, or the file it is in.
        speed: How many times faster than it was recorded; ``math.inf`` waits for
            nothing but ``configure``.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Raises:
        ConfigurationError: If the speed is not above 0, or nothing was recorded.
        DecodeError: If the file is no recording.
    """

    def __init__(
        self,
        recording: Recording | str | os.PathLike[str],
        *,
        speed: float = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port)
        if not isinstance(recording, Recording):
            recording = Recording.load(recording)
        if not recording.connections:
            raise ConfigurationError("no connection was recorded; nothing to replay")
        if not speed > 0:
            raise ConfigurationError("the speed of a replay must be above 0")
        self._recording = recording
        self._speed = speed
        self._numbers = count()
        self._finished = threading.Event()

    def wait_until_played(self, timeout: float | None = 10.0) -> None:
        """
        Block until everything of the last connection was said, once.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Raises:
            TimeoutError: If it was not said in time.
        """
        if not self._finished.wait(timeout):
            raise TimeoutError(f"the recording was not played within {timeout} s")

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connections = self._recording.connections
        number = next(self._numbers) % len(connections)
        recorded = connections[number]
        request = await read_head(reader)
        answer = recorded.answer
        if answer.status != 101:
            writer.write(response(answer.status, answer.headers, answer.body))
            if recorded is connections[-1]:
                self._finished.set()
        else:
            writer.write(_accepted(request.get("sec-websocket-key")))
            await self._converse_as(recorded, reader, writer)

    async def _converse_as(
        self,
        recorded: RecordedConnection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        configured = asyncio.Event()
        leaving = asyncio.ensure_future(_listen(reader, writer, configured))
        playing = asyncio.ensure_future(
            self._play(recorded, writer, configured, leaving)
        )
        try:
            await asyncio.wait({leaving, playing}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                return
            playing.result()
            if recorded is self._recording.connections[-1]:
                self._finished.set()
            if recorded.ended_by != "server":
                await leaving
            elif recorded.ending is not None and recorded.ending.is_reset:
                reset(writer)
        finally:
            leaving.cancel()
            playing.cancel()
            await asyncio.gather(leaving, playing, return_exceptions=True)

    async def _play(
        self,
        recorded: RecordedConnection,
        writer: asyncio.StreamWriter,
        configured: asyncio.Event,
        leaving: asyncio.Future[None],
    ) -> None:
        """Say what the server said, each frame in its time."""
        loop = asyncio.get_running_loop()
        # When what was recorded at which time is said; both move at the gate.
        now, then = loop.time(), recorded.at

        async def wait_for(at: float) -> None:
            delay = now + (at - then) / self._speed - loop.time()
            if delay > 0:
                await asyncio.wait({leaving}, timeout=delay)

        for entry in recorded.frames:
            if entry.side == "server" and entry.frame.opcode != Opcode.PONG:
                await wait_for(entry.at)
                writer.write(entry.frame.encode())
                await writer.drain()
            elif entry.side == "client" and entry.frame.opcode == Opcode.CLOSE:
                # What follows is the answer to a close that this client has not sent.
                return
            elif _is_configure(entry.frame) and not configured.is_set():
                await configured.wait()
                now, then = loop.time(), entry.at
        if recorded.ending is not None:
            await wait_for(recorded.ending.at)


def _accepted(key: str) -> bytes:
    lines = (
        "upgrade: websocket",
        "connection: Upgrade",
        f"sec-websocket-accept: {accept_key(key)}",
    )
    return Head("HTTP/1.1 101 Switching Protocols", lines).encode()


async def _listen(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    configured: asyncio.Event,
) -> None:
    """Hear a client out until it leaves."""
    cutter = FrameCutter()
    while data := await reader.read(_BLOCK):
        for frame in cutter.feed(data):
            if frame.opcode == Opcode.PING:
                writer.write(Frame(_FINAL | Opcode.PONG, frame.payload).encode())
            elif frame.opcode == Opcode.CLOSE:
                writer.write(frame.encode())
                return
            elif _is_configure(frame):
                configured.set()


def _is_configure(frame: Frame) -> bool:
    try:
        message = json.loads(frame.text or "")
    except json.JSONDecodeError:
        return False
    return isinstance(message, dict) and message.get("type") == "configure"
