"""
Wait for another thread, for as long as was said and no longer.

``queue.SimpleQueue.get(timeout=...)`` may never return up to CPython 3.12: when a
signal handler runs past the deadline, when the time is very short, and in 3.10
also with a time of 0. So there is a doorbell made of a lock, whose time-out holds
on every version, and a mailbox with one.

Nothing here takes a lock to hand something over: a signal handler may do it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import Generic, TypeVar

from lasersell._clock import Deadline

__all__ = ["Doorbell", "Mailbox"]

T = TypeVar("T")


class Doorbell:
    """Wakes one thread; rung before anybody waits, it wakes the next that does."""

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        # Held while it does not ring.
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake the thread that waits; any thread or signal handler may call this."""
        try:
            self._silence.release()
        except RuntimeError:
            pass  # it is ringing already

    def wait(self, timeout: float | None) -> bool:
        """
        Wait for a ring and end it; one thread at a time.

        Args:
            timeout: Seconds; None is for ever, 0 or less only looks.

        Returns:
            Whether it rang.
        """
        if timeout is None:
            return self._silence.acquire()
        # Below 0 it would wait for ever, above the maximum it is refused.
        return self._silence.acquire(
            timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX)
        )


class Mailbox(Generic[T]):
    """A queue for one receiving thread; any thread or signal handler may put."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._bell = Doorbell()

    def put(self, item: T) -> None:
        """Append an item; never blocks."""
        self._items.append(item)
        self._bell.ring()

    def get(self, timeout: float | None = None) -> T:
        """
        Return the oldest item.

        Args:
            timeout: Seconds to wait; None is for ever, 0 or less only looks.

        Raises:
            queue.Empty: None came in time.
        """
        deadline = Deadline(timeout)
        while not self._items:
            # A ring for an item that was taken already wakes for nothing, once.
            if not self._bell.wait(deadline.remaining()) and not self._items:
                raise queue.Empty
        return self._items.popleft()
