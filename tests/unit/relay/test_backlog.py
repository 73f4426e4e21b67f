from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell._threads import start_thread
from lasersell.relay.backlog import (
    BATCH,
    HighBacklog,
    HighItem,
    LowBacklog,
    LowItem,
)
from tests.patience import PATIENCE


@pytest.fixture
def highs(tmp_path: Path) -> Iterator[HighBacklog]:
    """Return one with room for three events, and for some more on the disk."""
    highs = HighBacklog(3, 10_000, tmp_path)
    yield highs
    highs.discard()


@pytest.fixture
def lows() -> LowBacklog:
    """Return one with room for two events."""
    return LowBacklog(2)


def _high(number: int) -> HighItem:
    return HighItem(b"%d" % number, f"key {number}", b"record")


def _low(number: int, after: int = 0) -> LowItem:
    return LowItem(b"%d" % number, float(number), None, "epoch", after=after)


@contextlib.contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Have the system refuse to let a file grow over a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _take_all(highs: HighBacklog) -> list[HighItem]:
    items: list[HighItem] = []
    while taken := highs.take():
        items += taken
    return items


def _payloads(items: list[LowItem]) -> list[bytes]:
    return [item.payload for item in items]


# High events


def test_high_events_come_out_in_the_order_in_which_they_went_in(
    highs: HighBacklog,
) -> None:
    """Whatever their way: memory, or the disk, or first one and then the other."""
    for number in range(20):
        highs.put(_high(number))
    assert (highs.waiting, highs.spooled) == (20, 17)
    first = highs.take()
    for number in range(20, 30):
        highs.put(_high(number))
    assert first + _take_all(highs) == [_high(number) for number in range(30)]
    assert (highs.waiting, highs.spooled, highs.put_count) == (0, 0, 30)


def test_the_disk_is_used_again_from_its_start_once_it_is_empty(
    highs: HighBacklog, tmp_path: Path
) -> None:
    """A backlog that is drained now and then never comes to its bound."""
    for _ in range(20):
        for number in range(100):
            highs.put(_high(number))
        assert len(_take_all(highs)) == 100
    assert not highs.is_full
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_dropped_once_memory_and_disk_are_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that the stream is held back, and what came before that was seen waits."""
    highs = HighBacklog(1, 100, tmp_path)
    for number in range(10):
        highs.put(_high(number))
    was_full, taken = highs.is_full, _take_all(highs)
    assert (was_full, highs.is_full) == (True, False)
    assert taken == [_high(number) for number in range(10)]
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "held back" in errors[0]
    highs.discard()


def test_a_disk_that_fails_holds_back_and_loses_nothing(tmp_path: Path) -> None:
    """What did not go to the disk waits in memory, and there is room again after it."""
    highs = HighBacklog(1, 10_000, tmp_path / "is not there")
    highs.put(_high(0))
    highs.put(_high(1))
    was_full, taken = highs.is_full, _take_all(highs)
    highs.put(_high(2))
    assert (was_full, highs.is_full) == (True, False)
    assert taken == [_high(0), _high(1)]
    highs.discard()


def test_a_disk_that_is_full_holds_back_and_loses_nothing(tmp_path: Path) -> None:
    """What was on it is read, in order, and what found no room comes after it."""
    highs = HighBacklog(1, 1_000_000, tmp_path)
    items = [HighItem(b"%d" % number, "", bytes(1000)) for number in range(6)]
    with _files_of_at_most(2500):
        for item in items:
            highs.put(item)
        assert highs.is_full
        assert _take_all(highs) == items
    highs.discard()


def test_high_events_that_are_discarded_are_gone(highs: HighBacklog) -> None:
    """On the disk too; that they were there is still known."""
    for number in range(8):
        highs.put(_high(number))
    highs.discard()
    assert (highs.put_count, highs.waiting, highs.take()) == (8, 0, [])


# Low events


def test_a_low_event_wakes_who_writes(lows: LowBacklog) -> None:
    """With what was put together with it."""
    taken: list[LowItem] = []
    thread = start_thread("taker", lambda: taken.extend(lows.take(PATIENCE)))
    lows.put([_low(1), _low(2)])
    thread.join(PATIENCE)
    assert _payloads(taken) == [b"1", b"2"]


def test_a_low_event_waits_for_the_high_ones_before_it(lows: LowBacklog) -> None:
    """It is not taken before they are written; those that come later it may overtake."""
    lows.put([_low(1), _low(2, after=1)])
    assert _payloads(lows.take(0.1)) == [b"1"]
    assert lows.take(0.1) == []
    taken: list[LowItem] = []
    thread = start_thread("taker", lambda: taken.extend(lows.take(PATIENCE)))
    lows.note_written(1)
    thread.join(PATIENCE)
    assert _payloads(taken) == [b"2"]


def test_low_events_wait_for_nothing_once_it_is_closed(lows: LowBacklog) -> None:
    """What is there at the end is taken at once."""
    lows.put([_low(1, after=1)])
    lows.close()
    assert _payloads(lows.take(PATIENCE)) == [b"1"]
    assert lows.take(PATIENCE) == []


def test_the_oldest_low_events_are_dropped_and_counted(lows: LowBacklog) -> None:
    """Two have room here, whether they are put at once or one by one."""
    lows.put([_low(number) for number in range(3)])
    lows.put([_low(3)])
    lows.put([_low(4)])
    assert _payloads(lows.take(PATIENCE)) == [b"3", b"4"]
    assert lows.dropped == 3


def test_no_low_event_comes_in_time(lows: LowBacklog) -> None:
    """Nothing is taken, after the time that was said."""
    started = SYSTEM_CLOCK.monotonic()
    assert lows.take(0.05) == []
    assert SYSTEM_CLOCK.monotonic() - started >= 0.04


def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    """However much waits."""
    highs, lows = HighBacklog(10_000, 10_000, tmp_path), LowBacklog(10_000)
    lows.put([_low(number) for number in range(BATCH + 5)])
    for number in range(BATCH + 5):
        highs.put(_high(number))
    assert (len(highs.take()), len(highs.take())) == (BATCH, 5)
    assert (len(lows.take(PATIENCE)), len(lows.take(PATIENCE))) == (BATCH, 5)
