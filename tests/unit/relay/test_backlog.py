from __future__ import annotations

import contextlib
import logging
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell._threads import start_thread
from lasersell.relay.backlog import BATCH, LINGER_SEC, Backlog, HighItem, LowItem
from tests.patience import PATIENCE


@pytest.fixture
def backlog(tmp_path: Path) -> Iterator[Backlog]:
    """Return one with room for three events, and for some more on the disk."""
    backlog = Backlog(3, 10_000, 2, tmp_path)
    yield backlog
    backlog.discard()


def _high(number: int) -> HighItem:
    return HighItem(b"%d" % number, f"key {number}", b"record")


def _low(number: int) -> LowItem:
    return LowItem(b"%d" % number, float(number), None, "epoch")


def _put_all(backlog: Backlog, items: list[HighItem]) -> None:
    for item in items:
        backlog.put_high(item)


@contextlib.contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Have the system refuse to let a file grow over a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _take_all(backlog: Backlog) -> list[HighItem]:
    items: list[HighItem] = []
    while highs := backlog.take_highs(0.0):
        items += highs
    return items


def test_events_come_out_in_the_order_in_which_they_went_in(backlog: Backlog) -> None:
    """Whatever their way: memory, or the disk, or first one and then the other."""
    for number in range(20):
        assert backlog.put_high(_high(number))
    assert backlog.spooled == 17
    first = backlog.take_highs(0.0)
    for number in range(20, 30):
        backlog.put_high(_high(number))
    assert first + _take_all(backlog) == [_high(number) for number in range(30)]
    assert (backlog.waiting, backlog.spooled) == (0, 0)


def test_the_disk_is_used_again_from_its_start_once_it_is_empty(
    backlog: Backlog, tmp_path: Path
) -> None:
    """A backlog that is drained now and then never comes to its bound."""
    for _ in range(20):
        for number in range(100):
            backlog.put_high(_high(number))
        assert len(_take_all(backlog)) == 100
    assert list(tmp_path.iterdir()) == []


def test_who_puts_waits_once_memory_and_disk_are_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is dropped, and one line says that the stream is held back."""
    backlog = Backlog(1, 100, 1, tmp_path)
    done = threading.Event()

    def put() -> None:
        for number in range(10):
            backlog.put_high(_high(number))
        done.set()

    thread = start_thread("putter", put)
    assert not done.wait(0.2)
    assert backlog.is_full
    taken: list[HighItem] = []
    while len(taken) < 10:
        taken += backlog.take_highs(PATIENCE)
    thread.join(PATIENCE)
    assert taken == [_high(number) for number in range(10)]
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert errors
    assert "held back" in errors[0].getMessage()
    backlog.discard()


def test_who_waits_for_room_is_let_go_by_the_end(tmp_path: Path) -> None:
    """close() returns False from a put that could not be done."""
    backlog = Backlog(1, 1, 1, tmp_path)
    backlog.put_high(_high(0))
    answers: list[bool] = []
    thread = start_thread("putter", lambda: answers.append(backlog.put_high(_high(1))))
    backlog.close()
    thread.join(PATIENCE)
    assert answers == [False]
    assert backlog.take_highs(0.0) == [_high(0)]
    assert backlog.discard() == 0


def test_a_disk_that_fails_holds_back_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is told, and what did not go to the disk waits."""
    backlog = Backlog(1, 10_000, 1, tmp_path / "is not there")
    backlog.put_high(_high(0))
    thread = start_thread("putter", lambda: _put_all(backlog, [_high(1)]))
    taken: list[HighItem] = []
    while len(taken) < 2:
        taken += backlog.take_highs(PATIENCE)
    thread.join(PATIENCE)
    assert taken == [_high(0), _high(1)]
    backlog.discard()


def test_low_events_that_come_within_a_moment_are_taken_together(
    backlog: Backlog,
) -> None:
    """The first one waits for others to share a write with."""
    started = SYSTEM_CLOCK.monotonic()
    backlog.put_low(_low(1))
    backlog.put_low(_low(2))
    taken = backlog.take_lows(PATIENCE)
    assert SYSTEM_CLOCK.monotonic() - started >= 0.9 * LINGER_SEC
    assert [item.payload for item in taken] == [b"1", b"2"]


def test_a_high_event_does_not_wait_for_low_ones(backlog: Backlog) -> None:
    """Whoever writes low events at the moment: high ones are taken by somebody else."""
    backlog.put_low(_low(1))
    backlog.put_high(_high(1))
    assert backlog.take_lows(0.0)
    assert backlog.take_highs(0.0) == [_high(1)]


def test_a_low_event_waits_for_the_high_ones_before_it(backlog: Backlog) -> None:
    """It is not taken before they are written; those that come later it may overtake."""
    backlog.put_low(_low(1))
    backlog.put_high(_high(1))
    backlog.put_low(_low(2))
    backlog.put_high(_high(2))
    assert [item.payload for item in backlog.take_lows(0.1)] == [b"1"]
    assert backlog.take_highs(0.0) == [_high(1), _high(2)]
    assert backlog.take_lows(0.1) == []
    taken: list[LowItem] = []
    thread = start_thread("taker", lambda: taken.extend(backlog.take_lows(PATIENCE)))
    backlog.note_written(1)
    thread.join(PATIENCE)
    assert [item.payload for item in taken] == [b"2"]


def test_low_events_wait_for_nothing_once_it_is_closed(backlog: Backlog) -> None:
    """What is there at the end is taken at once."""
    backlog.put_high(_high(1))
    backlog.put_low(_low(1))
    backlog.close()
    assert [item.payload for item in backlog.take_lows(PATIENCE)] == [b"1"]
    assert backlog.take_lows(PATIENCE) == []


def test_the_oldest_low_events_are_dropped_and_counted(backlog: Backlog) -> None:
    """Two have room here."""
    for number in range(5):
        backlog.put_low(_low(number))
    lows = backlog.take_lows(PATIENCE)
    assert [item.payload for item in lows] == [b"3", b"4"]
    assert backlog.low_dropped == 3


def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    """However much waits."""
    backlog = Backlog(10_000, 1, 10_000, tmp_path)
    for number in range(BATCH + 5):
        backlog.put_low(_low(number))
    for number in range(BATCH + 5):
        backlog.put_high(_high(number))
    assert len(backlog.take_highs(PATIENCE)) == BATCH
    assert len(backlog.take_lows(PATIENCE)) == BATCH
    backlog.close()
    assert len(backlog.take_highs(PATIENCE)) == 5
    assert len(backlog.take_lows(PATIENCE)) == 5


def test_nothing_comes_in_time(backlog: Backlog) -> None:
    """Nothing is taken, after the time that was said."""
    started = SYSTEM_CLOCK.monotonic()
    assert not backlog.take_highs(0.05)
    assert not backlog.take_lows(0.05)
    assert SYSTEM_CLOCK.monotonic() - started >= 0.08


def test_what_is_discarded_is_counted(backlog: Backlog) -> None:
    """On the disk too."""
    for number in range(8):
        backlog.put_high(_high(number))
    assert backlog.discard() == 8
    assert not backlog.put_high(_high(9))


def test_a_disk_that_is_full_holds_back_and_loses_nothing(tmp_path: Path) -> None:
    """What was on it is read, in order, and what found no room waits."""
    backlog = Backlog(1, 1_000_000, 1, tmp_path)
    items = [HighItem(b"%d" % number, "", bytes(1000)) for number in range(6)]
    taken: list[HighItem] = []
    with _files_of_at_most(2500):
        for item in items[:3]:
            assert backlog.put_high(item)
        thread = start_thread("putter", lambda: _put_all(backlog, items[3:]))
        while len(taken) < len(items):
            taken += backlog.take_highs(PATIENCE)
        thread.join(PATIENCE)
    assert taken == items
    backlog.discard()
