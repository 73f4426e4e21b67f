"""Many frames to every client, at a rate or as fast as they read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from lasersell._clock import SYSTEM_CLOCK
from lasersell.sim.connection import Connection

__all__ = ["Flood"]

_STEP_SECONDS = 0.001
_FRAMES_PER_WRITE = 512
_WRITES_PER_STEP = 16


class Flood:
    """
    A flood under way; made by ``SimServer.flood``.

    It looks every millisecond whether the slowest client has room. The interval
    is the grain of the rate, and asyncio tells only the transport's owner, which
    we are not, when a congested transport has room again.

    Args:
        frames: What to send, over and over; one whole frame or more.
        clients: Returns who gets it.
        count: Frames for each client in all; None does not end.
        rate: Frames a second; None is as fast as the slowest client reads.
        on_end: Called in the server's thread when it ends.

    Attributes:
        sent: Frames written for each client so far.
    """

    def __init__(
        self,
        frames: Sequence[bytes],
        clients: Callable[[], Sequence[Connection]],
        *,
        count: int | None,
        rate: float | None,
        on_end: Callable[[Flood], None],
    ) -> None:
        self.sent = 0
        self._frames = cycle(frames)
        self._clients = clients
        self._count = count
        self._rate = rate
        self._on_end = on_end
        self._ended = threading.Event()
        self._held_back = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started_at = 0.0

    def begin(self) -> None:
        """Start; only in the server's thread."""
        self._loop = asyncio.get_running_loop()
        self._started_at = SYSTEM_CLOCK.monotonic()
        self._step()

    def stop(self) -> None:
        """End it after the frames already written; from any thread, more than once."""
        self._count = self.sent

    def wait(self, timeout: float = 10.0) -> None:
        """
        Block until everything was handed to the operating system or its buffers.

        Raises:
            TimeoutError: If that took longer than ``timeout`` seconds.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"{self.sent} frames were sent in {timeout} s; not all")

    def wait_until_held_back(self, timeout: float = 10.0) -> None:
        """
        Block until some client has read so little that the flood had to wait for it.

        Raises:
            TimeoutError: If that did not happen within ``timeout`` seconds.
        """
        if not self._held_back.wait(timeout):
            raise TimeoutError(f"every client kept up for {timeout} s")

    def end(self) -> None:
        """Let go of everything; only in the server's thread."""
        self._ended.set()
        self._on_end(self)

    def _step(self) -> None:
        assert self._loop is not None, "begin() runs first"
        if self._ended.is_set():
            return
        for _ in range(_WRITES_PER_STEP):
            if not self._write_some():
                break
        if self._count is not None and self.sent >= self._count:
            self.end()
        else:
            self._loop.call_later(_STEP_SECONDS, self._step)

    def _write_some(self) -> bool:
        clients = self._clients()
        frames = min(_FRAMES_PER_WRITE, self._owed())
        if frames <= 0 or not clients:
            return False
        if any(client.is_congested for client in clients):
            self._held_back.set()
            return False
        block = b"".join(islice(self._frames, frames))
        for client in clients:
            client.write(block)
        self.sent += frames
        return True

    def _owed(self) -> int:
        owed = _FRAMES_PER_WRITE
        if self._rate is not None:
            elapsed = SYSTEM_CLOCK.monotonic() - self._started_at
            owed = int(elapsed * self._rate) - self.sent
        if self._count is not None:
            owed = min(owed, self._count - self.sent)
        return owed
