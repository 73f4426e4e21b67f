from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lasersell._clock import Deadline
from lasersell.relay import RelayEvent, RelaySession
from lasersell.relay.keys import Keys
from lasersell.session.events import StreamEvent
from tests.integration.relay.bench import Bench, until, wait_for
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

SIGNAL = "exit_signal_with_tx"
HIGH = Keys("default").high

Got = queue.SimpleQueue[tuple[int, Any]]


@contextlib.contextmanager
def _workers(
    bench: Bench, count: int, handler: Callable[[Any], object] = lambda _: None
) -> Iterator[tuple[list[RelaySession], Got]]:
    """Run workers whose callbacks put the signals into one queue, with their number."""
    got: Got = queue.SimpleQueue()

    def listen(session: RelaySession, number: int) -> None:
        def take(event: Any) -> None:
            got.put((number, event))
            handler(event)

        session.on(SIGNAL, take)
        session.start()

    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(bench.session(group="g")) for _ in range(count)]
        for number, session in enumerate(sessions):
            listen(session, number)
        yield sessions, got


def _pending(bench: Bench, group: str = "g") -> int:
    with bench.redis.client() as client:
        return int(client.xpending(HIGH, group)["pending"])


def _until_nothing_is_pending(bench: Bench) -> None:
    deadline, tick = Deadline(PATIENCE), threading.Event()
    while _pending(bench):
        assert not deadline.has_passed(), "something is never acknowledged"
        tick.wait(0.05)


def test_each_signal_of_a_group_goes_to_one_worker(bench: Bench) -> None:
    """Twelve exits, three workers: each is handed out once, and nobody gets them all."""
    with _workers(bench, 3) as (_, got), bench.relay():
        holdings = [bench.buy() for _ in range(12)]
        for holding in holdings:
            bench.trigger(holding)
        found = [got.get(timeout=PATIENCE) for _ in range(12)]
        assert len({event.id for _, event in found}) == 12
        assert len({number for number, _ in found}) > 1
        _until_nothing_is_pending(bench)
        assert got.empty()


def test_a_signal_is_acknowledged_when_the_next_event_is_asked_for(
    bench: Bench,
) -> None:
    """While the handler has it, it is pending in Redis; afterwards it is not."""
    with bench.session(group="g") as worker, bench.relay():
        bench.trigger(bench.buy())
        wait_for(worker, SIGNAL)
        assert _pending(bench) >= 1
        until(worker, lambda: _pending(bench) == 0)


def test_a_signal_comes_after_the_events_that_came_before_it(bench: Bench) -> None:
    """A worker knows the position of a signal before it gets the signal."""
    with bench.session(group="g") as worker, bench.relay():
        for _ in range(5):
            holding = bench.buy()
            bench.trigger(holding)
            opened = wait_for(worker, "position_opened")
            signal = wait_for(worker, SIGNAL)
            assert signal.handle is opened.handle


def test_the_handle_of_a_signal_knows_of_it(bench: Bench) -> None:
    """Whichever of its threads a worker got the signal's record in first."""
    with bench.session(group="g") as worker, bench.relay():
        holdings = [bench.buy() for _ in range(10)]
        for holding in holdings:
            bench.trigger(holding)
            event = wait_for(worker, SIGNAL)
            assert event.handle.token_account == holding.token_account
            assert event.handle.exit_attempts == {None: 1}
            assert worker.position_by_token_account(holding.token_account) is (
                event.handle
            )


def test_a_signal_overtakes_nothing_that_waits_for_room(bench: Bench) -> None:
    """Though it is handed out by another way than the events before it."""
    with bench.signal_behind_others() as (_, worker, _):
        types: list[str] = []
        while SIGNAL not in types:
            event = worker.recv(timeout=PATIENCE)
            assert event is not None
            types.append(event.type)
        assert types.count("position_opened") == 8


def test_a_signal_that_was_not_dealt_with_goes_to_another_worker(bench: Bench) -> None:
    """A worker that ends with a signal in its hands leaves it to the others."""
    with bench.relay():
        with bench.session(group="g") as quitter:
            bench.trigger(bench.buy())
            first = wait_for(quitter, SIGNAL)
            assert first.deliveries == 1
        with bench.session(group="g") as heir:
            again = wait_for(heir, SIGNAL)
            assert (again.id, again.deliveries) == (first.id, 2)
            assert again.handle in heir.positions()


def test_a_signal_whose_callback_raised_comes_again(bench: Bench) -> None:
    """It was not handled; the next try is acknowledged."""
    tries: list[int] = []

    def fail_once(event: Any) -> None:
        tries.append(event.deliveries)
        if len(tries) == 1:
            raise ValueError("not this time")

    with bench.relay(), bench.session(group="g", retry_after=0.2) as worker:
        done = queue.SimpleQueue[Any]()
        worker.on(SIGNAL, fail_once)
        worker.on(SIGNAL, lambda event: done.put(event) if len(tries) > 1 else None)
        worker.start()
        bench.trigger(bench.buy())
        event = done.get(timeout=PATIENCE)
        assert tries == [1, event.deliveries]
        assert event.deliveries >= 2
        _until_nothing_is_pending(bench)


def test_a_signal_is_never_given_up_unless_told_so(bench: Bench) -> None:
    """However often a callback fails, the signal comes again until one does not."""
    failures = 8
    tries: list[int] = []
    done = threading.Event()

    def fail_often(event: StreamEvent) -> None:
        assert isinstance(event, RelayEvent)
        tries.append(event.deliveries)
        if len(tries) <= failures:
            raise ValueError("not yet")
        done.set()

    with bench.relay(), bench.session(group="g", retry_after=0.05) as worker:
        worker.on(SIGNAL, fail_often)
        worker.start()
        bench.trigger(bench.buy())
        assert done.wait(PATIENCE)
    assert tries == list(range(1, failures + 2))


def test_a_signal_that_nobody_can_deal_with_is_given_up(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """After so many tries it is acknowledged, with an error that names it."""

    def fail(_: Any) -> None:
        raise ValueError("never")

    with (
        bench.relay(),
        bench.session(group="g", retry_after=0.1, max_deliveries=2) as worker,
    ):
        worker.on(SIGNAL, fail)
        worker.start()
        holding = bench.buy()
        bench.trigger(holding)
        deadline, tick = Deadline(PATIENCE), threading.Event()
        while "it is given up" not in caplog.text:
            assert not deadline.has_passed()
            tick.wait(0.05)
        _until_nothing_is_pending(bench)


def test_the_signals_of_an_account_go_to_the_worker_that_had_the_first(
    bench: Bench,
) -> None:
    """A replacement meets whoever has the sale under way, while that one lives."""
    with _workers(bench, 3) as (sessions, got), bench.relay():
        bench.buy()
        deadline, tick = Deadline(PATIENCE), threading.Event()
        while not all(session.positions() for session in sessions):
            assert not deadline.has_passed()
            tick.wait(0.02)
        (position,) = sessions[0].positions()
        owners, attempts = set(), []
        for _ in range(6):
            sessions[0].request_exit_signal(position.token_account)
            number, event = got.get(timeout=PATIENCE)
            owners.add(number)
            attempts.append(event.exit_attempt)
        assert len(owners) == 1
        assert attempts == [1, 2, 3, 4, 5, 6]


def test_a_signal_that_is_passed_on_to_its_owner_counts_once(bench: Bench) -> None:
    """It was handed to no consumer before, so it is neither a repetition nor given up."""
    with bench.relay(), bench.session(group="g", max_deliveries=1) as owner:
        bench.trigger(bench.buy())
        first = wait_for(owner, SIGNAL)
        with bench.session(group="g", max_deliveries=1) as other:
            owner.request_exit_signal(first.handle)
            # The owner, which has the first in hand, reads none.
            bench.sim.wait_until(lambda: _pending(bench) == 2, PATIENCE)
            second = wait_for(owner, SIGNAL)
            assert (second.exit_attempt, second.deliveries) == (2, 1)
            assert other.stats().given_up == 0


def test_two_groups_both_get_each_signal(bench: Bench) -> None:
    """Groups know nothing of each other."""
    with (
        bench.session(group="a") as one,
        bench.session(group="b") as two,
        bench.relay(),
    ):
        bench.trigger(bench.buy())
        assert wait_for(one, SIGNAL).id == wait_for(two, SIGNAL).id


def test_a_worker_that_hangs_loses_its_signal_and_its_account(bench: Bench) -> None:
    """A living worker that does not deal with a signal in time is passed over."""
    has_it, release = threading.Event(), threading.Event()

    def hang(_: StreamEvent) -> None:
        has_it.set()
        release.wait(PATIENCE)

    with (
        bench.session(group="g", handler_timeout=0.5) as stuck,
        bench.relay(),
    ):
        stuck.on(SIGNAL, hang)
        stuck.start()
        bench.trigger(bench.buy())
        assert has_it.wait(PATIENCE)
        try:
            with bench.session(group="g", handler_timeout=0.5) as other:
                first = wait_for(other, SIGNAL)
                assert first.deliveries == 2
                other.request_exit_signal(first.handle)
                second = wait_for(other, SIGNAL)
                assert second.exit_attempt == 2
        finally:
            release.set()
