"""
The floor: a plain socket, frames cut by hand, and one thread hop. No JSON.
"""

from __future__ import annotations

import queue
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measure import Meter, busy_threads, spread
from benchmarks.wire import (
    WALLET,
    masked_frame,
    stamp_of,
    token_account,
    unmasked_frames,
    upgrade_request,
)
from benchmarks.work import Numbers, Place

_CONFIGURE = {"type": "configure", "wallet_pubkeys": [WALLET]}
_REQUEST = {"type": "request_exit_signal", "token_account": token_account(1)}

Hop = queue.SimpleQueue[int]
"""What the reader hands over: the stamp of each exit signal."""


@contextmanager
def _connected(place: Place) -> Iterator[tuple[socket.socket, Hop]]:
    path = place.endpoint.partition(str(place.port))[2]
    with socket.create_connection(("127.0.0.1", place.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(upgrade_request(path))
        head, _, rest = sock.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        sock.sendall(masked_frame(_CONFIGURE))
        hop: Hop = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(sock, hop, rest), daemon=True)
        reader.start()
        yield sock, hop
        sock.shutdown(socket.SHUT_RDWR)
        reader.join()


def _read(sock: socket.socket, hop: Hop, rest: bytes) -> None:
    while data := sock.recv(65536):
        payloads, rest = unmasked_frames(rest + data)
        for payload in payloads:
            stamp = stamp_of(payload)
            if stamp is not None:
                hop.put(stamp)


def latency(place: Place) -> Numbers:
    """Receive exit signals; how long ago were they sent?"""
    work = place.work
    late: list[float] = []
    busy = busy_threads(work.busy_threads)
    with _connected(place) as (_, hop), busy, Meter() as meter:
        place.go()
        while len(late) < work.exits:
            stamp = hop.get()
            late.append((time.monotonic_ns() - stamp) / 1000)
    return {**spread(late, "us"), "cpu_pct": meter.cpu_percent()}


def commands(place: Place) -> Numbers:
    """Ask for exits, one at a time, with a frame made beforehand."""
    work = place.work
    rng = random.Random(1)
    nothing = threading.Event()
    request = masked_frame(_REQUEST)
    calls, one_ways, round_trips = [], [], []
    with _connected(place) as (sock, hop):
        for _ in range(work.repeats):
            nothing.wait(work.interval_ms / 1000 * rng.uniform(0.5, 1.5))
            start = time.monotonic_ns()
            sock.send(request)
            called = time.monotonic_ns()
            received = hop.get()
            answered = time.monotonic_ns()
            calls.append((called - start) / 1000)
            one_ways.append((received - start) / 1000)
            round_trips.append((answered - start) / 1000)
    return {
        "call_us": spread(calls, "us")["p50_us"],
        "one_way_us": spread(one_ways, "us")["p50_us"],
        "round_trip_us": spread(round_trips, "us")["p50_us"],
        "round_trip_p99_us": spread(round_trips, "us")["p99_us"],
    }
