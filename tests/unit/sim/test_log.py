from __future__ import annotations

import threading

import pytest

from lasersell.sim.log import Log


def test_a_log_is_taken_in_order() -> None:
    """Each wait takes the oldest match that no wait took before."""
    log: Log[object] = Log()
    for item in (1, "a", 2):
        log.add(item)
    assert log.wait_for(int) == 1
    assert log.wait_for(int) == 2
    assert log.wait_for(str) == "a"


def test_a_condition_passes_over_what_does_not_meet_it() -> None:
    """What a condition skips is left for others."""
    log: Log[int] = Log()
    log.add(1)
    log.add(2)
    assert log.wait_for(int, where=lambda item: item > 1) == 2
    assert log.wait_for(int) == 1


def test_a_wait_ends_when_the_item_comes() -> None:
    """A thread that waits is woken by the item it waits for."""
    log: Log[object] = Log()
    taken: list[int] = []
    waiter = threading.Thread(target=lambda: taken.append(log.wait_for(int)))
    waiter.start()
    log.add("something else")
    log.add(3)
    waiter.join(5)
    assert taken == [3]


def test_a_wait_in_vain_says_what_came_instead() -> None:
    """The error names what was waited for and what is there."""
    log: Log[object] = Log()
    log.add("a")
    with pytest.raises(TimeoutError, match=r"no int came within 0 s.*: str"):
        log.wait_for(int, timeout=0)


def test_everything_stays_readable() -> None:
    """What was taken can still be listed, with the session it belongs to."""
    log: Log[object] = Log()
    log.add(1, 7)
    log.add("a", 8)
    log.wait_for(int)
    assert log.of(object) == [1, "a"]
    assert log.of(str) == ["a"]
    assert [entry.session_id for entry in log.entries()] == [7, 8]


def test_the_oldest_entries_go_first() -> None:
    """A log that is never read does not grow for ever."""
    log: Log[int] = Log()
    for number in range(20_000):
        log.add(number)
    kept = log.of(int)
    assert len(kept) == 16_384
    assert kept[-1] == 19_999
