"""
What waits to be written to Redis: in memory up to a bound, then on the disk.

High events keep their order and are never dropped: when the disk is at its bound too, who
puts them waits, and the stream pushes back. Of low events the oldest are dropped.

Each lane has a writer of its own, so that a high event never waits for low ones to be
written. A low event waits for the high ones that came before it: its position may be
among them.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from lasersell._clock import Deadline

__all__ = ["BATCH", "LINGER_SEC", "Backlog", "HighItem", "LowItem"]

log = logging.getLogger(__name__)

BATCH = 256
"""Most events of a lane that are written at once."""
LINGER_SEC = 0.01
"""How long a low event waits for others to share a write with; a high one never does."""

_LENGTH = struct.Struct("<I")


class HighItem(msgspec.Struct, gc=False):
    """A high event, as it is to be written."""

    payload: bytes
    key: str = ""
    """The key of its position; empty if it is about none that is kept."""
    record: bytes = b""
    """The record of its position; empty if it is over."""


class LowItem(msgspec.Struct, gc=False):
    """A low event, as it is to be written."""

    payload: bytes
    at: float
    """When it arrived, monotonic seconds."""
    server_ms: float | None
    epoch: str
    key: str = ""
    """The key of its position, if it is kept as the latest of it; else empty."""
    latest: str = ""
    """The field in which it is kept as the latest; empty if it is not."""
    after: int = 0
    """How many high events were put before it; the backlog counts them."""


class Spool:
    """
    A queue of high events in an unnamed file; not for two threads at once.

    Args:
        directory: Where the file is; None is the directory for temporary files.
        capacity: Size of the file at which it takes no more until it was emptied.
    """

    def __init__(self, directory: Path | None, capacity: int) -> None:
        self._directory = directory
        self._capacity = capacity
        self._file: BinaryIO | None = None
        self._read_at = 0
        self._write_at = 0
        self.waiting = 0

    def append(self, item: HighItem) -> bool:
        """Put an event at the end; return False if there is no room."""
        payload = msgspec.msgpack.encode(item)
        data = _LENGTH.pack(len(payload)) + payload
        if self._write_at + len(data) > self._capacity:
            return False
        try:
            file = self._opened()
            file.seek(self._write_at)
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            log.error("the relay's events cannot be kept on the disk: %s", error)
            return False
        self._write_at += len(data)
        self.waiting += 1
        return True

    def pop(self) -> HighItem:
        """Take the oldest event; there must be one."""
        file = self._opened()
        file.seek(self._read_at)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        item = msgspec.msgpack.decode(file.read(length), type=HighItem)
        self._read_at += _LENGTH.size + length
        self.waiting -= 1
        if not self.waiting:
            file.truncate(0)
            self._read_at = self._write_at = 0
        return item

    def close(self) -> None:
        """Drop everything."""
        self.waiting = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO:
        if self._file is None:
            # Nobody else can open it, and it is gone however we end. Without a buffer: what
            # a full disk did not take must not be tried again by the next read.
            file = tempfile.TemporaryFile(  # noqa: SIM115 - closed with the spool
                buffering=0, prefix="lasersell-relay-", dir=self._directory
            )
            self._file = cast(BinaryIO, file)
        return self._file


class Backlog:
    """
    A queue of both lanes between one thread that collects and one for each that writes.

    Args:
        memory: High events in memory before the disk is used.
        disk_bytes: Bytes on the disk before who puts must wait.
        low_capacity: Low events before the oldest is dropped.
        directory: Where the file is; None is the directory for temporary files.
    """

    def __init__(
        self,
        memory: int,
        disk_bytes: int,
        low_capacity: int,
        directory: Path | None = None,
    ) -> None:
        self._memory = memory
        self._highs: deque[HighItem] = deque()
        self._lows: deque[LowItem] = deque(maxlen=low_capacity)
        self._spool = Spool(directory, disk_bytes)
        mutex = threading.Lock()
        # One for each thread that may wait, so that none is woken for another.
        self._has_highs = threading.Condition(mutex)
        self._has_lows = threading.Condition(mutex)
        self._has_room = threading.Condition(mutex)
        self._is_closed = False
        self._is_full = False
        self._linger: Deadline | None = None
        self._put = self._written = 0
        self.low_dropped = 0

    @property
    def waiting(self) -> int:
        """High events not yet taken, on the disk too."""
        return len(self._highs) + self._spool.waiting

    @property
    def spooled(self) -> int:
        """High events on the disk."""
        return self._spool.waiting

    @property
    def is_full(self) -> bool:
        """Whether the stream is held back because nothing more can be kept."""
        return self._is_full

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be put."""
        return self._is_closed

    # High events

    def put_high(self, item: HighItem) -> bool:
        """
        Put a high event; blocks while memory and disk are full.

        Returns:
            False if the backlog was closed instead.
        """
        with self._has_room:
            while not self._is_closed:
                if self._keep(item):
                    self._put += 1
                    self._has_highs.notify()
                    return True
                self._note_full()
                self._has_room.wait()
            return False

    def _keep(self, item: HighItem) -> bool:
        if len(self._highs) < self._memory and not self._spool.waiting:
            self._highs.append(item)
            return True
        if not self._spool.waiting:
            log.warning(
                "Redis does not keep up: events of the relay now wait on the disk"
            )
        return self._spool.append(item)

    def _note_full(self) -> None:
        if not self._is_full:
            self._is_full = True
            log.error(
                "%d events wait for Redis and there is no room for more; the stream is "
                "held back until it takes some",
                self.waiting,
            )

    def take_highs(self, timeout: float) -> list[HighItem]:
        """
        Take the high events to be written next, as soon as there is one.

        Blocks for ``timeout`` seconds at most; none when nothing came in time.
        """
        with self._has_highs:
            self._has_highs.wait_for(lambda: self._highs or self._is_closed, timeout)
            highs = [self._highs.popleft() for _ in range(min(BATCH, len(self._highs)))]
            while self._spool.waiting and len(self._highs) < self._memory:
                self._highs.append(self._spool.pop())
            if len(self._highs) < self._memory:
                self._is_full = False
                self._has_room.notify_all()
            return highs

    def note_written(self, count: int) -> None:
        """Note that so many of the high events that were taken are in Redis."""
        with self._has_lows:
            self._written += count
            if self._lows:
                self._has_lows.notify()

    # Low events

    def put_low(self, item: LowItem) -> None:
        """Put a low event; never blocks."""
        with self._has_lows:
            if len(self._lows) == self._lows.maxlen:
                self.low_dropped += 1
            item.after = self._put
            self._lows.append(item)
            if self._linger is None:
                self._linger = Deadline(LINGER_SEC)
                self._has_lows.notify()

    def take_lows(self, timeout: float) -> list[LowItem]:
        """
        Take the low events to be written next, once they waited for others.

        Blocks for ``timeout`` seconds at most; none when nothing came in time.
        """
        deadline = Deadline(timeout)
        with self._has_lows:
            while not (self._is_ripe() or self._is_closed or deadline.has_passed()):
                until = deadline
                if self._linger is not None and not self._linger.has_passed():
                    until = deadline.within(self._linger.remaining() or 0.0)
                self._has_lows.wait(until.remaining())
            lows: list[LowItem] = []
            while self._lows and len(lows) < BATCH and self._may_go(self._lows[0]):
                lows.append(self._lows.popleft())
            if lows:
                self._linger = Deadline(0) if self._lows else None
            return lows

    def _is_ripe(self) -> bool:
        return (
            self._linger is not None
            and (self._linger.has_passed() or len(self._lows) >= BATCH)
            and self._may_go(self._lows[0])
        )

    def _may_go(self, item: LowItem) -> bool:
        return self._is_closed or item.after <= self._written

    # The end

    def close(self) -> None:
        """Take no more; what is there can still be taken."""
        with self._has_highs:
            self._is_closed = True
            self._wake_all()

    def discard(self) -> int:
        """Drop everything and let go of the file; return how many high events."""
        with self._has_highs:
            lost = self.waiting
            self._is_closed = True
            self._highs.clear()
            self._lows.clear()
            self._linger = None
            self._spool.close()
            self._wake_all()
            return lost

    def _wake_all(self) -> None:
        for condition in (self._has_highs, self._has_lows, self._has_room):
            condition.notify_all()
