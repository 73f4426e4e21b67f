"""
How long the server takes to answer, and what its clock says.
"""

from __future__ import annotations

import os
import threading
from collections import deque

from lasersell._clock import Clock
from lasersell.errors import ForkedError, NotConnectedError
from lasersell.protocol.client import Ping
from lasersell.protocol.codec import encode_client_message
from lasersell.protocol.server import HelloOk, Pong

__all__ = ["PendingPing", "RoundTrips"]

SLEPT_MS = 2000
"""A greeting that is this far off what was known means that this machine slept."""


class PendingPing:
    """An application ping under way."""

    def __init__(self) -> None:
        self._owner_pid = os.getpid()
        self._done = threading.Event()
        self._seconds: float | None = None

    def wait(self, timeout: float | None = None) -> float:
        """
        Return the round trip in seconds.

        Blocks until the pong, the end of the connection, or ``timeout`` seconds
        (None is for ever). Any thread may call this.

        Raises:
            TimeoutError: No pong came in time.
            NotConnectedError: The connection ended first.
            ForkedError: This is a forked child, where no pong ever comes.
        """
        if os.getpid() != self._owner_pid:
            raise ForkedError(self._owner_pid)
        if not self._done.wait(timeout):
            raise TimeoutError(f"no pong within {timeout:g} seconds")
        if self._seconds is None:
            raise NotConnectedError("the connection ended before the pong came")
        return self._seconds

    def resolve(self, seconds: float | None) -> None:
        """Hand the answer over; None means it will not come."""
        self._seconds = seconds
        self._done.set()


class RoundTrips:
    """
    Matches pongs to pings, first to first, since a pong names no ping.

    A ping is entered in sending order (inside the send lock), and the reader
    takes the oldest; a deque needs no lock for that.
    """

    def __init__(self, clock: Clock) -> None:
        self.last: float | None = None
        """The latest round trip, in seconds."""
        self.clock_offset_ms: float | None = None
        """The server's clock minus ours, in ms; None until the server told its time."""
        # A moment by the monotonic clock, and by the server's. Not by our wall clock:
        # someone may set that, and all positions would be older at once.
        self._anchor: tuple[float, float] | None = None
        self._clock = clock
        self._pending: deque[tuple[PendingPing, float, int]] = deque()

    def begin(self, ping: PendingPing) -> bytes:
        """Enter a ping and return it as text; called in sending order."""
        wall_ms = self._clock.wall_ms()
        self._pending.append((ping, self._clock.monotonic(), wall_ms))
        return encode_client_message(Ping(client_time_ms=wall_ms))

    def greeted(self, hello: HelloOk) -> None:
        """Begin a connection; its greeting tells the server's time until a pong does."""
        # One that a writer entered while its connection was being taken down.
        self.disconnected()
        if self.clock_offset_ms is None:
            self.clock_offset_ms = hello.server_time_ms - self._clock.wall_ms()
        known = self.server_now_ms()
        if known is None or abs(hello.server_time_ms - known) > SLEPT_MS:
            self._anchor = (self._clock.monotonic(), hello.server_time_ms)

    def answered(self, pong: Pong) -> None:
        """Take the pong of the oldest ping."""
        if not self._pending:
            return
        ping, sent_at, sent_ms = self._pending.popleft()
        seconds = self._clock.monotonic() - sent_at
        self.last = seconds
        self.clock_offset_ms = pong.server_time_ms - (sent_ms + seconds * 500)
        self._anchor = (sent_at + seconds / 2, pong.server_time_ms)
        ping.resolve(seconds)

    def disconnected(self) -> None:
        """Tell those who wait that no pong will come."""
        while self._pending:
            self._pending.popleft()[0].resolve(None)

    def server_now_ms(self) -> float | None:
        """Return the time by the server's clock, Unix epoch ms; None if unknown."""
        return self.server_ms_at(self._clock.monotonic())

    def server_ms_at(self, at: float) -> float | None:
        """Return a moment of our monotonic clock by the server's; None if unknown."""
        if self._anchor is None:
            return None
        anchored_at, server_ms = self._anchor
        return server_ms + (at - anchored_at) * 1000
