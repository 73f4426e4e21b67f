"""The jobs, done with this library."""

from __future__ import annotations

import random
import threading
import time

from benchmarks.measure import (
    Meter,
    busy_threads,
    import_ms,
    resident_mb,
    spread,
    wake_ups,
)
from benchmarks.wire import WALLET
from benchmarks.work import Numbers, Place
from lasersell.protocol.server import ExitSignalWithTx, PositionOpened
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure


def _connect(
    place: Place, *, deadline: float = 0.0, low_capacity: int = 1024
) -> StreamSession:
    configure = StreamConfigure(
        [WALLET],
        StrategyConfig(target_profit_pct=5.0, stop_loss_pct=1.5),
        deadline_timeout_sec=deadline,
    )
    client = StreamClient("key", endpoint=place.endpoint)
    session = StreamSession.connect(
        client, configure, low_priority_capacity=low_capacity
    )
    opened = 0
    while opened < place.work.positions:
        opened += isinstance(_next(session).message, PositionOpened)
    return session


def _next(session: StreamSession) -> StreamEvent:
    event = session.recv()
    assert event is not None, "nobody closed the session"
    return event


def _next_exit(session: StreamSession) -> ExitSignalWithTx:
    while True:
        message = _next(session).message
        if isinstance(message, ExitSignalWithTx):
            return message


def _stamp(message: ExitSignalWithTx) -> int:
    assert message.triggered_at_ms is not None, "the server stamps each exit signal"
    return message.triggered_at_ms


def consume(place: Place) -> Numbers:
    """Receive a flood; the lane is as long as the flood, so that nothing is dropped."""
    work = place.work
    capacity = work.warm_up + work.frames
    with _connect(place, low_capacity=capacity) as session:
        _warm_up(session, place)
        recv = session.recv
        with Meter() as meter:
            place.go()
            for _ in range(work.frames):
                recv()
        return {
            **meter.per_frame(work.frames),
            "dropped": float(session.stats().low.dropped),
        }


def _warm_up(session: StreamSession, place: Place) -> None:
    place.go()
    for _ in range(place.work.warm_up):
        session.recv()


def latency(place: Place) -> Numbers:
    """Receive exit signals among PnL updates; how long ago were they sent?"""
    work = place.work
    step = work.step_ms / 1000
    nothing = threading.Event()
    late: list[float] = []
    with _connect(place) as session, busy_threads(work.busy_threads), Meter() as meter:
        place.go()
        while len(late) < work.exits:
            event = _next(session)
            now = time.monotonic_ns()
            if isinstance(event.message, ExitSignalWithTx):
                late.append((now - _stamp(event.message)) / 1000)
            if step:
                nothing.wait(step)
    return {**spread(late, "us"), "cpu_pct": meter.cpu_percent()}


def commands(place: Place) -> Numbers:
    """Ask for exits, one at a time."""
    work = place.work
    rng = random.Random(1)
    nothing = threading.Event()
    calls, one_ways, round_trips = [], [], []
    with _connect(place) as session:
        (position,) = session.positions()
        for _ in range(work.repeats):
            nothing.wait(work.interval_ms / 1000 * rng.uniform(0.5, 1.5))
            start = time.monotonic_ns()
            session.request_exit_signal(position)
            called = time.monotonic_ns()
            answer = _next_exit(session)
            answered = time.monotonic_ns()
            calls.append((called - start) / 1000)
            one_ways.append((_stamp(answer) - start) / 1000)
            round_trips.append((answered - start) / 1000)
    return {
        "call_us": spread(calls, "us")["p50_us"],
        "one_way_us": spread(one_ways, "us")["p50_us"],
        "round_trip_us": spread(round_trips, "us")["p50_us"],
        "round_trip_p99_us": spread(round_trips, "us")["p99_us"],
    }


def stall(place: Place) -> Numbers:
    """Receive nothing while a flood comes in."""
    with _connect(place) as session:
        _warm_up(session, place)
        before = resident_mb()
        place.go()
        place.done()
        return {"grown_mb": resident_mb() - before}


def idle(place: Place) -> Numbers:
    """Wait for an event that does not come."""
    seconds = place.work.seconds
    with _connect(place) as session:
        _wait_in_vain(session, 0.5)
        with Meter() as meter:
            before = wake_ups()
            _wait_in_vain(session, seconds)
            count = wake_ups() - before
    return {"wake_ups_s": count / seconds, "cpu_pct": meter.cpu_percent()}


def _wait_in_vain(session: StreamSession, seconds: float) -> None:
    try:
        session.recv(timeout=seconds)
    except TimeoutError:
        return
    raise AssertionError("an event came")


def connect(place: Place) -> Numbers:
    """Connect, again and again."""
    took = []
    for _ in range(place.work.repeats):
        start = time.perf_counter()
        session = _connect(place)
        took.append((time.perf_counter() - start) * 1000)
        session.close()
    return {"p50_ms": spread(took, "ms")["p50_ms"]}


def reconnect(place: Place) -> Numbers:
    """Lose the connection; how long until the next one's first exit signal?"""
    with _connect(place) as session:
        place.go()
        dropped_at = _stamp(_next_exit(session))
        return {"live_ms": (time.monotonic_ns() - dropped_at) / 1e6}


def deadlines(place: Place) -> Numbers:
    """Have many positions reach their deadline at once; the server takes the times."""
    with _connect(place, deadline=place.work.seconds) as session:
        session.start()
        return dict(place.done())


def import_package(_: Place) -> Numbers:
    """Import the whole public surface."""
    return import_ms("lasersell")
