"""A TCP server in a background thread, whose connections end with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TypeVar

from lasersell.sim.background import Background
from lasersell.testing.http import HEAD_LIMIT

__all__ = ["TcpServer", "hang_up", "reset"]

S = TypeVar("S", bound="TcpServer")

_PATH = "/v1/ws"
_HANG_UP_SECONDS = 1.0


class TcpServer(ABC):
    """
    What recorder and replay share; a context manager that starts and stops it.

    Any thread may start and stop it; all else happens in its own.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._background = Background(self._serve, host, port)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self: S) -> S:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The endpoint to give to a client."""
        return f"ws://{self._background.address}{_PATH}"

    def start(self) -> None:
        """
        Listen, and return once connections are accepted; at most 10 s.

        Raises:
            ConfigurationError: If it is running already, or the address cannot be
                listened on.
        """
        self._background.start()

    def stop(self, timeout: float = 5.0) -> None:
        """
        Cut all connections and end the thread; again and again does no harm.

        Raises:
            TimeoutError: If the thread did not end within ``timeout`` seconds.
        """
        self._background.stop(timeout)

    @asynccontextmanager
    async def _serve(self, listener: socket.socket) -> AsyncIterator[None]:
        server = await asyncio.start_server(
            self._accept, sock=listener, limit=HEAD_LIMIT
        )
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._tasks.add(task)
        try:
            # Whoever has gone needs no answer, and stop() needs no noise.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            await hang_up(writer)
            self._tasks.discard(task)

    @abstractmethod
    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection until it ends."""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """
    End a connection once what was written has gone, or after 1 s.

    It is waited for, as a loop that ends leaves open what is only about to close;
    TLS, for one, waits for the other side.
    """
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), _HANG_UP_SECONDS)
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        # Also where this is cancelled, for the server stops; what has closed stays so.
        writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset, which discards what is under way."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
