"""
Hooks that see a session's events beside its consumer, and take none away.

The producer appends to a ring, and only while there is a hook; one thread of our own
calls the hooks. So a hook that is slow delays nobody, and loses the oldest events.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from lasersell._mailbox import Doorbell
from lasersell._threads import next_number, start_thread
from lasersell.errors import ConfigurationError
from lasersell.session.events import StreamEvent
from lasersell.stream.lanes import Lanes
from lasersell.stream.reader import LOW_LANE

__all__ = ["Hook", "Observation", "Observers"]

log = logging.getLogger(__name__)

Hook = Callable[[StreamEvent], Any]

CAPACITY = 16_384
"""Events that wait for the hooks before the oldest is dropped."""
GATHER_SEC = 0.05
"""Seconds in which low events are gathered, for a thread switch each would cost more."""
HELD_SEC = 0.1
"""Seconds after which the lock of the hooks is held by somebody who cannot go on."""
STOP_SEC = 1.0
"""Seconds that a hook which is to stop gets for what came before."""


class Observation:
    """
    One hook that watches a session; made by ``session.observe()``.

    A context manager, whose end stops it. May be used from any thread.
    """

    def __init__(self, observers: Observers, hook: Hook, low: bool) -> None:
        self.hook = hook
        self.low = low
        """Whether it also gets the events of the low lane."""
        self.until: int | None = None
        """The number of events after which it stops; None while it does not."""
        self.has_stopped = threading.Event()
        self._observers = observers

    def __repr__(self) -> str:
        state = "active" if self.is_active else "stopped"
        return f"<Observation of {self.hook!r}, {state}>"

    @property
    def is_active(self) -> bool:
        """Whether the hook is called for what comes."""
        return self._observers.has(self)

    @property
    def dropped(self) -> int:
        """Events that this session's hooks together were too slow for, so far."""
        return self._observers.dropped

    def stop(self) -> None:
        """
        Call the hook no more, once it has seen what had come; again does no harm.

        Blocks for that, 1 second at most. Called by a hook it does not wait.
        """
        self._observers.remove(self)

    def __enter__(self) -> Observation:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Observers:
    """
    The hooks of one session and the thread that calls them.

    The thread holds this, never the facade. It runs while there are hooks and the
    lanes have not ended.

    Args:
        lanes: Whose events are observed.
    """

    def __init__(self, lanes: Lanes[StreamEvent]) -> None:
        self._lanes = lanes
        # Guards the hooks and the thread going up and down. Not held while a hook
        # is called, which may add and remove others.
        self._mutex = threading.Lock()
        self._observations: tuple[Observation, ...] = ()
        self._thread: threading.Thread | None = None
        self._wants_low = False
        self._events: deque[StreamEvent] = deque(maxlen=CAPACITY)
        self._bell = Doorbell()
        self._is_waiting = False
        self._is_urgent = False
        self._put = 0
        self._taken = 0

    @property
    def dropped(self) -> int:
        """Events that hooks were too slow for."""
        waiting, taken = len(self._events), self._taken
        return max(0, self._put - taken - waiting)

    def has(self, observation: Observation) -> bool:
        """Tell whether a hook is called for what comes."""
        return (
            observation in self._observations
            and observation.until is None
            and not self._lanes.ended
        )

    def add(self, hook: Hook, *, low: bool) -> Observation:
        """
        Call a hook with each event from now on; see the facade.

        Raises:
            ConfigurationError: It cannot be called.
            RuntimeError: No thread can be started.
        """
        if not callable(hook):
            raise ConfigurationError(f"a hook must be callable, not {hook!r}")
        observation = Observation(self, hook, low)
        with self._mutex:
            self._set((*self._observations, observation))
            if self._thread is None:
                self._start()
        return observation

    def _start(self) -> None:
        self._lanes.tap = self
        try:
            self._thread = start_thread(
                f"lasersell-observers-{next_number()}", self._run
            )
        except BaseException:
            self._lanes.tap = None
            self._set(())
            raise

    def remove(self, observation: Observation) -> None:
        """Call a hook no more, once it has seen what had come."""
        with self._mutex:
            thread = self._thread
            observation.until = self._put
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            observation.has_stopped.wait(STOP_SEC)
        self._drop(observation)
        if not self._observations:
            self._wake()
            self._join(thread, STOP_SEC)

    def _drop(self, observation: Observation) -> None:
        with self._mutex:
            self._set(tuple(o for o in self._observations if o is not observation))
        observation.has_stopped.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread of a session that has ended, unless this is it."""
        # A signal handler that closes may have interrupted this thread in add(), which
        # holds what the other one needs; that must go on first.
        if self._mutex.acquire(timeout=min(max(0.0, timeout), HELD_SEC)):
            self._mutex.release()
            self._join(self._thread, timeout)

    def _join(self, thread: threading.Thread | None, timeout: float) -> None:
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, timeout))

    def _set(self, observations: tuple[Observation, ...]) -> None:
        self._observations = observations
        self._wants_low = any(observation.low for observation in observations)

    # The lanes call these, in a producer's thread and under their mutex.

    def put(self, highs: list[StreamEvent], lows: list[StreamEvent]) -> None:
        """Take a copy of a batch."""
        if lows and self._wants_low:
            self._events.extend(lows)
            self._put += len(lows)
        elif not highs:
            return
        if highs:
            self._events.extend(highs)
            self._put += len(highs)
            self._is_urgent = True
        if self._is_urgent or self._is_waiting:
            self._bell.ring()

    def end(self) -> None:
        """Note that nothing comes any more."""
        self._wake()

    def _wake(self) -> None:
        self._is_urgent = True
        self._bell.ring()

    # The thread

    def _run(self) -> None:
        while self._await_events():
            events = self._events
            for _ in range(len(events)):
                self._taken += 1
                self._show(events.popleft())

    def _await_events(self) -> bool:
        """Wait for events; return False when there will be none, or nobody cares."""
        while True:
            # Looked at before the events: none comes after the end.
            ended = self._lanes.ended
            self._drop_stopped()
            if self._events:
                return True
            with self._mutex:
                if ended or not self._observations:
                    for observation in self._observations:
                        observation.has_stopped.set()
                    self._lanes.tap = None
                    self._thread = None
                    return False
            self._sleep()

    def _drop_stopped(self) -> None:
        gone = self._put - len(self._events)
        for observation in self._observations:
            if observation.until is not None and observation.until <= gone:
                self._drop(observation)

    def _sleep(self) -> None:
        # Who puts looks at this after it has put.
        self._is_waiting = True
        if not self._events and not self._is_urgent:
            self._bell.wait(None)
        self._is_waiting = False
        if not self._is_urgent:
            self._bell.wait(GATHER_SEC)
        self._is_urgent = False

    def _show(self, event: StreamEvent) -> None:
        is_low = type(event.message) in LOW_LANE
        for observation in self._observations:
            if is_low and not observation.low:
                continue
            try:
                observation.hook(event)
            except BaseException:
                # Also SystemExit, which would end the thread of all hooks unseen.
                log.exception(
                    "the hook %r failed on a %s", observation.hook, event.type
                )
