from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConfigurationError
from lasersell.protocol.server import PnlUpdate
from lasersell.session import observers
from lasersell.session.events import Arrival, StreamEvent
from lasersell.session.observers import Observers
from lasersell.stream.lanes import Lanes
from tests.patience import PATIENCE
from tests.unit.session.frames import opened

_ARRIVAL = Arrival(0.0, None)


def _high(number: int = 1) -> StreamEvent:
    return StreamEvent(opened(number), None, _ARRIVAL)


def _low(number: int = 1) -> StreamEvent:
    pnl = PnlUpdate(
        position_id=number, profit_units=0, proceeds_units=0, server_time_ms=0
    )
    return StreamEvent(pnl, None, _ARRIVAL)


class Seen:
    """A hook that notes what it is called with."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: StreamEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[StreamEvent]:
        """Return the events once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, PATIENCE)
        return self.events


@pytest.fixture
def lanes() -> Iterator[Lanes[StreamEvent]]:
    """Return lanes that end after the test."""
    lanes: Lanes[StreamEvent] = Lanes(16, 16)
    yield lanes
    lanes.end(None)


@pytest.fixture
def watched(lanes: Lanes[StreamEvent]) -> Observers:
    """Return the observers of the lanes."""
    return Observers(lanes)


def test_a_hook_sees_high_events_and_takes_none(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """In a thread of their own, while all of them stay for the consumer."""
    seen, names = Seen(), set[str]()

    def note_thread(_: StreamEvent) -> None:
        names.add(threading.current_thread().name)

    watched.add(note_thread, low=False)
    watched.add(seen, low=False)
    events = [_high(1), _high(2)]
    lanes.put(events, [_low()])
    assert seen.wait_for(2) == events
    assert {name.rstrip("0123456789") for name in names} == {"lasersell-observers-"}
    receiver = lanes.receiver()
    assert [receiver.get(0), receiver.get(0)] == events


def test_low_events_are_for_those_who_want_them(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """Also those that the lane drops."""
    all_seen, high_seen = Seen(), Seen()
    watched.add(all_seen, low=True)
    watched.add(high_seen, low=False)
    lows = [_low(number) for number in range(40)]
    lanes.put([], lows)
    lanes.put([_high()], [])
    assert [event.type for event in high_seen.wait_for(1)] == ["position_opened"]
    assert all_seen.wait_for(41)[:40] == lows
    assert lanes.low_stats().dropped == 24


def test_low_events_alone_arrive_too(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """They are gathered, not kept until something important comes."""
    seen = Seen()
    watched.add(seen, low=True)
    for count in (1, 2):
        lanes.put([], [_low(count)])
        seen.wait_for(count)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_a_hook_that_raises_is_logged_and_called_again(
    error: BaseException,
    lanes: Lanes[StreamEvent],
    watched: Observers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the others are called all the same."""
    seen = Seen()

    def fail(event: StreamEvent) -> None:
        raise error

    watched.add(fail, low=False)
    watched.add(seen, low=False)
    with caplog.at_level(logging.ERROR, "lasersell"):
        lanes.put([_high(1), _high(2)], [])
        seen.wait_for(2)
    assert [record.getMessage()[-20:] for record in caplog.records] == [
        "on a position_opened"
    ] * 2


def test_what_a_slow_hook_misses_is_counted(
    lanes: Lanes[StreamEvent], watched: Observers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest events are dropped; the producer never waits."""
    monkeypatch.setattr(observers, "CAPACITY", 10)
    slow = Observers(lanes)
    seen, go_on = Seen(), threading.Event()
    entered = threading.Event()

    def hook(event: StreamEvent) -> None:
        entered.set()
        assert go_on.wait(PATIENCE)
        seen(event)

    observation = slow.add(hook, low=False)
    lanes.put([_high(0)], [])
    assert entered.wait(PATIENCE)
    lanes.put([_high(number) for number in range(1, 31)], [])
    assert observation.dropped == 20
    go_on.set()
    ids = [getattr(event.message, "position_id", None) for event in seen.wait_for(11)]
    assert ids == [0, *range(21, 31)]


def test_the_thread_lives_while_somebody_watches(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """Without a hook nothing is copied, and there is no thread."""
    assert lanes.tap is None
    before = threading.active_count()
    with (
        watched.add(Seen(), low=False) as first,
        watched.add(Seen(), low=False) as second,
    ):
        assert threading.active_count() == before + 1
    assert not first.is_active
    assert not second.is_active
    assert threading.active_count() == before
    assert lanes.tap is None

    seen = Seen()
    watched.add(seen, low=False)
    lanes.put([_high()], [])
    assert seen.wait_for(1)


def test_a_stopped_hook_is_not_called_any_more(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """The others still are."""
    stopped, seen = Seen(), Seen()
    observation = watched.add(stopped, low=False)
    watched.add(seen, low=False)
    observation.stop()
    observation.stop()
    lanes.put([_high()], [])
    seen.wait_for(1)
    assert stopped.events == []


def test_a_hook_that_stops_sees_what_had_come(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """Low events too, which are gathered first; it is not the time-out that ends it."""
    started = SYSTEM_CLOCK.monotonic()
    for _ in range(20):
        seen = Seen()
        with watched.add(seen, low=True):
            lanes.put([_high()], [_low()])
            lanes.put([], [_low()])
        assert len(seen.events) == 3
    assert SYSTEM_CLOCK.monotonic() - started < 20 * observers.STOP_SEC / 2


def test_a_hook_that_stops_need_not_wait_for_silence(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """What comes after it asked to stop is not for it."""
    observation = watched.add(Seen(), low=True)
    silence = threading.Event()

    def talk() -> None:
        while not silence.is_set():
            lanes.put([], [_low()])

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        observation.stop()
        assert observation.has_stopped.is_set()
        assert not observation.is_active
    finally:
        silence.set()
        talker.join()


def test_a_hook_may_stop_itself(lanes: Lanes[StreamEvent], watched: Observers) -> None:
    """Without waiting for its own end."""
    done = threading.Event()

    def once(event: StreamEvent) -> None:
        observation.stop()
        done.set()

    observation = watched.add(once, low=False)
    lanes.put([_high()], [])
    assert done.wait(PATIENCE)


def test_what_came_before_the_end_is_shown(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """The thread ends with the lanes, after the last event."""
    seen = Seen()
    observation = watched.add(seen, low=True)
    lanes.put([_high(1)], [_low()])
    lanes.end(None)
    watched.join(PATIENCE)
    assert len(seen.events) == 2
    assert not observation.is_active
    assert lanes.tap is None


def test_join_does_not_wait_for_an_interrupted_call(
    lanes: Lanes[StreamEvent], watched: Observers
) -> None:
    """As of a signal handler that closes, in a thread that is adding a hook."""
    watched.add(Seen(), low=False)
    thread = watched._thread
    assert thread is not None
    with watched._mutex:
        lanes.end(None)
        started = SYSTEM_CLOCK.monotonic()
        watched.join(60.0)
        assert SYSTEM_CLOCK.monotonic() - started < PATIENCE
        assert thread.is_alive()
    watched.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("hook", [None, "a name", 1])
def test_a_hook_must_be_callable(
    hook: Callable[..., object], watched: Observers
) -> None:
    """It is refused where it is given, not where it is called."""
    with pytest.raises(ConfigurationError, match="must be callable"):
        watched.add(hook, low=False)
