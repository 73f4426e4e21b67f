"""
Deadlines of positions: one heap, one daemon Timer, whoever may be listening.

The Timer does no I/O. It takes what is due off the heap and hands it on; a Timer
that cannot be started (the interpreter is ending, the process is at its limit)
is replaced by the supervisor's own wait.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Iterable
from itertools import count
from typing import Protocol

from lasersell._clock import Clock
from lasersell.session.positions import PositionHandle

__all__ = ["DeadlineScheduler", "start_timer"]

log = logging.getLogger(__name__)

LONGEST_WAIT = 86_400.0
"""A Timer never sleeps longer than a day; some platforms overflow."""
HEAP_SLACK = 64
"""Forgotten deadlines that may stay on the heap beyond as many as are set."""


class Cancellable(Protocol):
    """A timer that was started."""

    def cancel(self) -> None:
        """Make it end soon without doing anything."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""


def start_timer(delay: float, action: Callable[[], None]) -> Cancellable:
    """Start a daemon Timer; raises RuntimeError if no thread can be started."""
    timer = threading.Timer(delay, action)
    timer.name = "lasersell-deadlines"
    timer.daemon = True
    timer.start()
    return timer


class DeadlineScheduler:
    """
    Calls ``on_due`` once for each position whose deadline passed.

    Any thread may call any method.

    Args:
        on_due: Called with the handles that are due, in the Timer's thread or the
            supervisor's, without a lock held. Must not block.
        clock: Where time comes from.
        on_no_timer: Called when no Timer can be started, so that whoever calls
            :meth:`next_due` looks again. Must not block.
        timers: What starts a timer.
    """

    def __init__(
        self,
        on_due: Callable[[list[PositionHandle]], None],
        clock: Clock,
        on_no_timer: Callable[[], None],
        timers: Callable[[float, Callable[[], None]], Cancellable] = start_timer,
    ) -> None:
        self._on_due = on_due
        self._on_no_timer = on_no_timer
        self._clock = clock
        self._start_timer = timers
        # Guards everything below. Held for steps on the heap; a Timer is started
        # under it, so that there is never more than one that counts.
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, PositionHandle]] = []
        self._due: dict[PositionHandle, tuple[float, int]] = {}
        self._sequence = count()
        self._timer: Cancellable | None = None
        self._timer_at: float | None = None
        self._cannot_start = False
        self._stopped = False

    def arm(self, handle: PositionHandle, at: float) -> None:
        """Set or move the deadline of a position; ``at`` is monotonic seconds."""
        with self._lock:
            if self._stopped:
                return
            entry = (at, next(self._sequence))
            self._due[handle] = entry
            if len(self._heap) > 2 * len(self._due) + HEAP_SLACK:
                self._rebuild()
            else:
                heapq.heappush(self._heap, (*entry, handle))
            self._arm_timer()

    def replace(self, deadlines: Iterable[tuple[PositionHandle, float]]) -> None:
        """Forget all deadlines and set these instead, in one step."""
        with self._lock:
            if self._stopped:
                return
            self._due = {h: (at, next(self._sequence)) for h, at in deadlines}
            self._rebuild()
            self._arm_timer()

    def disarm(self, handle: PositionHandle) -> None:
        """Forget the deadline of a position; its Timer may still wake, for nothing."""
        with self._lock:
            self._due.pop(handle, None)

    def due_at(self, handle: PositionHandle) -> float | None:
        """Return when a position's deadline is, monotonic seconds; None if it has none."""
        entry = self._due.get(handle)
        return None if entry is None else entry[0]

    def next_due(self) -> float | None:
        """Return when the supervisor must call :meth:`run_due`; None while a Timer will."""
        with self._lock:
            return self._earliest() if self._cannot_start else None

    def run_due(self) -> None:
        """Call ``on_due`` with what is due, and arm the Timer for what comes next."""
        now = self._clock.monotonic()
        due: list[PositionHandle] = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                at, number, handle = heapq.heappop(self._heap)
                if self._due.get(handle) == (at, number):
                    del self._due[handle]
                    due.append(handle)
            self._timer_at = None
            if not self._stopped:
                self._arm_timer()
        if due:
            self._on_due(due)

    def stop(self) -> None:
        """End the Timer; nothing fires any more."""
        with self._lock:
            self._stopped = True
            self._due.clear()
            self._heap.clear()
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            timer.join(1.0)

    def _rebuild(self) -> None:
        self._heap = [(*entry, handle) for handle, entry in self._due.items()]
        heapq.heapify(self._heap)

    def _earliest(self) -> float | None:
        heap = self._heap
        while heap and self._due.get(heap[0][2]) != heap[0][:2]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def _arm_timer(self) -> None:
        """Have a Timer for the earliest deadline; the caller holds the lock."""
        at = self._earliest()
        # One that wakes too early finds nothing due and arms the next; so closing
        # positions, which move the earliest back, cost no thread each.
        if at is None or (self._timer_at is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = min(max(0.0, at - self._clock.monotonic()), LONGEST_WAIT)
        try:
            self._timer = self._start_timer(delay, self._fire)
        except RuntimeError:
            if not self._cannot_start:
                log.warning("no thread for the deadlines; the supervisor serves them")
            self._timer, self._timer_at = None, None
            self._cannot_start = True
            self._on_no_timer()
        else:
            self._timer_at = at
            self._cannot_start = False

    def _fire(self) -> None:
        try:
            self.run_due()
        except Exception:
            log.exception(
                "a deadline could not be handed on; this is a bug, please report it"
            )
