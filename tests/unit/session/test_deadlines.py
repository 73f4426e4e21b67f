from __future__ import annotations

import logging
import queue
import threading

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.session.deadlines import (
    HEAP_SLACK,
    LONGEST_WAIT,
    DeadlineScheduler,
    start_timer,
)
from lasersell.session.positions import PositionHandle
from tests.clock import FakeClock
from tests.patience import PATIENCE
from tests.unit.session.frames import opened
from tests.unit.session.timers import FakeTimers


class Bench:
    """A scheduler on a fake clock, and what it did."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.timers = FakeTimers(clock)
        self.fired: list[tuple[float, str]] = []
        self.calls: list[int] = []
        self.pokes = 0
        self.scheduler = DeadlineScheduler(
            self._on_due, clock, self._poke, self.timers.start
        )
        self._handles: dict[str, PositionHandle] = {}

    def _on_due(self, handles: list[PositionHandle]) -> None:
        self.calls.append(len(handles))
        now = self.clock.monotonic()
        self.fired += [(now, handle.token_account) for handle in handles]

    def _poke(self) -> None:
        self.pokes += 1

    def handle(self, account: str) -> PositionHandle:
        """Return the position on an account."""
        if account not in self._handles:
            self._handles[account] = PositionHandle(opened(account=account), 0.0)
        return self._handles[account]

    def arm(self, account: str, at: float) -> None:
        """Set the deadline of a position."""
        self.scheduler.arm(self.handle(account), at)

    def disarm(self, account: str) -> None:
        """Forget the deadline of a position."""
        self.scheduler.disarm(self.handle(account))


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    """Return a scheduler with nothing armed."""
    return Bench(clock)


def test_a_deadline_fires_once_and_on_time(bench: Bench) -> None:
    """Not before, and never again."""
    bench.arm("A", 10.0)
    bench.timers.advance(9.99)
    assert bench.fired == []
    bench.timers.advance(1000.0)
    assert bench.fired == [(10.0, "A")]


def test_deadlines_fire_in_their_order_not_in_that_of_arming(bench: Bench) -> None:
    """The heap decides; the same moment keeps the order of arming."""
    for account, at in (("late", 30.0), ("early", 10.0), ("x", 20.0), ("y", 20.0)):
        bench.arm(account, at)
    bench.timers.advance(100.0)
    assert bench.fired == [(10.0, "early"), (20.0, "x"), (20.0, "y"), (30.0, "late")]


def test_there_is_one_timer(bench: Bench) -> None:
    """However many deadlines there are, in whatever order they were armed."""
    for number in range(100):
        bench.arm(f"A{number}", 100.0 - number)
        assert len(bench.timers.waiting) == 1
    bench.timers.advance(50.0)
    assert len(bench.timers.waiting) == 1
    bench.timers.advance(100.0)
    assert bench.timers.waiting == []
    assert len(bench.fired) == 100


def test_later_deadlines_start_no_timer(bench: Bench) -> None:
    """The one that waits for the earliest is enough."""
    for number in range(100):
        bench.arm(f"A{number}", 10.0 + number)
    assert len(bench.timers.started) == 1


def test_what_falls_together_is_handed_on_together(bench: Bench) -> None:
    """One call, not one per position."""
    for number in range(50):
        bench.arm(f"A{number}", 10.0)
    bench.timers.advance(10.0)
    assert bench.calls == [50]


def test_a_deadline_can_be_moved(bench: Bench) -> None:
    """Back and forth; only the last word counts."""
    bench.arm("A", 10.0)
    bench.arm("A", 30.0)
    bench.arm("B", 30.0)
    bench.arm("B", 5.0)
    assert bench.scheduler.due_at(bench.handle("A")) == 30.0
    bench.timers.advance(100.0)
    assert bench.fired == [(5.0, "B"), (30.0, "A")]


def test_a_deadline_can_be_forgotten(bench: Bench) -> None:
    """And forgetting what was never there does no harm."""
    bench.arm("A", 10.0)
    bench.arm("B", 10.0)
    bench.disarm("A")
    bench.disarm("C")
    assert bench.scheduler.due_at(bench.handle("A")) is None
    bench.timers.advance(100.0)
    assert bench.fired == [(10.0, "B")]


def test_a_deadline_can_be_armed_again_after_it_fired(bench: Bench) -> None:
    """As when the time-out is changed."""
    bench.arm("A", 10.0)
    bench.timers.advance(10.0)
    bench.arm("A", 20.0)
    bench.timers.advance(100.0)
    assert bench.fired == [(10.0, "A"), (20.0, "A")]


def test_a_deadline_in_the_past_fires_at_once(bench: Bench) -> None:
    """Without a negative delay."""
    bench.timers.advance(50.0)
    bench.arm("A", 10.0)
    bench.timers.advance(0.0)
    assert bench.fired == [(50.0, "A")]


def test_a_timer_that_wakes_for_nothing_arms_the_next(bench: Bench) -> None:
    """Forgetting the earliest leaves its timer, which must not be the last one."""
    bench.arm("A", 10.0)
    bench.arm("B", 20.0)
    bench.disarm("A")
    bench.timers.advance(15.0)
    assert bench.fired == []
    bench.timers.advance(15.0)
    assert bench.fired == [(20.0, "B")]


def test_all_deadlines_can_be_set_in_one_step(bench: Bench) -> None:
    """What is not named has none any more, and one timer serves the rest."""
    for account in "ABC":
        bench.arm(account, 10.0)
    bench.scheduler.replace([(bench.handle("B"), 5.0), (bench.handle("D"), 40.0)])
    assert len(bench.timers.waiting) == 1
    bench.timers.advance(100.0)
    assert bench.fired == [(5.0, "B"), (40.0, "D")]


def test_all_deadlines_can_be_turned_off(bench: Bench) -> None:
    """By setting none."""
    bench.arm("A", 10.0)
    bench.scheduler.replace([])
    bench.timers.advance(100.0)
    assert bench.fired == []


def test_a_wait_of_years_is_cut_into_days(bench: Bench) -> None:
    """Some platforms overflow; the deadline still fires when it is due."""
    bench.arm("A", 3.5 * LONGEST_WAIT)
    assert bench.timers.next_due() == LONGEST_WAIT
    bench.timers.advance(3.4 * LONGEST_WAIT)
    assert bench.fired == []
    bench.timers.advance(LONGEST_WAIT)
    assert bench.fired == [(3.5 * LONGEST_WAIT, "A")]


def test_forgotten_deadlines_do_not_add_up(bench: Bench) -> None:
    """Positions that closed long before their deadline leave nothing behind."""
    for number in range(5000):
        bench.arm(f"A{number}", 86_000.0)
        bench.disarm(f"A{number}")
    assert len(bench.scheduler._heap) <= HEAP_SLACK + 2
    bench.arm("B", 10.0)
    bench.timers.advance(10.0)
    assert bench.fired == [(10.0, "B")]


def test_moving_one_deadline_over_and_over_takes_no_room(bench: Bench) -> None:
    """Each reconnect may set it anew."""
    for _ in range(1000):
        bench.arm("A", 10.0)
    assert len(bench.scheduler._heap) <= HEAP_SLACK + 3
    bench.timers.advance(10.0)
    assert bench.fired == [(10.0, "A")]


# Without a thread


def test_where_no_timer_starts_the_supervisor_serves(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is woken, told when, and what is due fires in its thread; said once."""
    bench.timers.can_start = False
    with caplog.at_level(logging.WARNING):
        bench.arm("A", 10.0)
        bench.arm("B", 20.0)
    assert bench.pokes == 2
    assert bench.scheduler.next_due() == 10.0
    assert len(caplog.records) == 1
    bench.clock.advance(10.0)
    bench.scheduler.run_due()
    assert bench.fired == [(10.0, "A")]
    assert bench.scheduler.next_due() == 20.0


def test_a_timer_that_cannot_be_moved_is_no_timer(bench: Bench) -> None:
    """An earlier deadline calls the old timer off before it finds that it gets no new one."""
    bench.arm("A", 20.0)
    bench.timers.can_start = False
    bench.arm("B", 10.0)
    assert bench.scheduler.next_due() == 10.0
    bench.clock.advance(10.0)
    bench.scheduler.run_due()
    bench.clock.advance(10.0)
    bench.scheduler.run_due()
    assert bench.fired == [(10.0, "B"), (20.0, "A")]


def test_a_timer_takes_over_again_when_it_can(bench: Bench) -> None:
    """The process was at its limit for a moment only."""
    bench.timers.can_start = False
    bench.arm("A", 10.0)
    bench.timers.can_start = True
    bench.arm("B", 5.0)
    assert bench.scheduler.next_due() is None
    bench.timers.advance(100.0)
    assert bench.fired == [(5.0, "B"), (10.0, "A")]


def test_the_supervisor_need_not_look_while_a_timer_waits(bench: Bench) -> None:
    """It would wake for nothing."""
    bench.arm("A", 10.0)
    assert bench.scheduler.next_due() is None


# The end


def test_nothing_fires_after_the_stop(bench: Bench) -> None:
    """Neither what was armed nor what is armed later."""
    bench.arm("A", 10.0)
    bench.scheduler.stop()
    bench.arm("B", 11.0)
    bench.scheduler.replace([(bench.handle("C"), 12.0)])
    bench.timers.advance(100.0)
    bench.scheduler.run_due()
    assert bench.fired == []
    assert bench.timers.waiting == []
    assert bench.scheduler.next_due() is None


def test_a_real_timer_fires_in_a_named_daemon_thread() -> None:
    """It keeps no program alive, and can be told apart in a dump."""
    seen: queue.Queue[threading.Thread] = queue.Queue()
    scheduler = DeadlineScheduler(
        lambda _: seen.put(threading.current_thread()), SYSTEM_CLOCK, lambda: None
    )
    scheduler.arm(PositionHandle(opened(), 0.0), SYSTEM_CLOCK.monotonic() + 0.01)
    thread = seen.get(timeout=PATIENCE)
    assert thread.name == "lasersell-deadlines"
    assert thread.daemon
    scheduler.stop()


def test_the_stop_ends_the_timers_thread() -> None:
    """At once, however far its deadline is."""
    scheduler = DeadlineScheduler(lambda _: None, SYSTEM_CLOCK, lambda: None)
    scheduler.arm(PositionHandle(opened(), 0.0), SYSTEM_CLOCK.monotonic() + 3600.0)
    (timer,) = [t for t in threading.enumerate() if t.name == "lasersell-deadlines"]
    scheduler.stop()
    assert not timer.is_alive()


def test_a_mistake_of_ours_is_logged(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A Timer's thread would end unseen, and with it all later deadlines."""

    def fail(_: list[PositionHandle]) -> None:
        raise ZeroDivisionError

    timers = FakeTimers(clock)
    scheduler = DeadlineScheduler(fail, clock, lambda: None, timers.start)
    scheduler.arm(PositionHandle(opened(), 0.0), 10.0)
    scheduler.arm(PositionHandle(opened(), 0.0), 20.0)
    timers.advance(10.0)
    assert "please report it" in caplog.text
    assert timers.next_due() == 20.0


def test_a_timer_is_cancelled_by_its_own_means() -> None:
    """What starts timers by default is ``threading.Timer``."""
    fired = threading.Event()
    timer = start_timer(3600.0, fired.set)
    timer.cancel()
    timer.join(PATIENCE)
    assert not fired.is_set()


# At scale


@pytest.mark.parametrize(
    "in_one_step", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_ten_thousand_deadlines_need_one_thread(in_one_step: bool) -> None:
    """Each fires once, and on a busy machine too most of them within ten times 20 ms."""
    late: queue.Queue[float] = queue.Queue()
    seen: list[PositionHandle] = []
    most_timers = 0
    everything = threading.Event()
    due: dict[PositionHandle, float] = {}

    def on_due(handles: list[PositionHandle]) -> None:
        nonlocal most_timers
        now = SYSTEM_CLOCK.monotonic()
        seen.extend(handles)
        for handle in handles:
            late.put(now - due[handle])
        names = [thread.name for thread in threading.enumerate()]
        most_timers = max(most_timers, names.count("lasersell-deadlines"))
        if len(seen) >= len(due):
            everything.set()

    scheduler = DeadlineScheduler(on_due, SYSTEM_CLOCK, lambda: None)
    handles = [PositionHandle(opened(n, f"A{n}"), 0.0) for n in range(10_000)]
    start = SYSTEM_CLOCK.monotonic() + 1.0
    due.update((handle, start + n / 10_000) for n, handle in enumerate(handles))
    if in_one_step:
        scheduler.replace(due.items())
    else:
        for handle, at in due.items():
            scheduler.arm(handle, at)
    assert everything.wait(20.0)
    scheduler.stop()
    assert len(seen) == len(set(seen)) == 10_000
    # The one that fires, the one that it has just started for the next, and on a busy
    # machine some that were cancelled and have not had the time to end.
    assert most_timers <= 20
    lateness = [late.get_nowait() for _ in range(10_000)]
    assert min(lateness) >= 0
    # They are due over a second: all at its end would be half a second late.
    assert sorted(lateness)[5_000] < 0.45
