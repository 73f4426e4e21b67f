"""A log that one thread writes and others wait on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import attrs

from lasersell._clock import SYSTEM_CLOCK, Deadline

__all__ = ["Entry", "Log"]

T = TypeVar("T")
Kind = TypeVar("Kind")

_CAPACITY = 16_384


@attrs.define(eq=False)
class Entry(Generic[T]):
    """
    One line of a log.

    Attributes:
        item: What happened.
        session_id: The session it happened in; 0 if in none.
        at: When, in seconds of the machine's monotonic clock.
        is_taken: Whether a ``wait_for`` returned it.
    """

    item: T
    session_id: int
    at: float
    is_taken: bool = False


class Log(Generic[T]):
    """
    The newest 16,384 entries; any thread may read, write and wait.

    The lock guards the entries and their ``is_taken``.
    """

    def __init__(self) -> None:
        self._entries: deque[Entry[T]] = deque(maxlen=_CAPACITY)
        self._changed = threading.Condition()

    def add(self, item: T, session_id: int = 0) -> None:
        """Append an entry and wake who waits."""
        entry = Entry(item, session_id, SYSTEM_CLOCK.monotonic())
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def entries(self, kind: type[Any] = object) -> list[Entry[T]]:
        """Return the entries whose item is a ``kind``, oldest first."""
        with self._changed:
            return [entry for entry in self._entries if isinstance(entry.item, kind)]

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the items that are a ``kind``, oldest first."""
        return [cast(Kind, entry.item) for entry in self.entries(kind)]

    def wait_for(
        self,
        kind: type[Kind],
        *,
        timeout: float | None = 5.0,
        where: Callable[[Kind], bool] = lambda _item: True,
    ) -> Kind:
        """
        Take the oldest item that is a ``kind`` and that no call returned before.

        Blocks until there is one or the time is up.

        Args:
            kind: Class of the item.
            timeout: Seconds to wait; None waits for ever.
            where: What must be true of the item; called under the log's lock.

        Raises:
            TimeoutError: If there was none in time; the text lists what came.
        """
        deadline = Deadline(timeout)
        with self._changed:
            while True:
                for entry in self._entries:
                    item = entry.item
                    if not entry.is_taken and isinstance(item, kind) and where(item):
                        entry.is_taken = True
                        return item
                if deadline.has_passed():
                    raise TimeoutError(self._complaint(kind, timeout))
                self._changed.wait(deadline.remaining())

    def _complaint(self, kind: type[Any], timeout: float | None) -> str:
        seen = [type(entry.item).__name__ for entry in self._entries][-10:]
        return (
            f"no {kind.__name__} came within {timeout} s; the last of "
            f"{len(self._entries)} entries are: {', '.join(seen) or 'none'}"
        )
