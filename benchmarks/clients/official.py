"""The jobs, done with the official Python SDK (``lasersell-sdk`` 1.1.0)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

from lasersell_sdk.stream.client import StreamClient, StreamConfigure
from lasersell_sdk.stream.session import StreamSession
from lasersell_sdk.tx import SendTargetRpc, send_transaction, sign_unsigned_tx
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

_EXIT = "exit_signal_with_tx"


async def _connect(place: Place, *, deadline: float = 0.0) -> Any:
    client = StreamClient("key").with_endpoint(place.endpoint)
    strategy = {"target_profit_pct": 5.0, "stop_loss_pct": 1.5}
    configure = StreamConfigure([WALLET], strategy, int(deadline))
    session = await StreamSession.connect(client, configure)
    opened = 0
    while opened < place.work.positions:
        event = await session.recv()
        opened += event.type == "position_opened"
    return session


async def _close(session: Any) -> None:
    session.close()
    while await session.recv() is not None:
        pass


async def _warm_up(session: Any, place: Place) -> None:
    place.go()
    for _ in range(place.work.warm_up):
        await session.recv()


async def _next_exit(session: Any) -> Any:
    while True:
        event = await session.recv()
        if event.type == _EXIT:
            return event.message


def consume(place: Place) -> Numbers:
    """Receive a flood; its queue has no bound, so that nothing is dropped."""
    return asyncio.run(_consume(place))


async def _consume(place: Place) -> Numbers:
    work = place.work
    session = await _connect(place)
    await _warm_up(session, place)
    with Meter() as meter:
        place.go()
        for _ in range(work.frames):
            await session.recv()
    await _close(session)
    return {**meter.per_frame(work.frames), "dropped": 0.0}


def latency(place: Place) -> Numbers:
    """Receive exit signals among PnL updates; how long ago were they sent?"""
    with busy_threads(place.work.busy_threads):
        return asyncio.run(_latency(place))


async def _latency(place: Place) -> Numbers:
    work = place.work
    step = work.step_ms / 1000
    late: list[float] = []
    session = await _connect(place)
    with Meter() as meter:
        place.go()
        while len(late) < work.exits:
            event = await session.recv()
            now = time.monotonic_ns()
            if event.type == _EXIT:
                late.append((now - event.message["triggered_at_ms"]) / 1000)
            if step:
                await _pause(step)
    await _close(session)
    return {**spread(late, "us"), "cpu_pct": meter.cpu_percent()}


def sale(place: Place) -> Numbers:
    """Sign and submit each exit; each submission makes a connection of its own."""
    return asyncio.run(_sale(place))


async def _sale(place: Place) -> Numbers:
    sent: list[int] = []
    received: list[int] = []
    keypair = Keypair.from_seed(WALLET_SEED)
    with Node() as node:
        session = await _connect(place)
        target = SendTargetRpc(node.url)
        place.go()
        while len(sent) < place.work.exits:
            message = await _next_exit(session)
            now = time.monotonic_ns()
            signed = sign_unsigned_tx(message["unsigned_tx_b64"], keypair)
            await send_transaction(target, signed)
            sent.append(message["triggered_at_ms"])
            received.append(now)
        await _close(session)
        return sale_times(sent, received, node.stamps())


def commands(place: Place) -> Numbers:
    """Ask for exits, one at a time."""
    return asyncio.run(_commands(place))


async def _commands(place: Place) -> Numbers:
    work = place.work
    rng = random.Random(1)
    calls, one_ways, round_trips = [], [], []
    session = await _connect(place)
    (position,) = session.positions()
    for _ in range(work.repeats):
        await _pause(work.interval_ms / 1000 * rng.uniform(0.5, 1.5))
        start = time.monotonic_ns()
        session.request_exit_signal(position)
        called = time.monotonic_ns()
        answer = await _next_exit(session)
        answered = time.monotonic_ns()
        calls.append((called - start) / 1000)
        one_ways.append((answer["triggered_at_ms"] - start) / 1000)
        round_trips.append((answered - start) / 1000)
    await _close(session)
    return {
        "call_us": spread(calls, "us")["p50_us"],
        "one_way_us": spread(one_ways, "us")["p50_us"],
        "round_trip_us": spread(round_trips, "us")["p50_us"],
        "round_trip_p99_us": spread(round_trips, "us")["p99_us"],
    }


def stall(place: Place) -> Numbers:
    """Receive nothing while a flood comes in."""
    return asyncio.run(_stall(place))


async def _stall(place: Place) -> Numbers:
    session = await _connect(place)
    await _warm_up(session, place)
    before = resident_mb()
    place.go()
    await asyncio.to_thread(place.done)
    grown = resident_mb() - before
    await _close(session)
    return {"grown_mb": grown}


def idle(place: Place) -> Numbers:
    """Wait for an event that does not come."""
    return asyncio.run(_idle(place))


async def _idle(place: Place) -> Numbers:
    seconds = place.work.seconds
    session = await _connect(place)
    await _wait_in_vain(session, 0.5)
    with Meter() as meter:
        before = wake_ups()
        await _wait_in_vain(session, seconds)
        count = wake_ups() - before
    await _close(session)
    return {"wake_ups_s": count / seconds, "cpu_pct": meter.cpu_percent()}


async def _wait_in_vain(session: Any, seconds: float) -> None:
    try:
        await asyncio.wait_for(session.recv(), seconds)
    except asyncio.TimeoutError:
        return
    raise AssertionError("an event came")


def connect(place: Place) -> Numbers:
    """Connect, again and again."""
    return asyncio.run(_connect_often(place))


async def _connect_often(place: Place) -> Numbers:
    took = []
    for _ in range(place.work.repeats):
        start = time.perf_counter()
        session = await _connect(place)
        took.append((time.perf_counter() - start) * 1000)
        await _close(session)
    return {"p50_ms": spread(took, "ms")["p50_ms"]}


def reconnect(place: Place) -> Numbers:
    """Lose the connection; how long until the next one's first exit signal?"""
    return asyncio.run(_reconnect(place))


async def _reconnect(place: Place) -> Numbers:
    session = await _connect(place)
    place.go()
    dropped_at = (await _next_exit(session))["triggered_at_ms"]
    live = (time.monotonic_ns() - dropped_at) / 1e6
    await _close(session)
    return {"live_ms": live}


def deadlines(place: Place) -> Numbers:
    """Have many positions reach their deadline at once; the server takes the times."""
    return asyncio.run(_deadlines(place))


async def _deadlines(place: Place) -> Numbers:
    session = await _connect(place, deadline=place.work.seconds)
    receiving = asyncio.create_task(_receive_all(session))
    result = await asyncio.to_thread(place.done)
    session.close()
    await receiving
    return dict(result)


async def _receive_all(session: Any) -> None:
    while await session.recv() is not None:
        pass


def import_package(_: Place) -> Numbers:
    """Import the whole public surface."""
    return import_ms("lasersell_sdk")


def _pause(seconds: float) -> Coroutine[Any, Any, None]:
    # A timer of the event loop, as the consumer's own work would be awaited.
    return asyncio.sleep(seconds)  # noqa: TID251
