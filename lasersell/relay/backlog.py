"""
What waits to be written to Redis: in memory up to a bound, then, of high events, on the disk.

High events keep their order and are never dropped: when the disk is at its bound too, no
more are collected, and the stream pushes back. Of low events the oldest are dropped.
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

from lasersell._decode import decode_msgpack

__all__ = ["BATCH", "HighBacklog", "HighItem", "LowBacklog", "LowItem"]

log = logging.getLogger(__name__)

BATCH = 256
"""Most events of a lane that are written at once."""

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
    """How many high events were collected before it, its position's among them."""


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
        item = decode_msgpack(file.read(length), HighItem)
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


class HighBacklog:
    """
    A queue of high events, for the thread that collects and writes them; any may look.

    Args:
        memory: Events in memory before the disk is used.
        disk_bytes: Bytes on the disk before it is full.
        directory: Where the file is; None is the directory for temporary files.
    """

    def __init__(
        self, memory: int, disk_bytes: int, directory: Path | None = None
    ) -> None:
        self._memory = memory
        self._items: deque[HighItem] = deque()
        self._spool = Spool(directory, disk_bytes)
        # What was collected before it was seen that there is no room.
        self._surplus: deque[HighItem] = deque()
        self.put_count = 0
        """How many events were ever put."""

    @property
    def is_full(self) -> bool:
        """Whether no more should be collected."""
        return bool(self._surplus)

    @property
    def waiting(self) -> int:
        """Events not yet taken, on the disk too."""
        return len(self._items) + self._spool.waiting + len(self._surplus)

    @property
    def spooled(self) -> int:
        """Events on the disk."""
        return self._spool.waiting

    def put(self, item: HighItem) -> None:
        """Put an event at the end; it is kept also if there is no room."""
        self.put_count += 1
        if len(self._items) < self._memory and not self._spool.waiting:
            self._items.append(item)
            return
        if not self._spool.waiting:
            log.warning(
                "Redis does not keep up: events of the relay now wait on the disk"
            )
        if self._surplus or not self._spool.append(item):
            self._surplus.append(item)
            if len(self._surplus) == 1:
                log.error(
                    "%d events wait for Redis and there is no room for more; the stream "
                    "is held back until it takes some",
                    self.waiting,
                )

    def take(self) -> list[HighItem]:
        """Take the events to be written next; none if none wait."""
        items = self._items
        taken = [items.popleft() for _ in range(min(BATCH, len(items)))]
        while self._spool.waiting and len(items) < self._memory:
            items.append(self._spool.pop())
        while self._surplus and len(items) < self._memory:
            items.append(self._surplus.popleft())
        return taken

    def discard(self) -> None:
        """Drop everything and let go of the file."""
        self._items.clear()
        self._surplus.clear()
        self._spool.close()


class LowBacklog:
    """
    A queue of low events between the thread that collects and the one that writes them.

    A low event waits for the high ones that came before it to be written: its position
    may be among them.

    Args:
        capacity: Events before the oldest is dropped.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[LowItem] = deque(maxlen=capacity)
        # Guards all that is here.
        self._ready = threading.Condition()
        self._written = 0
        self.is_closed = False
        """Whether nothing more will be put."""
        self.dropped = 0
        """Events that a newer one displaced."""

    def put(self, items: list[LowItem]) -> None:
        """Put events at the end; never blocks."""
        with self._ready:
            room = (self._items.maxlen or 0) - len(self._items)
            self.dropped += max(0, len(items) - room)
            self._items.extend(items)
            self._ready.notify()

    def note_written(self, count: int) -> None:
        """Note that so many of all high events that were collected are in Redis."""
        with self._ready:
            self._written = count
            if self._items:
                self._ready.notify()

    def take(self, timeout: float) -> list[LowItem]:
        """
        Take the events to be written next, as soon as there is one that may be.

        Blocks for ``timeout`` seconds at most; none when nothing came in time.
        """
        with self._ready:
            self._ready.wait_for(lambda: self.is_closed or self._has_next(), timeout)
            taken: list[LowItem] = []
            while len(taken) < BATCH and self._has_next():
                taken.append(self._items.popleft())
            return taken

    def _has_next(self) -> bool:
        items = self._items
        return bool(items) and (self.is_closed or items[0].after <= self._written)

    def close(self) -> None:
        """Take no more, and let what is there go; again does no harm."""
        with self._ready:
            self.is_closed = True
            self._ready.notify()
