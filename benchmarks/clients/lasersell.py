"""The jobs, done with this library."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median

from solders.keypair import Keypair

from benchmarks.measure import (
    Meter,
    busy_threads,
    import_ms,
    resident_mb,
    spread,
    wake_ups,
)
from benchmarks.node import Node, sale_times
from benchmarks.wire import WALLET, WALLET_SEED
from benchmarks.work import Numbers, Place
from lasersell.exits.keys import WalletKey
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
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


def sale(place: Place) -> Numbers:
    """Check, sign and submit each exit, over a connection that is there already."""
    sent: list[int] = []
    received: list[int] = []
    signer = Signer([WalletKey(Keypair.from_seed(WALLET_SEED))])
    with (
        Node() as node,
        Submitter([SendTarget.rpc(node.url)]) as submitter,
        _connect(place) as session,
    ):
        submitter.warm()
        place.go()
        while len(sent) < place.work.exits:
            event = _next(session)
            now = time.monotonic_ns()
            if isinstance(event.message, ExitSignalWithTx):
                submitter.submit(signer.sign_exit(event.message, event.handle))
                sent.append(_stamp(event.message))
                received.append(now)
        return sale_times(sent, received, node.stamps())


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


Beside = Callable[[StreamSession], AbstractContextManager[object]]


def _compare(place: Place, beside: Beside) -> tuple[Numbers, Numbers]:
    """
    Receive exit signals without and beside something, a second of each in turn.

    In turn, because on a machine that does other work too no two runs are alike; the
    p99 is the median of the turns', for one stall would be the p99 of all.
    """
    p99: tuple[list[float], list[float]] = ([], [])
    cpu, wall = [0.0, 0.0], [0.0, 0.0]
    turns = place.work.repeats * 2
    with _connect(place) as session:
        place.go()
        for turn in range(turns):
            mode = turn % 2
            with beside(session) if mode else nullcontext():
                _next_exit(session)  # late by what the change of turns took
                cpu[mode] -= time.process_time()
                wall[mode] -= time.perf_counter()
                late = []
                for _ in range(place.work.exits // turns - 1):
                    sent = _stamp(_next_exit(session))
                    late.append((time.monotonic_ns() - sent) / 1000)
                p99[mode].append(spread(late, "us")["p99_us"])
                cpu[mode] += time.process_time()
                wall[mode] += time.perf_counter()
    without, with_it = (
        {"p99_us": median(p99[mode]), "cpu_pct": 100 * cpu[mode] / wall[mode]}
        for mode in (0, 1)
    )
    return without, with_it


def _delays(without: Numbers, with_it: Numbers) -> Numbers:
    return {
        "exit_p99_us": without["p99_us"],
        "exit_beside_p99_us": with_it["p99_us"],
        "delay_p99_us": max(0.0, with_it["p99_us"] - without["p99_us"]),
    }


def live_view(place: Place) -> Numbers:
    """See what a live view costs, in a notebook's kernel."""
    # Not in the other jobs, whose memory and start-up are measured.
    from benchmarks.kernel import run_in_kernel  # noqa: PLC0415

    return run_in_kernel(__name__, "live_view_in_kernel", place)


def live_view_in_kernel(place: Place) -> Numbers:
    """Do what :func:`live_view` says, in the kernel."""
    # As above.
    from lasersell.contrib.jupyter import live  # noqa: PLC0415

    without, with_it = _compare(place, live)
    more = max(0.0, with_it["cpu_pct"] - without["cpu_pct"])
    return {"view_cpu_pct": more, **_delays(without, with_it)}


def scrape(place: Place) -> Numbers:
    """See what scrapes cost, and how long each takes."""
    took: list[float] = []
    cpu: list[float] = []
    delays = _delays(*_compare(place, lambda session: _scraping(session, took, cpu)))
    times = spread(took, "us")
    return {
        "scrape_cpu_us": spread(cpu, "us")["p50_us"],
        "scrape_p50_us": times["p50_us"],
        "scrape_p99_us": times["p99_us"],
        **delays,
    }


@contextmanager
def _scraping(
    session: StreamSession, took: list[float], cpu: list[float]
) -> Iterator[None]:
    """Scrape a session 20 times a second; note what each took, in us."""
    # As above.
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    from lasersell.contrib.metrics import StreamCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    collector = StreamCollector(registry)
    collector.add(session)
    stop = threading.Event()

    def run() -> None:
        while True:
            start, start_cpu = time.perf_counter(), time.thread_time()
            generate_latest(registry)
            took.append((time.perf_counter() - start) * 1e6)
            cpu.append((time.thread_time() - start_cpu) * 1e6)
            if stop.wait(0.05):
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        collector.remove()
