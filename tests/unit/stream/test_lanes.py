from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import attrs
import pytest

from lasersell._clock import Deadline
from lasersell._mailbox import Doorbell
from lasersell.errors import ConcurrencyError, ForkedError, StreamError, StreamLostError
from lasersell.stream import lanes as lanes_module
from lasersell.stream.lanes import Lanes, Receiver
from tests.patience import PATIENCE


@attrs.frozen(eq=False)
class _Event:
    """Told from every other by identity, as the lanes do."""

    number: int


def _events(count: int, start: int = 0) -> list[_Event]:
    return [_Event(start + number) for number in range(count)]


def _lanes(high: int = 100, low: int = 100) -> Lanes[Any]:
    return Lanes(high, low)


def _taken(receiver: Receiver[Any]) -> list[Any]:
    """Take all that is there now."""
    taken = []
    try:
        while True:
            taken.append(receiver.get(0))
    except TimeoutError:
        return taken


class _Reader:
    """A producer thread that is held back by a full lane."""

    def __init__(self, lanes: Lanes[Any], highs: list[Any], lows: list[Any]) -> None:
        self.is_held = threading.Event()
        self._room = threading.Semaphore(0)
        self._stopping = False
        self._thread = threading.Thread(
            target=lanes.put_within_bound, args=(highs, lows, self._wait, self.ring)
        )
        self._thread.start()

    def _wait(self) -> bool:
        if self._stopping:
            return False
        self.is_held.set()
        self._room.acquire()
        return not self._stopping

    def ring(self) -> None:
        """Wake it; what a consumer does when there is room."""
        self._room.release()

    def stop(self) -> None:
        """Make it put the rest over the bound."""
        self._stopping = True
        self.ring()

    def join(self) -> None:
        """Wait until everything was put."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def _collect(receiver: Receiver[Any], into: list[Any]) -> None:
    into.append(receiver.get(PATIENCE))


class _Bell(Doorbell):
    """A doorbell that tells when its consumer is about to wait."""

    def __init__(self, on_wait: Callable[[], object]) -> None:
        super().__init__()
        self._on_wait = on_wait

    def wait(self, timeout: float | None) -> bool:
        self._on_wait()
        return super().wait(timeout)


# Order


def test_high_comes_before_low() -> None:
    """Whatever came first, what must not wait is delivered first."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put(["high 1"], ["low 1", "low 2"])
    lanes.put(["high 2"], ["low 3"])
    assert _taken(receiver) == ["high 1", "high 2", "low 1", "low 2", "low 3"]


def test_at_most_one_low_goes_ahead_of_a_high() -> None:
    """A high event that arrives in a flood of low ones is the very next."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put([], list(range(50)))
    assert receiver.get(0) == 0
    lanes.put(["exit"], list(range(50, 60)))
    assert receiver.get(0) == "exit"
    assert receiver.get(0) == 1


def _ending_lanes() -> Lanes[Any]:
    return Lanes(100, 100, is_last=lambda event: event == "end")


def test_low_events_come_before_the_last_of_their_connection() -> None:
    """As long as nothing newer waits; they are not lost."""
    lanes = _ending_lanes()
    lanes.put(["a"], [1, 2])
    lanes.put(["end"], [])
    assert _taken(lanes.receiver()) == ["a", 1, 2, "end"]


def test_low_events_never_come_after_the_last_of_their_connection() -> None:
    """Nor does what is newer wait for them: they are dropped, and counted."""
    lanes = _ending_lanes()
    receiver = lanes.receiver()
    lanes.put([], [1, 2, 3])
    lanes.put(["end"], [])
    assert receiver.get(0) == 1
    lanes.put(["connected"], [])
    assert _taken(receiver) == ["end", "connected"]
    assert lanes.low_stats().dropped == 2
    assert lanes.low_stats().delivered == 1


def test_every_end_of_a_connection_counts() -> None:
    """Two connections came and went while nobody looked."""
    lanes = _ending_lanes()
    receiver = lanes.receiver()
    for number in (1, 2):
        lanes.put([f"connected {number}"], [number])
        lanes.put(["end"], [])
    assert _taken(receiver) == ["connected 1", "end", "connected 2", "end"]


def test_a_search_for_the_last_of_a_connection_skips_the_low_ones() -> None:
    """They could only come after it."""
    lanes = _ending_lanes()
    receiver = lanes.receiver()
    lanes.put(["a", "end"], [1])
    assert receiver.find(lambda event: event == "end", 0, what="end") == "end"
    assert _taken(receiver) == ["a"]


def test_the_last_of_a_connection_ends_the_stream_too() -> None:
    """What had come before the close comes before it, and nothing after."""
    lanes = _ending_lanes()
    receiver = lanes.receiver()
    lanes.put(["a"], [1])
    lanes.put(["end"], [])
    lanes.end(None)
    assert [receiver.get(None) for _ in range(5)] == ["a", 1, "end", None, None]


def test_receivers_of_one_lane_see_only_that() -> None:
    """Split lanes do not wait for one another."""
    lanes = _lanes()
    high, low = lanes.receiver(low=False), lanes.receiver(high=False)
    lanes.put(["high"], ["low"])
    assert _taken(low) == ["low"]
    assert _taken(high) == ["high"]
    lanes.end(None)
    assert high.get(None) is None
    assert low.get(None) is None


# Dropping and counting


def test_the_low_lane_drops_its_oldest_and_counts() -> None:
    """A slow consumer sees the newest; each lost event is counted."""
    lanes = _lanes(low=3)
    receiver = lanes.receiver()
    lanes.put([], list(range(5)))
    lanes.put([], [5])
    assert receiver.get(0) == 3
    stats = lanes.low_stats()
    assert (stats.delivered, stats.waiting, stats.dropped) == (1, 2, 3)
    assert stats.high_water == 3
    assert _taken(receiver) == [4, 5]
    stats = lanes.low_stats()
    assert (stats.delivered, stats.waiting, stats.dropped) == (3, 0, 3)


def test_the_high_lane_drops_nothing() -> None:
    """Put over the bound, everything still arrives; the peak shows."""
    lanes = _lanes(high=2)
    receiver = lanes.receiver()
    lanes.put(list(range(5)), [])
    assert lanes.is_full()
    assert _taken(receiver) == list(range(5))
    stats = lanes.high_stats()
    assert (stats.delivered, stats.waiting, stats.dropped) == (5, 0, 0)
    assert stats.high_water == 5


def test_what_was_returned_counts_as_delivered() -> None:
    """The event in the consumer's hand is still in the lane, but does not wait any more."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put(["a", "b"], [])
    receiver.get(0)
    stats = lanes.high_stats()
    assert (stats.delivered, stats.waiting) == (1, 1)
    receiver.get(0)
    stats = lanes.high_stats()
    assert (stats.delivered, stats.waiting) == (2, 0)


# The bound


def test_a_reader_with_room_does_not_wait() -> None:
    """Up to the bound a batch is put at once."""
    lanes = _lanes(high=2)
    lanes.put_within_bound([1, 2], ["low"], pytest.fail, pytest.fail)
    assert _taken(lanes.receiver()) == [1, 2, "low"]


def test_a_full_high_lane_holds_the_reader_back() -> None:
    """The reader stops at the bound, and goes on when half of the lane is free."""
    lanes = _lanes(high=4)
    receiver = lanes.receiver()
    events = list(range(10))
    reader = _Reader(lanes, events, [])
    assert reader.is_held.wait(PATIENCE)
    was_held = lanes.held_back
    stats = lanes.high_stats()
    assert (was_held, stats.waiting, stats.high_water) == (True, 4, 4)
    taken = [receiver.get(PATIENCE) for _ in range(10)]
    reader.join()
    assert taken == events
    assert not lanes.held_back
    assert lanes.high_stats().high_water == 4


def test_a_reader_held_back_is_not_woken_for_every_event() -> None:
    """It is woken once half of the lane is free, not at the first free place."""
    lanes = _lanes(high=4)
    receiver = lanes.receiver()
    reader = _Reader(lanes, list(range(6)), [])
    assert reader.is_held.wait(PATIENCE)
    receiver.get(0)  # in hand
    receiver.get(0)  # three left
    assert lanes.held_back
    assert lanes.high_stats().waiting == 2
    receiver.get(0)  # two left: woken
    reader.join()
    assert _taken(receiver) == [3, 4, 5]


def test_the_low_lane_goes_on_while_the_high_one_is_full() -> None:
    """Low events of the same batch are put before the reader waits."""
    lanes = _lanes(high=1)
    receiver = lanes.receiver(high=False)
    reader = _Reader(lanes, [1, 2], ["low"])
    assert receiver.get(PATIENCE) == "low"
    reader.stop()
    reader.join()


def test_a_reader_that_stops_puts_the_rest_over_the_bound() -> None:
    """close() loses nothing that had arrived."""
    lanes = _lanes(high=2)
    receiver = lanes.receiver()
    reader = _Reader(lanes, list(range(9)), [])
    assert reader.is_held.wait(PATIENCE)
    reader.stop()
    reader.join()
    assert _taken(receiver) == list(range(9))


def test_a_reader_that_stops_while_there_is_room_puts_the_rest() -> None:
    """Room that came with the stop is used, and the rest follows."""
    lanes = _lanes(high=4)
    receiver = lanes.receiver()
    lanes.put(list(range(4)), [])
    receiver.get(0)
    receiver.get(0)  # three left: above half, so a reader waits
    lanes.put_within_bound([4, 5, 6], [], lambda: False, lambda: None)
    assert _taken(receiver) == [2, 3, 4, 5, 6]


def test_nothing_is_put_twice_over_the_bound() -> None:
    """Where our own messages filled the lane over its bound, the reader's come once."""
    lanes = _lanes(high=2)
    receiver = lanes.receiver()
    lanes.put(["a", "b", "c", "d"], [])
    reader = _Reader(lanes, ["e", "f", "g"], [])
    assert reader.is_held.wait(PATIENCE)
    taken = [receiver.get(PATIENCE) for _ in range(7)]
    reader.join()
    assert taken == list("abcdefg")
    assert _taken(receiver) == []


def test_the_time_of_being_held_back_is_kept() -> None:
    """The resync must not count a time in which nobody could read."""
    lanes = _lanes(high=1)
    receiver = lanes.receiver()
    assert lanes.released_at == float("-inf")
    reader = _Reader(lanes, [1, 2], [])
    assert reader.is_held.wait(PATIENCE)
    before = lanes.clock.monotonic()
    assert [receiver.get(PATIENCE) for _ in range(2)] == [1, 2]
    reader.join()
    assert lanes.released_at >= before


# The end


def test_an_orderly_end_is_none_for_ever() -> None:
    """What is there is taken first; then every call returns None."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put(["high"], ["low"])
    lanes.end(None)
    assert [receiver.get(None) for _ in range(5)] == ["high", "low", None, None, None]


def test_an_error_ends_every_later_call() -> None:
    """The same error each time, without a pile of old tracebacks."""
    lanes = _lanes()
    receiver = lanes.receiver()
    error = StreamLostError("gone")
    lanes.put(["high"], [])
    lanes.end(error)
    assert receiver.get(None) == "high"
    depths = []
    for _ in range(3):
        with pytest.raises(StreamLostError) as caught:
            receiver.get(None)
        assert caught.value is error
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_nothing_is_put_after_the_end() -> None:
    """The first end decides, and it is the end."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.end(None)
    lanes.put(["late"], ["late"])
    lanes.end(StreamLostError("later"))
    assert receiver.get(None) is None
    assert lanes.high_stats().delivered == 0


def test_the_end_wakes_a_waiting_consumer() -> None:
    """No consumer sleeps through it, on either lane."""
    lanes = _lanes()
    receivers = [lanes.receiver(low=False), lanes.receiver(high=False)]
    results: list[object] = []
    threads = [
        threading.Thread(target=_collect, args=(receiver, results))
        for receiver in receivers
    ]
    for thread in threads:
        thread.start()
    lanes.end(None)
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [None, None]


# Waiting


@pytest.mark.parametrize("timeout", [0, 0.0, -1])
def test_no_time_only_looks(timeout: float) -> None:
    """A timeout of 0 or less returns what is there, or says that nothing is."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put([1], [])
    assert receiver.get(timeout) == 1
    with pytest.raises(TimeoutError):
        receiver.get(timeout)


def test_a_timeout_says_how_long_it_was() -> None:
    """The builtin TimeoutError: it is no failure of the stream."""
    with pytest.raises(TimeoutError, match=r"no event within 0\.01 seconds"):
        _lanes().receiver().get(0.01)


def test_an_event_wakes_a_waiting_consumer() -> None:
    """Of either lane."""
    lanes = _lanes()
    receiver = lanes.receiver()
    for highs, lows in ((["high"], []), ([], ["low"])):
        results: list[object] = []
        thread = threading.Thread(target=_collect, args=(receiver, results))
        thread.start()
        lanes.put(highs, lows)
        thread.join(PATIENCE)
        assert results == highs + lows


def test_a_timeout_ends_though_a_signal_handler_outlasts_it() -> None:
    """A handler that runs past the deadline does not make recv() wait for ever."""

    def outlast(*_: object) -> None:
        deadline = Deadline(0.06)
        while not deadline.has_passed():
            pass

    former = signal.signal(signal.SIGUSR1, outlast)
    me = threading.get_ident()
    timer = threading.Timer(0.01, signal.pthread_kill, (me, signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(TimeoutError):
            _lanes().receiver().get(0.03)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, former)


def test_a_stale_ring_is_no_event() -> None:
    """A consumer that was rung for something already taken goes on waiting."""
    lanes = _lanes()
    receiver = lanes.receiver()
    receiver._bell.ring()
    with pytest.raises(TimeoutError):
        receiver.get(0.01)


def test_an_event_in_the_last_moment_is_returned() -> None:
    """What came while the time ran out is not called a timeout."""
    lanes = _lanes()
    receiver = lanes.receiver()

    def come_late() -> None:
        lanes.put(["just in time"], [])
        Doorbell.wait(receiver._bell, 0)  # as if it had not rung yet

    receiver._bell = _Bell(come_late)
    assert receiver.get(0.01) == "just in time"


def test_two_threads_at_once_are_refused() -> None:
    """An event goes to one consumer; a second one is told so, not starved."""
    lanes = _lanes()
    receiver = lanes.receiver()
    inside = threading.Event()
    receiver._bell = _Bell(inside.set)
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(receiver.get(None)))
    thread.start()
    assert inside.wait(PATIENCE)
    calls: list[Callable[[], object]] = [
        lambda: receiver.get(0),
        receiver.check_free,
        lambda: receiver.find(bool, 0, what="event"),
    ]
    for call in calls:
        with pytest.raises(ConcurrencyError, match="another thread is receiving"):
            call()
    lanes.put(["event"], [])
    thread.join(PATIENCE)
    assert results == ["event"]
    receiver.check_free()
    with pytest.raises(TimeoutError):
        receiver.get(0)


@pytest.mark.parametrize("gather_sec", [0.0, 0.0005])
@pytest.mark.parametrize("is_split", [False, True])
def test_no_event_is_slept_through(is_split: bool, gather_sec: float) -> None:
    """Under the wildest switching of threads every event wakes its consumer."""
    lanes = _lanes(low=100_000)
    count = 3000
    receivers = (
        [lanes.receiver(low=False), lanes.receiver(high=False)]
        if is_split
        else [lanes.receiver()]
    )
    for receiver in receivers:
        receiver.gather_sec = gather_sec
    taken: list[list[Any]] = [[] for _ in receivers]

    def consume(receiver: Receiver[Any], into: list[Any]) -> None:
        into.extend(iter(lambda: receiver.get(PATIENCE), None))

    threads = [
        threading.Thread(target=consume, args=pair)
        for pair in zip(receivers, taken, strict=True)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for number in range(count):
            lanes.put([("high", number)], [("low", number)])
            if number % 7 == 0:
                lanes.put([], [])
        lanes.end(None)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a consumer slept through an event"
    finally:
        sys.setswitchinterval(interval)
    everything = [event for part in taken for event in part]
    for lane in ("high", "low"):
        numbers = [number for kind, number in everything if kind == lane]
        assert numbers == list(range(count))


# Letting low events gather


def _consuming(receiver: Receiver[Any]) -> tuple[threading.Thread, list[object]]:
    """Have a thread wait for an event."""
    results: list[object] = []
    thread = threading.Thread(
        target=lambda: results.append(receiver.get(100 * PATIENCE)), daemon=True
    )
    thread.start()
    _until(lambda: receiver._is_waiting)
    return thread, results


def _until(condition: Callable[[], bool]) -> None:
    deadline = Deadline(PATIENCE)
    tick = threading.Event()
    while not condition():
        assert not deadline.has_passed()
        tick.wait(0.001)


def _gathering(seconds: float) -> tuple[Lanes[Any], Receiver[Any]]:
    lanes = _lanes()
    receiver = lanes.receiver()
    receiver.gather_sec = seconds
    return lanes, receiver


def test_low_events_are_left_to_gather_for_their_time() -> None:
    """The consumer sleeps on after the first one, and then finds them all."""
    lanes, receiver = _gathering(0.2)
    thread, results = _consuming(receiver)
    began = Deadline(0.15)
    for number in range(3):
        lanes.put([], [number])
    thread.join(PATIENCE)
    assert began.has_passed()
    assert [*results, *_taken(receiver)] == [0, 1, 2]


def test_a_consumer_that_lets_low_events_gather_is_not_woken_by_them() -> None:
    """Each wake-up would cost more than the event."""
    lanes, receiver = _gathering(PATIENCE)
    thread, _ = _consuming(receiver)
    lanes.put([], [0])
    _until(lambda: receiver._is_gathering)
    receiver._bell = bell = _CountingBell(receiver._bell)
    for number in range(100):
        lanes.put([], [number])
    assert bell.rings == 0
    lanes.end(None)
    thread.join(PATIENCE)
    assert bell.rings == 1


class _CountingBell(Doorbell):
    """A doorbell in front of the one on which a consumer waits already."""

    def __init__(self, bell: Doorbell) -> None:
        super().__init__()
        self._bell = bell
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1
        self._bell.ring()


@pytest.mark.parametrize("first", ["low", "high"])
def test_a_high_event_does_not_wait_for_low_ones_to_gather(first: str) -> None:
    """It wakes the consumer at once, whether it comes before or after it is gathering."""
    lanes, receiver = _gathering(100 * PATIENCE)
    thread, results = _consuming(receiver)
    if first == "low":
        lanes.put([], ["low"])
        _until(lambda: receiver._is_gathering)
        lanes.put(["high"], [])
    else:
        lanes.put(["high"], ["low"])
    thread.join(PATIENCE)
    assert results == ["high"]


def test_the_end_does_not_wait_for_low_events_to_gather() -> None:
    """What had come is taken, and then nothing."""
    lanes, receiver = _gathering(100 * PATIENCE)
    thread, results = _consuming(receiver)
    lanes.put([], ["low"])
    _until(lambda: receiver._is_gathering)
    lanes.end(None)
    thread.join(PATIENCE)
    assert [*results, receiver.get(0)] == ["low", None]


def test_who_has_less_time_than_low_events_may_gather_gets_them_in_time() -> None:
    """The timeout of a call comes first."""
    lanes, receiver = _gathering(100 * PATIENCE)
    timer = threading.Timer(0.01, lanes.put, ([], ["low"]))
    timer.start()
    assert receiver.get(0.1) == "low"
    timer.join()


# Ctrl-C


class _Interrupting(deque[Any]):
    """A lane in which Ctrl-C strikes at one of the consumer's steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_left = -1

    def _step(self) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            raise KeyboardInterrupt

    def popleft(self) -> Any:
        self._step()
        event = super().popleft()
        self._step()
        return event

    def __getitem__(self, index: Any) -> Any:
        self._step()
        event = super().__getitem__(index)
        self._step()
        return event

    def __delitem__(self, index: Any) -> None:
        self._step()
        super().__delitem__(index)
        self._step()

    def __bool__(self) -> bool:
        self._step()
        return len(self) > 0


@pytest.mark.parametrize("step", range(1, 14))
def test_ctrl_c_anywhere_in_a_call_loses_nothing(step: int) -> None:
    """A call that is interrupted at any of its steps repeats an event at worst."""
    lanes = _lanes()
    highs = _Interrupting()
    lanes._high.queue = highs
    receiver = lanes.receiver()
    events = _events(5)
    lanes.put(events, [])
    highs.steps_left = step
    taken: list[Any] = []
    interrupted = 0
    while len(taken) < 50:
        try:
            taken.append(receiver.get(0))
        except KeyboardInterrupt:
            interrupted += 1
        except TimeoutError:
            break
    assert interrupted == 1
    assert list(dict.fromkeys(taken)) == events


@pytest.mark.parametrize("step", range(1, 9))
def test_ctrl_c_anywhere_in_a_search_loses_nothing(step: int) -> None:
    """A search that is interrupted leaves what it found, and what it passed over."""
    lanes = _lanes()
    highs = _Interrupting()
    lanes._high.queue = highs
    receiver = lanes.receiver()
    events = _events(4)
    lanes.put(events, [])
    highs.steps_left = step
    found: list[Any] = []
    for wanted in (events[2], events[1]):
        while wanted not in found:
            try:
                found.append(receiver.find(lambda e: e is wanted, 0, what="event"))  # noqa: B023
            except KeyboardInterrupt:
                continue
    highs.steps_left = -1
    assert found == [events[2], events[1]]
    left = _taken(receiver)
    assert [event for event in left if event not in found] == [events[0], events[3]]


def test_ctrl_c_while_waiting_leaves_the_receiver_usable() -> None:
    """A consumer that was interrupted in its sleep can go on."""
    lanes = _lanes()
    receiver = lanes.receiver()
    me = threading.get_ident()
    timer = threading.Timer(0.01, signal.pthread_kill, (me, signal.SIGINT))
    receiver._bell = _Bell(timer.start)
    with pytest.raises(KeyboardInterrupt):
        receiver.get(PATIENCE)
    timer.join()
    lanes.put(["event"], [])
    assert receiver.get(0) == "event"


def _by_iterator(receiver: Receiver[Any], into: list[Any]) -> None:
    for event in receiver.each(None):
        into.append(event)  # noqa: PERF402 - a list() would lose all it has so far


def _by_call(receiver: Receiver[Any], into: list[Any]) -> None:
    while True:
        event = receiver.get(None)
        if event is None:
            return
        into.append(event)


# CPython 3.10 can raise between the return of any function and the assignment of
# its result; there only the iterator is safe.
_LOOPS: list[Callable[[Receiver[Any], list[Any]], None]] = [_by_iterator]
if sys.version_info >= (3, 11):
    _LOOPS.append(_by_call)


@pytest.mark.parametrize("loop", _LOOPS)
def test_ctrl_c_at_any_time_loses_nothing(
    loop: Callable[[Receiver[Any], list[Any]], None],
) -> None:
    """Real signals in a loop under load: an event may come twice, none is lost."""
    lanes = _lanes()
    receiver = lanes.receiver()
    events: list[_Event] = []
    enough = threading.Event()

    def produce() -> None:
        while not enough.is_set():
            batch = _events(40, len(events))
            events.extend(batch)
            lanes.put(batch, [])
            while lanes.high_stats().waiting > 4000 and not enough.wait(0.0002):
                pass
        lanes.end(None)

    chance = random.Random(7)

    def arm() -> None:
        signal.setitimer(signal.ITIMER_PROF, chance.uniform(1e-4, 2e-3))

    def interrupt(_: int, frame: FrameType | None) -> None:
        # Only in our code: what measures coverage is not made for it.
        assert frame is not None
        if frame.f_code.co_filename in (__file__, lanes_module.__file__):
            raise KeyboardInterrupt
        arm()

    taken: list[Any] = []
    interrupted = 0
    former = signal.signal(signal.SIGPROF, interrupt)
    producer = threading.Thread(target=produce)
    producer.start()
    try:
        is_over = False
        while not is_over:
            try:
                if interrupted < 20:
                    arm()
                else:
                    enough.set()
                loop(receiver, taken)
                is_over = True
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
        enough.set()
        producer.join(PATIENCE)
    assert list(dict.fromkeys(taken)) == events


# Searching


def test_a_search_leaves_what_it_passes_over() -> None:
    """High events stay for the next call in their order; low ones are skipped."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put(["a", "b", "c"], ["x", "y"])
    assert receiver.find(lambda event: event == "b", 0, what="b") == "b"
    assert receiver.find(lambda event: event == "y", 0, what="y") == "y"
    assert _taken(receiver) == ["a", "c"]
    stats = lanes.low_stats()
    assert (stats.delivered, stats.dropped) == (2, 0)


def test_a_search_waits_for_what_comes() -> None:
    """It wakes for every event, and returns the one that is wanted."""
    lanes = _lanes()
    receiver = lanes.receiver()
    found: list[object] = []
    thread = threading.Thread(
        target=lambda: found.append(
            receiver.find(lambda event: event == "b", PATIENCE, what="b")
        )
    )
    thread.start()
    lanes.put(["a"], [])
    lanes.put(["b"], [])
    thread.join(PATIENCE)
    assert found == ["b"]
    assert _taken(receiver) == ["a"]


def test_a_search_ends_with_its_time() -> None:
    """What did not come in time is named."""
    lanes = _lanes()
    lanes.put(["a"], [])
    receiver = lanes.receiver()
    with pytest.raises(TimeoutError, match=r"no b within 0\.01 seconds"):
        receiver.find(lambda event: event == "b", 0.01, what="b")
    assert _taken(receiver) == ["a"]


def test_a_search_ends_with_the_stream() -> None:
    """What will never come is an error that has the stream's own as its cause."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lost = StreamLostError("gone")
    lanes.put(["a"], [])
    lanes.end(lost)
    with pytest.raises(StreamError, match="ended before a b came") as caught:
        receiver.find(lambda event: event == "b", None, what="b")
    assert caught.value.__cause__ is lost
    assert receiver.get(None) == "a"


def test_a_search_in_a_full_lane_does_not_hang() -> None:
    """Where what is passed over leaves no room for what is wanted, this is an error."""
    lanes = _lanes(high=2)
    receiver = lanes.receiver()
    searching = threading.Event()
    problems: list[str] = []

    def matches(_: object) -> bool:
        searching.set()
        return False

    def search() -> None:
        try:
            receiver.find(matches, PATIENCE, what="exit")
        except StreamError as error:
            problems.append(str(error))

    lanes.put(["a"], [])
    thread = threading.Thread(target=search)
    thread.start()
    assert searching.wait(PATIENCE)
    reader = _Reader(lanes, ["b", "exit"], [])
    thread.join(PATIENCE)
    assert problems == [
        "no exit is among the events that wait, and they leave no room for more; "
        "take some with recv()"
    ]
    reader.stop()
    reader.join()
    assert _taken(receiver) == ["a", "b", "exit"]


class _Hesitant(Receiver[Any]):
    """A consumer to which something happens just before it waits."""

    __slots__ = ("before_sleep",)

    before_sleep: Callable[[], None]

    def _sleep(self, deadline: Deadline, highs_seen: int) -> bool:
        self.before_sleep()
        return super()._sleep(deadline, highs_seen)


def test_a_search_is_told_of_a_lane_that_fills_up_as_it_goes_to_sleep() -> None:
    """The ring of the reader that is held back comes before anybody waits for it."""
    lanes = _lanes(high=2)
    receiver = _Hesitant(lanes, lanes._high.queue, lanes._low)
    lanes._receivers.append(receiver)
    lanes.put(["a", "b"], [])
    readers: list[_Reader] = []

    def fill_up() -> None:
        reader = _Reader(lanes, ["exit"], [])
        readers.append(reader)
        assert reader.is_held.wait(PATIENCE)

    receiver.before_sleep = fill_up
    with pytest.raises(StreamError, match="leave no room for more"):
        receiver.find(lambda event: event == "exit", PATIENCE, what="exit")
    readers[0].stop()
    readers[0].join()
    assert _taken(lanes.receiver()) == ["a", "b", "exit"]


def test_a_search_waits_for_a_reader_that_has_room_again() -> None:
    """A lane that was full, and no more is, is no reason to give up."""
    lanes = _lanes(high=2)
    receiver = lanes.receiver()
    reader = _Reader(lanes, ["a", "b", "exit"], [])
    assert reader.is_held.wait(PATIENCE)
    lanes._on_room = lambda: None  # as if the reader were slow to wake up
    assert [receiver.get(0), receiver.get(0)] == ["a", "b"]
    receiver._bell = _Bell(reader.ring)
    assert receiver.find(lambda event: event == "exit", PATIENCE, what="exit") == "exit"
    reader.join()


def test_an_event_that_has_left_its_lane_is_not_taken_twice() -> None:
    """What the consumer was given last may be gone; nothing else goes in its place."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put(["a", "b"], [])
    assert receiver.get(0) == "a"
    lanes._high.queue.popleft()
    assert _taken(receiver) == ["b"]


# Iterating


def test_an_iterator_ends_with_the_lanes() -> None:
    """Everything in order, and then the end."""
    lanes = _lanes()
    lanes.put([1, 2], [3])
    lanes.end(None)
    assert list(lanes.receiver().each(None)) == [1, 2, 3]


@pytest.mark.slow
def test_an_iterator_keeps_its_face_alive() -> None:
    """Who only holds the iterator still holds the stream."""

    class _Face:
        pass

    lanes = _lanes()
    face = _Face()
    alive = weakref.ref(face)
    iterator: Iterator[Any] = lanes.receiver().each(face)
    del face
    gc.collect()
    assert alive() is not None
    del iterator
    gc.collect()
    assert alive() is None


# Forks


def test_a_forked_child_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy answers with an error at once, whatever threads of the parent were about."""
    lanes = _lanes()
    receiver = lanes.receiver()
    lanes.put([1, 2], [3])
    receiver.get(0)
    monkeypatch.setattr(receiver, "_owner", -1)  # a thread that the child lacks
    lanes._mutex.acquire()  # and a lock that it held
    lanes.held_back = True
    error = ForkedError(os.getpid())
    lanes.after_fork(error)
    for _ in range(2):
        with pytest.raises(ForkedError):
            receiver.get(None)
    lanes.end(None)
    assert lanes.high_stats().waiting == 0
    assert lanes.low_stats().waiting == 0
    assert not lanes.held_back


def test_a_fork_in_a_signal_handler_ends_the_wait() -> None:
    """A consumer that forked in the middle of its own wait gets out of it in the child."""
    lanes = _lanes()
    receiver = lanes.receiver()

    receiver._bell = _Bell(lambda: lanes.after_fork(ForkedError(os.getpid())))
    with pytest.raises(ForkedError):
        receiver.get(None)
