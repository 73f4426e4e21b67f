"""
A program whose ``recv()`` loop is interrupted by Ctrl-C over and over, under load.

Run as ``python -m tests.faults.interrupt_program <times> <for|recv>``; prints one
line of JSON: how often it was interrupted, and which events were lost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from typing import Any

from lasersell.stream.client import StreamConnection
from tests.faults.client import connect
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import event, event_number, pnl_frame

__all__: list[str] = []

LAST = 1_000_000_000
"""The number of what is sent after all others."""


class _Load:
    """Sends numbered events among low ones, as fast as they are read."""

    def __init__(self) -> None:
        self.enough = threading.Event()
        self.sent = 0

    def __call__(self, peer: Peer) -> None:
        peer.greet()
        low = pnl_frame()
        while not self.enough.is_set():
            peer.send(*[low + event(self.sent + number) for number in range(20)])
            self.sent += 20
        peer.send(event(LAST))
        peer.drain()


def _interrupt(times: int, ready: threading.Event) -> None:
    chance = random.Random(11)
    for _ in range(times):
        ready.wait()
        ready.clear()
        threading.Event().wait(chance.uniform(0, 0.003))
        os.kill(os.getpid(), signal.SIGINT)


def _take(connection: StreamConnection, loop: str, into: list[Any]) -> None:
    # Nothing that Python could interrupt stands between us and the list.
    if loop == "for":
        for message in connection:
            into.append(message)  # noqa: PERF402 - a list() would lose all it has
    else:
        while True:
            into.append(connection.recv())


def main(times: int, loop: str) -> None:
    """Receive until all interrupts came, then look at what is missing."""
    load = _Load()
    ready = threading.Event()
    taken: list[Any] = []
    interrupted = 0
    with RawServer(load) as server, connect(server.endpoint) as connection:
        interrupter = threading.Thread(target=_interrupt, args=(times, ready))
        interrupter.start()
        while interrupted < times:
            try:
                ready.set()
                _take(connection, loop, taken)
            except KeyboardInterrupt:
                interrupted += 1
        interrupter.join()
        load.enough.set()
        numbers = {event_number(message) for message in taken}
        while LAST not in numbers:
            numbers.add(event_number(connection.recv(timeout=10)))
        reconnects = connection.stats().reconnects
    report = {
        "interrupted": interrupted,
        "sent": load.sent,
        "lost": sorted(set(range(load.sent)) - numbers),
        "reconnects": reconnects,
    }
    print(json.dumps(report), flush=True)  # noqa: T201 - the answer to the test


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
