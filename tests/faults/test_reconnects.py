"""A thousand connections in a row: nothing lost, nothing repeated, nothing leaked."""

from __future__ import annotations

import fcntl
import os
import random
import threading

import attrs
import pytest

from lasersell.errors import LaserSellError
from lasersell.stream import backoff
from lasersell.stream.client import StreamConnection
from tests.faults.client import connect
from tests.faults.descriptors import client_sockets
from tests.faults.memory import MIB, resident_bytes
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import close_frame, event, event_number, pnl_frame
from tests.patience import PATIENCE

WARM_UP = 20
MOST_THREADS = 3
"""The supervisor, and a reader, an ending reader or a resolver."""
MOST_SOCKETS = 3
"""The connection and the wake-up pair."""

LONG = [pytest.mark.slow, pytest.mark.timeout(200)]

_SIOCOUTQNSD = 0x894B
"""Asks Linux for the bytes that have not left a socket yet."""


class _Fickle:
    """
    A server that sends some events and ends the connection, each time another way.

    Attributes:
        sent: Events whose last byte has reached the client's socket.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._chance = random.Random(5)

    def __call__(self, peer: Peer) -> None:
        peer.greet()
        count = self._chance.randrange(50)
        numbers = range(self.sent, self.sent + count)
        peer.send(*[event(number) + pnl_frame() for number in numbers])
        half = event(999_999)[: self._chance.randrange(10)]
        ending = self._chance.choice(["eof", "reset", "close", "half", "half reset"])
        if ending.startswith("half"):
            peer.send(half)
        _wait_until_sent(peer)
        self.sent += count
        if ending == "close":
            peer.send(close_frame(1012))
            peer.drain()
        elif ending.endswith("reset"):
            peer.reset()


def _wait_until_sent(peer: Peer) -> None:
    # What has left our socket has reached the client's: both are on this machine.
    # There is no event to wait for, but it takes microseconds.
    while any(fcntl.ioctl(peer.sock, _SIOCOUTQNSD, bytes(4))):
        os.sched_yield()


def _follow(connection: StreamConnection, ends: int) -> list[int]:
    """Return the events up to the given number of disconnects."""
    numbers = []
    while ends:
        message = connection.recv(timeout=PATIENCE)
        assert message is not None
        number = event_number(message)
        if number is not None:
            numbers.append(number)
        ends -= message.type == "disconnected"
    return numbers


def _ping_on(connection: StreamConnection, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            connection.sender.ping()
        except LaserSellError:
            stop.wait(0.001)


@pytest.mark.parametrize(
    ("times", "writing"),
    [
        (50, True),
        pytest.param(1000, False, marks=LONG),
        pytest.param(1000, True, marks=LONG),
    ],
    ids=["50", "1000, reading", "1000, writing too"],
)
def test_forced_reconnects_lose_and_leak_nothing(
    times: int, writing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event that reached our socket comes once, in order; nothing grows."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(backoff, "LARGEST_DELAY", 0.001)
    server_side = _Fickle()
    stop = threading.Event()
    with RawServer(server_side) as server, connect(server.endpoint) as connection:
        pinger = threading.Thread(target=_ping_on, args=(connection, stop))
        if writing:
            pinger.start()
        numbers = _follow(connection, WARM_UP)
        before = _holdings(server.port)
        numbers += _follow(connection, times)
        after = _holdings(server.port)
        stop.set()
        if writing:
            pinger.join()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > times
    assert after.threads <= MOST_THREADS
    assert after.sockets <= MOST_SOCKETS
    assert after.memory - before.memory < 5 * MIB


@attrs.frozen
class _Holdings:
    """What the client's side of this process holds."""

    threads: int
    sockets: int
    memory: int


def _holdings(port: int) -> _Holdings:
    ours = [t for t in threading.enumerate() if t.name.startswith("lasersell-")]
    return _Holdings(len(ours), len(client_sockets(port)), resident_bytes())
