from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from lasersell.errors import ConcurrencyError, StreamLostError
from lasersell.session.callbacks import CallbackRegistry
from lasersell.session.dispatch import Dispatcher
from lasersell.session.events import Arrival, StreamEvent
from lasersell.stream.lanes import Lanes, Receiver
from tests.patience import PATIENCE
from tests.unit.session.frames import opened


class Bench:
    """A dispatcher, and the lanes that feed it."""

    def __init__(self) -> None:
        self.lanes: Lanes[StreamEvent] = Lanes(16, 16)
        self.receiver: Receiver[StreamEvent] = self.lanes.receiver()
        self.callbacks = CallbackRegistry()
        self.dispatcher = Dispatcher(self.receiver, self.callbacks)

    def put(self, number: int = 1) -> None:
        """Have an event come."""
        self.lanes.put([StreamEvent(opened(number), None, Arrival(0.0, None))], [])


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a dispatcher that nobody runs yet, and end it afterwards."""
    bench = Bench()
    yield bench
    bench.lanes.end(None)
    bench.dispatcher.join(PATIENCE)


def test_run_dispatches_until_the_end(bench: Bench) -> None:
    """In the calling thread, everything that had come, in order."""
    seen: list[tuple[int, object]] = []
    bench.callbacks.on(
        "*", lambda event: seen.append((threading.get_ident(), event.message))
    )
    bench.put(1)
    bench.put(2)
    bench.lanes.end(None)
    bench.dispatcher.run()
    me = threading.get_ident()
    assert seen == [(me, opened(1)), (me, opened(2))]
    assert not bench.dispatcher.is_dispatching


def test_run_raises_what_ended_the_stream(bench: Bench) -> None:
    """After the last event."""
    error = StreamLostError("gone")
    bench.put()
    bench.lanes.end(error)
    with pytest.raises(StreamLostError, match="gone"):
        bench.dispatcher.run()
    assert not bench.dispatcher.is_dispatching


def test_start_dispatches_in_a_named_daemon_thread(bench: Bench) -> None:
    """It returns at once."""
    threads: list[threading.Thread] = []
    came = threading.Event()

    def note(_: StreamEvent) -> None:
        threads.append(threading.current_thread())
        came.set()

    bench.callbacks.on("*", note)
    bench.dispatcher.start()
    bench.put()
    assert came.wait(PATIENCE)
    assert threads[0].name.startswith("lasersell-callbacks-")
    assert threads[0].daemon


def test_dispatching_counts_from_the_call_of_start(bench: Bench) -> None:
    """A ``recv()`` right after it must not take the events away from the callbacks."""
    bench.dispatcher.start()
    assert bench.dispatcher.is_dispatching
    with pytest.raises(ConcurrencyError, match="callbacks"):
        bench.dispatcher.check_idle()


@pytest.mark.parametrize("again", ["run", "start"])
def test_events_are_dispatched_once(bench: Bench, again: str) -> None:
    """Whoever comes second is refused, and the first goes on."""
    bench.dispatcher.start()
    with pytest.raises(ConcurrencyError):
        getattr(bench.dispatcher, again)()
    came = threading.Event()
    bench.callbacks.on("*", lambda _: came.set())
    bench.put()
    assert came.wait(PATIENCE)


@pytest.mark.parametrize("begin", ["run", "start"])
def test_who_is_in_recv_already_is_not_robbed(bench: Bench, begin: str) -> None:
    """The dispatcher is refused, in the thread that asked for it; recv() goes on."""
    got: list[StreamEvent | None] = []
    consumer = threading.Thread(target=lambda: got.append(bench.receiver.get(PATIENCE)))
    consumer.start()
    while bench.receiver._owner is None:
        bench.lanes.ring()
    with pytest.raises(ConcurrencyError):
        getattr(bench.dispatcher, begin)()
    assert not bench.dispatcher.is_dispatching
    bench.put()
    consumer.join(PATIENCE)
    assert [event is not None for event in got] == [True]


def test_a_dispatcher_can_begin_again_after_it_was_refused_a_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit of the process: the caller is told, and nothing is left claimed."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            bench.dispatcher.start()
    assert not bench.dispatcher.is_dispatching
    bench.dispatcher.start()


def test_an_error_that_ends_the_stream_is_logged_by_the_thread(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody would see it otherwise."""
    with caplog.at_level(logging.ERROR):
        bench.dispatcher.start()
        bench.lanes.end(StreamLostError("gone for good"))
        bench.dispatcher.join(PATIENCE)
    assert "gone for good" in caplog.text


def test_a_callback_that_exits_ends_its_thread_loudly(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """``sys.exit()`` ends a thread without a word, and the callbacks with it."""

    def leave(_: StreamEvent) -> None:
        raise SystemExit(1)

    bench.callbacks.on("*", leave)
    with caplog.at_level(logging.CRITICAL):
        bench.dispatcher.start()
        bench.put()
        bench.dispatcher.join(PATIENCE)
    assert "ended the callbacks thread" in caplog.text
    assert not bench.dispatcher.is_dispatching


def test_the_callbacks_thread_does_not_wait_for_itself(bench: Bench) -> None:
    """``close()`` from a callback joins everything but the thread it is in."""
    joined = threading.Event()

    def close(_: StreamEvent) -> None:
        bench.dispatcher.join(PATIENCE)
        joined.set()

    bench.callbacks.on("*", close)
    bench.dispatcher.start()
    bench.put()
    assert joined.wait(PATIENCE / 2)
