"""
A server in a thread of its own: where it listens, and how others get work done there.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from lasersell._threads import next_number, start_thread
from lasersell.errors import ConfigurationError

__all__ = ["Background"]

T = TypeVar("T")

_TIMEOUT = 10.0


class Background:
    """
    A named daemon thread that runs one asynchronous context until it is stopped.

    Args:
        serve: Makes the context from a listening socket; what it does on entry is
            the start, what it does on exit the end.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, and keeps it.

    Attributes:
        port: The port; a free one that was asked for is known from the start on.
    """

    def __init__(
        self,
        serve: Callable[[socket.socket], AbstractAsyncContextManager[None]],
        host: str,
        port: int,
    ) -> None:
        self.port = port
        self._host = host
        self._serve = serve
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def address(self) -> str:
        """Host and port, as in a URL."""
        return f"{self._host}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the context was entered and is not being left."""
        return self._loop is not None

    def start(self) -> None:
        """
        Listen, and return once the context was entered in the thread; at most 10 s.

        An error of the entry is raised here, and then no thread is left.

        Raises:
            ConfigurationError: If it was started before and not stopped, or the
                address cannot be listened on.
        """
        if self._thread is not None:
            raise ConfigurationError("the server is running already; stop it first")
        listener = self._listen()
        ready: Future[None] = Future()
        self._thread = start_thread(
            f"lasersell-sim-{next_number()}", lambda: self._run(listener, ready)
        )
        try:
            ready.result(_TIMEOUT)
        except BaseException:
            self.stop(_TIMEOUT)
            raise

    def stop(self, timeout: float) -> None:
        """
        Leave the context and join the thread; more than once does no harm.

        Raises:
            TimeoutError: If the thread did not end within ``timeout`` seconds.
        """
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None:
            return
        if loop is not None and stopping is not None:
            loop.call_soon_threadsafe(stopping.set)
        thread.join(timeout)
        if thread.is_alive():
            raise TimeoutError(f"the server's thread did not end in {timeout} s")
        self._thread = None

    def call(self, action: Callable[[], T]) -> T:
        """
        Do something in the thread and return what it returned; at most 10 s.

        Where the thread does not run, or is the caller, it is done at once.
        """
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            return action()
        future: Future[T] = Future()

        def act() -> None:
            try:
                future.set_result(action())
            except BaseException as error:  # noqa: BLE001  raised in the caller
                future.set_exception(error)

        loop.call_soon_threadsafe(act)
        return future.result(_TIMEOUT)

    def _listen(self) -> socket.socket:
        try:
            listener = socket.create_server((self._host, self.port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self.address} ({error.strerror}); "
                "choose another port, or port=0 for a free one"
            ) from error
        self.port = listener.getsockname()[1]
        return listener

    def _run(self, listener: socket.socket, ready: Future[None]) -> None:
        with listener:
            try:
                asyncio.run(self._main(listener, ready))
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)

    async def _main(self, listener: socket.socket, ready: Future[None]) -> None:
        self._stopping = asyncio.Event()
        async with self._serve(listener):
            self._loop = asyncio.get_running_loop()
            ready.set_result(None)
            try:
                await self._stopping.wait()
            finally:
                self._loop = None
