"""
The hand-over from the reader to the consumer: two lanes behind one mutex.

The high lane is a ``queue.Queue`` that never drops, the low lane a deque that
drops its oldest. Producers put whole batches under the mutex and ring a
doorbell once. A consumer takes no lock at all: it pops, and only when both lanes
are empty it waits on its doorbell. So it can be interrupted by a signal handler
that closes the stream, and it costs nothing that another thread could hold.

Low events may be overtaken by later high ones, but for one: the last of their
connection, see ``is_last``.

Why no event is slept through: the consumer first says that it waits, then looks
at the lanes once more, then waits. A producer first puts, then looks whether
someone waits. Whichever comes second sees the other.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from threading import get_ident
from typing import Generic, Protocol, TypeVar

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell._mailbox import Doorbell
from lasersell.errors import ConcurrencyError, LaserSellError, StreamError

__all__ = ["LaneStats", "Lanes", "Receiver", "Tap"]

E = TypeVar("E")


@attrs.frozen(kw_only=True)
class LaneStats:
    """Counters of one lane, exact whenever no thread is inside it."""

    delivered: int
    """Events a consumer has taken."""
    waiting: int
    """Events not yet taken."""
    dropped: int
    """Events that a newer one displaced; always 0 in the high lane."""
    high_water: int
    """The most that ever waited."""


class Tap(Protocol[E]):
    """Sees what is put into the lanes. Called under their mutex; must not block."""

    def put(self, highs: list[E], lows: list[E]) -> None:
        """See a batch."""

    def end(self) -> None:
        """See the end."""


class Lanes(Generic[E]):
    """
    Both lanes, from the producers' side.

    Args:
        high_capacity: Events in the high lane at which a producer must wait.
        low_capacity: Events in the low lane at which the oldest is dropped.
        clock: Where time comes from.
        is_last: Tells whether a high event is the last of a connection. The low
            ones are delivered before it as long as nothing newer waits, and never
            after it.
    """

    def __init__(
        self,
        high_capacity: int,
        low_capacity: int,
        clock: Clock = SYSTEM_CLOCK,
        *,
        is_last: Callable[[E], bool] = lambda _: False,
    ) -> None:
        self.is_last = is_last
        self.high_capacity = high_capacity
        self.low_capacity = low_capacity
        self.clock = clock
        self.held_back = False
        """Whether a producer waits for room in the high lane."""
        self.released_at = float("-inf")
        """When a producer last got out of that wait, monotonic seconds."""
        self.ended = False
        """Whether nothing will be put any more."""
        self.error: LaserSellError | None = None
        """Why it ended; None when in order."""
        self.low_taken = 0
        self.tap: Tap[E] | None = None
        """What else sees every event; one look per batch while there is none."""
        self._resume_at = high_capacity // 2
        self._on_room: Callable[[], None] = lambda: None
        self._high: queue.Queue[E] = queue.Queue()
        self._low: deque[E] = deque(maxlen=low_capacity)
        # Guards the order of puts and the four counters below. Held for a few
        # appends, never by a consumer. Not the queue's own: gevent's has none.
        self._mutex = threading.Lock()
        self._high_put = 0
        self._low_put = 0
        self._high_water = 0
        self._low_water = 0
        self._receivers: list[Receiver[E]] = []

    def receiver(self, *, high: bool = True, low: bool = True) -> Receiver[E]:
        """Return a consumer's side of one lane or of both."""
        nothing: deque[E] = deque()
        receiver = Receiver(
            self,
            self._high.queue if high else nothing,
            self._low if low else nothing,
        )
        self._receivers.append(receiver)
        return receiver

    # Producers

    def put(self, highs: list[E], lows: list[E]) -> None:
        """Put a batch, whatever the bound; any thread may call this, it does not wait."""
        with self._mutex:
            if self.ended:
                return
            if lows:
                self._low.extend(lows)
                self._low_put += len(lows)
                self._low_water = max(self._low_water, len(self._low))
            if highs:
                self._high.queue.extend(highs)
                self._high_put += len(highs)
                self._high_water = max(self._high_water, len(self._high.queue))
            if self.tap is not None:
                self.tap.put(highs, lows)
        self.ring()

    def put_within_bound(
        self,
        highs: list[E],
        lows: list[E],
        wait: Callable[[], bool],
        on_room: Callable[[], None],
    ) -> None:
        """
        Put a batch, and wait where the high lane is full.

        Only the reader calls this.

        Args:
            highs: Events for the high lane.
            lows: Events for the low lane.
            wait: Waits until ``on_room`` was called or something else wants the
                reader; returns False if the rest is to be put over the bound,
                because the stream is closing.
            on_room: What gets the reader out of ``wait``.
        """
        # Less than none where messages of our own were put over the bound.
        room = max(0, self.high_capacity - len(self._high.queue))
        if len(highs) <= room:
            self.put(highs, lows)
            return
        self.put(highs[:room], lows)
        rest = highs[room:]
        self._on_room = on_room
        self.held_back = True
        # Who looks for an event that the lane has no room for must not sleep on.
        self.ring()
        try:
            while rest:
                # Looked at after held_back is set: a consumer pops first and looks
                # at held_back then, so one of the two sees the other.
                if len(self._high.queue) > self._resume_at and wait():
                    continue
                room = self.high_capacity - len(self._high.queue)
                if room <= 0:
                    self.put(rest, [])
                    return
                self.put(rest[:room], [])
                rest = rest[room:]
        finally:
            self.released_at = self.clock.monotonic()
            self.held_back = False

    def is_full(self) -> bool:
        """Tell whether the high lane is at its bound."""
        return len(self._high.queue) >= self.high_capacity

    def is_stuck(self) -> bool:
        """Tell whether a producer waits for room that no consumer has made yet."""
        return self.held_back and len(self._high.queue) > self._resume_at

    def end(self, error: LaserSellError | None) -> None:
        """
        Put nothing after this; consumers take what is there, then see the end.

        The first call decides. Any thread may call this.
        """
        with self._mutex:
            if not self.ended:
                self.error = error
                self.ended = True
            if self.tap is not None:
                self.tap.end()
        self.ring()

    def ring(self) -> None:
        """Wake the consumers that wait; takes no lock."""
        for receiver in self._receivers:
            receiver.ring()

    def after_fork(self, error: LaserSellError) -> None:
        """Make a child's copy say why it cannot be used; its locks may be held for ever."""
        self._mutex = threading.Lock()
        self._high.queue.clear()
        self._low.clear()
        self.error = error
        self.ended = True
        self.held_back = False
        for receiver in self._receivers:
            receiver.after_fork()

    # Consumers

    def took_high(self) -> None:
        """Note that a consumer made room in the high lane."""
        if self.held_back and len(self._high.queue) <= self._resume_at:
            self._on_room()

    def high_stats(self) -> LaneStats:
        """Return the counters of the high lane."""
        # Numbers are copied under the mutex and no more is done there: a producer waits.
        with self._mutex:
            put, held, high_water = (
                self._high_put,
                len(self._high.queue),
                self._high_water,
            )
            # What was returned last is still in the lane, and no longer waits.
            returned = sum([receiver.holds_high for receiver in self._receivers])
        waiting = held - returned
        return LaneStats(
            delivered=put - waiting, waiting=waiting, dropped=0, high_water=high_water
        )

    def low_stats(self) -> LaneStats:
        """Return the counters of the low lane."""
        with self._mutex:
            # In this order: an event taken meanwhile counts as neither dropped
            # nor delivered, rather than as both.
            waiting, taken = len(self._low), self.low_taken
            put, high_water = self._low_put, self._low_water
        return LaneStats(
            delivered=taken,
            waiting=waiting,
            dropped=max(0, put - taken - waiting),
            high_water=high_water,
        )


class Receiver(Generic[E]):
    """One consumer's side; one thread at a time."""

    __slots__ = (
        "_bell",
        "_highs",
        "_is_gathering",
        "_is_waiting",
        "_lanes",
        "_lows",
        "_out",
        "_owner",
        "gather_sec",
    )

    def __init__(self, lanes: Lanes[E], highs: deque[E], lows: deque[E]) -> None:
        self._lanes = lanes
        self._highs = highs
        self._lows = lows
        self._out: E | None = None
        # The thread that is inside. It may find itself here after a KeyboardInterrupt
        # that left no time to clean up, so only another one is refused.
        self._owner: int | None = None
        self._bell = Doorbell()
        self._is_waiting = False
        self._is_gathering = False
        self.gather_sec = 0.0
        """Seconds for which low events are left to gather before :meth:`get` wakes up."""

    @property
    def holds_high(self) -> bool:
        """Whether the event that was returned last is still in the high lane."""
        return self._out is not None

    def ring(self) -> None:
        """Wake the consumer if it waits; takes no lock."""
        if self._is_waiting or (self._is_gathering and self._is_urgent()):
            self._bell.ring()

    def after_fork(self) -> None:
        """Forget in a child what threads of the parent were about."""
        self._owner = None
        self._out = None
        # The one that forked may itself be waiting, under a signal handler.
        self._bell.ring()
        self._bell = Doorbell()

    def each(self, face: object) -> Iterator[E]:
        """
        Return an iterator over the events, up to the end of the lanes.

        Args:
            face: Kept alive by the iterator: dropped, it would end the lanes.
        """
        # No Python function stands between get() and the loop: on CPython 3.10 a
        # KeyboardInterrupt could be raised in it, with the event in its hand.
        step = partial(self.get, None)
        step.__dict__["face"] = face
        return iter(step, None)

    def get(self, timeout: float | None) -> E | None:
        """
        Return the next event, high before low; None once the lanes ended in order.

        A high event leaves its lane only when the next call begins, so that a
        KeyboardInterrupt in here can repeat it, never lose it.

        Args:
            timeout: Seconds to wait; None is for ever, 0 or less only looks.

        Raises:
            TimeoutError: Nothing came in time.
            ConcurrencyError: Another thread is in this call.
            LaserSellError: The lanes ended by this error and are empty.
        """
        me = get_ident()
        if self._owner is not None and self._owner != me:
            raise _second_receiver()
        try:
            self._owner = me
            if self._out is not None:
                self._release()
            if self._highs:
                return self._next_high()
            if self._lows:
                self._lanes.low_taken += 1
                return self._lows.popleft()
            return self._wait(timeout)
        except BaseException:
            self._out = None
            raise
        finally:
            self._owner = None

    def find(
        self, matches: Callable[[E], bool], timeout: float | None, *, what: str
    ) -> E:
        """
        Return the next event that matches; high events passed over stay where they are.

        Args:
            matches: Tells whether an event is wanted.
            timeout: Seconds to wait; None is for ever.
            what: What is wanted, for the error.

        Raises:
            TimeoutError: None came in time.
            StreamError: The lanes ended first, or the high lane is full of others.
            ConcurrencyError: Another thread is in a call.
        """
        self.check_free()
        try:
            self._owner = get_ident()
            self._release()
            deadline = Deadline(timeout, self._lanes.clock)
            while True:
                ended = self._lanes.ended
                seen = len(self._highs)
                found = self._look_for(matches)
                if found is not None:
                    return found
                if ended:
                    raise StreamError(
                        f"the stream ended before a {what} came"
                    ) from self._lanes.error
                if self._lanes.is_stuck():
                    raise StreamError(
                        f"no {what} is among the events that wait, and they leave no room "
                        "for more; take some with recv()"
                    )
                if not self._sleep(deadline, seen):
                    raise TimeoutError(f"no {what} within {timeout:g} seconds")
        except BaseException:
            self._out = None
            raise
        finally:
            self._owner = None

    def check_free(self) -> None:
        """
        Refuse a second consumer.

        Raises:
            ConcurrencyError: Another thread is in a call.
        """
        if self._owner not in (None, get_ident()):
            raise _second_receiver()

    def _look_for(self, matches: Callable[[E], bool]) -> E | None:
        # Copying a deque is one step for other threads, walking it is not.
        for high in list(self._highs):
            if matches(high):
                if self._lanes.is_last(high):
                    self._lows.clear()
                self._out = high
                return high
        while self._lows:
            low = self._take_low()
            if matches(low):
                return low
        return None

    def _release(self) -> None:
        """Take the event that the former call returned out of its lane."""
        out = self._out
        if out is None:
            return
        highs = self._highs
        # By identity: interrupted between two lines, the next call must not take
        # a second event away.
        if highs and highs[0] is out:
            highs.popleft()
        else:
            for index, high in enumerate(list(highs)):
                if high is out:
                    del highs[index]
                    break
        self._out = None
        self._lanes.took_high()

    def _next_high(self) -> E:
        high = self._highs[0]
        if self._lows and self._lanes.is_last(high):
            if len(self._highs) == 1:
                return self._take_low()
            # They are of a connection that is over, and something newer waits.
            self._lows.clear()
        self._out = high
        return high

    def _take_low(self) -> E:
        self._lanes.low_taken += 1
        return self._lows.popleft()

    def _wait(self, timeout: float | None) -> E | None:
        lanes = self._lanes
        deadline = Deadline(timeout, lanes.clock)
        while True:
            # Before the lanes are looked at: nothing is put after the end.
            ended = lanes.ended
            if self._highs:
                return self._next_high()
            if self._lows:
                return self._take_low()
            if ended:
                if lanes.error is not None:
                    raise lanes.error.with_traceback(None)
                return None
            if not self._sleep(deadline, 0):
                raise TimeoutError(f"no event within {timeout:g} seconds")
            if self.gather_sec:
                self._gather(deadline.within(self.gather_sec))

    def _gather(self, deadline: Deadline) -> None:
        """Leave low events alone until a high one or the end comes, or the time is up."""
        self._is_gathering = True
        try:
            # As in _sleep(): whoever put one before does not ring.
            if not self._is_urgent():
                self._bell.wait(deadline.remaining())
        finally:
            self._is_gathering = False

    def _is_urgent(self) -> bool:
        return bool(self._highs) or self._lanes.ended

    def _sleep(self, deadline: Deadline, highs_seen: int) -> bool:
        """Wait until something changed; return False when the time is up instead."""
        self._is_waiting = True
        try:
            # What came in the last moment counts, though it did not ring in time.
            return (
                self._has_news(highs_seen)
                or self._bell.wait(deadline.remaining())
                or self._has_news(highs_seen)
            )
        finally:
            self._is_waiting = False

    def _has_news(self, highs_seen: int) -> bool:
        return (
            len(self._highs) > highs_seen
            or bool(self._lows)
            or self._lanes.ended
            # To who looks past high events, that no more of them will come is news.
            or (highs_seen > 0 and self._lanes.is_stuck())
        )


def _second_receiver() -> ConcurrencyError:
    return ConcurrencyError(
        "another thread is receiving from this stream; give it to one thread, "
        "or register callbacks"
    )
