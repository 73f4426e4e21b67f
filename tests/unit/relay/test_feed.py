from __future__ import annotations

import pytest

from lasersell.relay.feed import Feed
from lasersell.relay.keys import Keys
from lasersell.relay.lanes import RelayLanes
from lasersell.relay.link import RedisLink
from lasersell.relay.replica import Replica


@pytest.fixture
def feed() -> Feed:
    """Return one that has handed over all up to event 5 of leader 1, in the entry 100-0."""
    feed = Feed(
        RedisLink("redis://localhost"),
        Keys("default"),
        RelayLanes(10, 10, lambda _: None),
        Replica(),
        stale_after=1.0,
        with_signals=False,
    )
    feed._pass(b"100-0", (1, 5))
    return feed


@pytest.mark.parametrize(
    ("place", "entry", "is_after_all"),
    [
        # The next one, though the feed has not read it: all before it was handed over.
        ((1, 6), b"101-0", True),
        # One is missing in between.
        ((1, 7), b"102-0", False),
        # Redis has forgotten some, and the next leader's were numbered like them.
        ((2, 6), b"102-0", False),
        # The feed is past it already, and so it is where numbers began anew.
        ((1, 4), b"99-0", True),
        ((2, 9), b"100-0", True),
    ],
)
def test_a_signal_waits_for_what_came_before_it(
    feed: Feed, place: tuple[int, int], entry: bytes, is_after_all: bool
) -> None:
    """And for nothing else."""
    assert feed.wait_for_those_before(place, entry, 0.0) == is_after_all
