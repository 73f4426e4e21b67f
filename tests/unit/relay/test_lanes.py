from __future__ import annotations

import pytest

from lasersell.errors import ConcurrencyError
from lasersell.relay.events import RelayEvent
from lasersell.relay.lanes import RelayLanes
from lasersell.session.events import Arrival, StreamEvent
from lasersell.stream.lifecycle import Fresh


def _event(entry: bytes = b"") -> RelayEvent:
    return RelayEvent(Fresh(), None, Arrival(0.0, None), entry=entry)


def test_an_event_is_dealt_with_when_the_next_one_is_asked_for() -> None:
    """Also when there is none yet, and once only."""
    done: list[StreamEvent] = []
    lanes = RelayLanes(10, 10, done.append)
    receiver = lanes.receiver()
    first, second = _event(b"1-0"), _event(b"2-0")
    lanes.put([first, second], [])
    assert receiver.get(0) is first
    assert done == []
    assert receiver.find(lambda _: True, 0, what="event") is second
    assert done == [first]
    for _ in range(2):
        with pytest.raises(TimeoutError):
            receiver.get(0)
    assert done == [first, second]


def test_an_event_is_not_dealt_with_because_another_thread_asks() -> None:
    """A thread that is refused says nothing of what the consumer has in its hands."""
    done: list[StreamEvent] = []
    lanes = RelayLanes(10, 10, done.append)
    receiver = lanes.receiver()
    event = _event(b"1-0")
    lanes.put([event], [])
    assert receiver.get(0) is event
    receiver._owner = -1  # as if another one were inside
    with pytest.raises(ConcurrencyError):
        receiver.get(0)
    assert done == []


def test_an_event_whose_end_could_not_be_told_comes_again() -> None:
    """A consumer that is interrupted between two events loses neither."""
    told: list[StreamEvent] = []

    def tell(event: StreamEvent) -> None:
        told.append(event)
        if len(told) == 1:
            raise KeyboardInterrupt

    lanes = RelayLanes(10, 10, tell)
    receiver = lanes.receiver()
    first, second = _event(b"1-0"), _event(b"2-0")
    lanes.put([first, second], [])
    assert receiver.get(0) is first
    with pytest.raises(KeyboardInterrupt):
        receiver.get(0)
    assert receiver.get(0) is first
    assert receiver.get(0) is second
    assert told == [first, first]
