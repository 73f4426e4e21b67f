"""
A stream in each of the states in which someone may want to close it.

Each function is a context manager that yields a connection which is really in
that state, and stays in it until it is closed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import attrs
import trustme

from lasersell._clock import Deadline
from lasersell.errors import LaserSellError
from lasersell.protocol.mirror import WatchWallet
from lasersell.stream import dial
from lasersell.stream.client import StreamConnection
from lasersell.stream.transport import Transport
from tests.complaints import complaints
from tests.faults.certificates import client_context, server_context
from tests.faults.client import CONFIGURE, connect
from tests.faults.raw_server import Peer, RawServer, drain, live
from tests.faults.sockets import black_hole
from tests.faults.wire import event, hello_frame, pnl_frame
from tests.patience import PATIENCE

__all__ = ["STATES", "State", "write_until_stuck"]

State = Callable[[], AbstractContextManager[StreamConnection]]

_MANY_WALLETS = (WatchWallet(pubkey=CONFIGURE.wallet_pubkeys[0]),) * 2000
_LONG_CONFIGURE = attrs.evolve(CONFIGURE, watch_wallets=_MANY_WALLETS)


def _wait(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "the state was not reached"


@contextlib.contextmanager
def connecting() -> Iterator[StreamConnection]:
    """Trying to reach an address that does not answer."""
    cut, asked = threading.Event(), threading.Event()
    look_up = socket.getaddrinfo

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    def look_up_and_tell(*arguments: Any, **options: Any) -> Any:
        asked.set()
        return look_up(*arguments, **options)

    with RawServer(first) as server, connect(server.endpoint) as connection:
        server.stop_listening()
        socket.getaddrinfo = look_up_and_tell
        try:
            with black_hole(server.port):
                cut.set()
                _wait(asked)
                yield connection
        finally:
            socket.getaddrinfo = look_up


@contextlib.contextmanager
def shaking_hands() -> Iterator[StreamConnection]:
    """In the TLS handshake with a server that does not answer."""
    authority = trustme.CA()
    cut, greeted = threading.Event(), threading.Event()
    secure = server_context(authority)

    def first(peer: Peer) -> None:
        peer.sock = secure.wrap_socket(peer.sock, server_side=True)
        peer.greet()
        cut.wait(PATIENCE)

    def mute(peer: Peer) -> None:
        peer.sock.recv(4096)
        greeted.set()
        drain(peer)

    with (
        RawServer(first, mute) as server,
        connect(
            f"wss://localhost:{server.port}/", client_context(authority)
        ) as connection,
    ):
        cut.set()
        _wait(greeted)
        yield connection


@contextlib.contextmanager
def waiting_for_hello() -> Iterator[StreamConnection]:
    """Upgraded, by a server that keeps its hello_ok to itself."""
    cut, upgraded = threading.Event(), threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    def mute(peer: Peer) -> None:
        peer.upgrade()
        upgraded.set()
        drain(peer)

    with (
        RawServer(first, mute) as server,
        connect(server.endpoint) as connection,
    ):
        cut.set()
        _wait(upgraded)
        yield connection


@contextlib.contextmanager
def configuring() -> Iterator[StreamConnection]:
    """Greeted, by a server that does not read the whole of our configure."""
    cut, begun = threading.Event(), threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    def deaf(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        peer.upgrade()
        peer.send(hello_frame())
        peer.sock.recv(1)
        begun.set()
        peer.hold()

    with (
        small_buffers(),
        RawServer(first, deaf) as server,
        connect(server.endpoint, timeout=20, configure=_LONG_CONFIGURE) as connection,
    ):
        cut.set()
        _wait(begun)
        yield connection


@contextlib.contextmanager
def small_buffers() -> Iterator[None]:
    """Have the kernel take little from a client before the server reads it."""
    tune = dial._tune

    def tune_small(sock: socket.socket) -> None:
        tune(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)

    dial._tune = tune_small
    try:
        yield
    finally:
        dial._tune = tune


@contextlib.contextmanager
def idle() -> Iterator[StreamConnection]:
    """Live, with a polite server that says nothing."""
    with RawServer(live) as server, connect(server.endpoint) as connection:
        yield connection


@contextlib.contextmanager
def flooded() -> Iterator[StreamConnection]:
    """Live, with a server that sends as fast as it can and never reads."""
    flowing = threading.Event()

    def flood(peer: Peer) -> None:
        peer.greet()
        block = pnl_frame() * 1000 + event(1)
        for round_number in range(1_000_000):
            peer.send(block)
            if round_number == 10:
                flowing.set()

    with RawServer(flood) as server, connect(server.endpoint) as connection:
        _wait(flowing)
        yield connection


@contextlib.contextmanager
def held_back() -> Iterator[StreamConnection]:
    """Live, with a high lane that is full, so that the reader reads no more."""

    def script(peer: Peer) -> None:
        peer.greet()
        while True:
            peer.send(*[event(number) for number in range(1000)])

    with (
        complaints() as said,
        RawServer(script) as server,
        connect(server.endpoint, high_capacity=8) as connection,
    ):
        assert "high lane is full" in said.get(timeout=PATIENCE)
        yield connection


@contextlib.contextmanager
def backing_off() -> Iterator[StreamConnection]:
    """Between two tries, for a minute."""
    cut, refused = threading.Event(), threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    def refuse(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 503 Later\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n")
        drain(peer)
        refused.set()

    with (
        RawServer(first, refuse) as server,
        connect(server.endpoint) as connection,
    ):
        cut.set()
        _wait(refused)
        yield connection


@contextlib.contextmanager
def peer_silent() -> Iterator[StreamConnection]:
    """Live, with a server that reads and never says a word, not even goodbye."""

    def mute(peer: Peer) -> None:
        peer.greet()
        drain(peer)

    with RawServer(mute) as server, connect(server.endpoint) as connection:
        yield connection


def write_until_stuck(connection: StreamConnection) -> None:
    """Send commands until the stream is over; blocks where the server does not read."""
    with contextlib.suppress(LaserSellError):
        while True:
            connection.sender.update_watch_wallets(_MANY_WALLETS)


@contextlib.contextmanager
def unread() -> Iterator[StreamConnection]:
    """Live, with a server that does not read, nothing being written yet."""

    def deaf(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.greet()
        peer.hold()

    with (
        small_buffers(),
        RawServer(deaf) as server,
        connect(server.endpoint) as connection,
    ):
        yield connection


@contextlib.contextmanager
def tell_when_stuck() -> Iterator[threading.Event]:
    """Yield what is set when a write waits for room in its socket."""
    stuck = threading.Event()
    wait = Transport._wait_writable

    def wait_and_tell(transport: Transport, deadline: Deadline) -> None:
        stuck.set()
        wait(transport, deadline)

    Transport._wait_writable = wait_and_tell  # type: ignore[assignment, method-assign]
    try:
        yield stuck
    finally:
        Transport._wait_writable = wait  # type: ignore[method-assign]


@contextlib.contextmanager
def writer_stuck() -> Iterator[StreamConnection]:
    """Live, with a server that does not read and a thread stuck in writing to it."""
    with unread() as connection, tell_when_stuck() as stuck:
        writer = threading.Thread(
            target=write_until_stuck, args=(connection,), daemon=True
        )
        writer.start()
        _wait(stuck)
        try:
            yield connection
        finally:
            connection.close()
            writer.join(PATIENCE)
            assert not writer.is_alive(), "the writer did not end"


STATES: dict[str, State] = {
    "connecting": connecting,
    "in the TLS handshake": shaking_hands,
    "waiting for hello": waiting_for_hello,
    "configure not taken": configuring,
    "live and idle": idle,
    "live under flood": flooded,
    "reader held back": held_back,
    "backoff": backing_off,
    "peer silent": peer_silent,
    "writer stuck": writer_stuck,
}
