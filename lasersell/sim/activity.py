"""Waiting for something to become true, without asking again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lasersell._clock import Deadline

__all__ = ["Activity"]


class Activity:
    """
    A counter of everything that happens; any thread may count and wait.

    The lock guards the counter. No predicate is called while it is held, so a
    predicate may ask the server.
    """

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Say that something happened."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_until(
        self, predicate: Callable[[], object], timeout: float | None = 5.0
    ) -> None:
        """
        Block until a predicate is true; it is called each time something happened.

        Args:
            predicate: Called in this thread, once at least.
            timeout: Seconds to wait; None waits for ever.

        Raises:
            TimeoutError: If it did not become true in time.
        """
        deadline = Deadline(timeout)
        while True:
            # Whatever happens from here on is another number, and ends the wait.
            seen = self._count
            if predicate():
                return
            if deadline.has_passed():
                raise TimeoutError(f"it did not become true within {timeout} s")
            with self._changed:
                if self._count == seen:
                    self._changed.wait(deadline.remaining())
