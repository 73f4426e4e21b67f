"""
The load server: raw sockets and frames encoded beforehand, in a process of its own.

It listens on a free port, which it prints, until its standard input ends. What it
does with a client is in the endpoint (:class:`benchmarks.work.Work`): a script,
which starts when the client is configured and its positions are open. It stamps
exit signals with nanoseconds of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.measure import spread
from benchmarks.wire import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    MaskedFrames,
    balance_update,
    exit_frame,
    flood_frames,
    frame,
    hello_ok,
    position_opened,
    text_frame,
    upgrade_answer,
)
from benchmarks.work import Work

__all__ = ["main"]

BLOCK = 1_200
TICK = 0.001
"""Seconds between two writes of a steady rate."""
_RANDOM_SEED = 7
_OPENED_TOGETHER = 20


class Gone(Exception):
    """The client has left."""


class Run:
    """What the connections of one run share."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.done = threading.Event()
        self.result: dict[str, float] = {}
        self.dropped_at: int | None = None

    def finish(self, **result: float) -> None:
        self.result = result
        self.done.set()


class Peer:
    """One client, after its upgrade."""

    def __init__(self, sock: socket.socket, work: Work, run: Run) -> None:
        self.work = work
        self.run = run
        self.received_at = 0
        """When bytes last came, monotonic nanoseconds."""
        self.pongs = 0
        self._sock = sock
        self._frames = MaskedFrames()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def receive(self, timeout: float | None) -> list[dict[str, Any]]:
        """Return the messages that come within ``timeout`` seconds, as soon as any do."""
        if not select.select([self._sock], [], [], timeout)[0]:
            return []
        data = self._sock.recv(65536)
        self.received_at = time.monotonic_ns()
        if not data:
            raise Gone
        messages = []
        for opcode, payload in self._frames.feed(data):
            if opcode == TEXT:
                messages.append(json.loads(payload))
            elif opcode == PING:
                self.send(frame(PONG, payload))
            elif opcode == PONG:
                self.pongs += 1
            elif opcode == CLOSE:
                self.send(frame(CLOSE, payload))
                raise Gone
        return messages

    def pause(self, until: int) -> None:
        """Wait until a time in monotonic nanoseconds; what comes meanwhile is dropped."""
        while (left := until - time.monotonic_ns()) > 0:
            self.receive(left / 1e9)

    def await_pong(self) -> None:
        """Return once the client has read everything that was sent to it."""
        before = self.pongs
        self.send(frame(PING))
        while self.pongs == before:
            self.receive(None)

    def configured(self) -> None:
        """Greet, and wait for ``configure``."""
        self.send(text_frame(hello_ok(1)))
        while not any(m["type"] == "configure" for m in self.receive(None)):
            pass

    def open(self, positions: int) -> None:
        opened = (text_frame(position_opened(i + 1)) for i in range(positions))
        self.send(text_frame(balance_update(1)) + b"".join(opened))


# --- Scripts ------------------------------------------------------------------


def _nothing(peer: Peer) -> None:
    """Say nothing more."""


def _flood(peer: Peer) -> None:
    """Send the warm-up, and when told so the rest, each as fast as the client reads."""
    count = max(BLOCK, peer.work.positions)
    frames = flood_frames(count, peer.work.positions, mixed=peer.work.mixed)
    block = b"".join(frames)
    for number in (peer.work.warm_up, peer.work.frames):
        peer.run.go.acquire()
        for _ in range(number // count):
            peer.send(block)
            peer.receive(0)  # a client that gets no pong for its ping gives up
        peer.send(b"".join(frames[: number % count]))
    peer.await_pong()
    peer.run.finish()


def _exits(peer: Peer) -> None:
    """
    Send exit signals at random moments over a steady rate of PnL updates.

    Of one position after the other, made beforehand.
    """
    positions = max(1, peer.work.positions)
    for position in range(1, positions + 1):
        exit_frame(0, position)
    peer.run.go.acquire()
    rng = random.Random(_RANDOM_SEED)
    mean = peer.work.interval_ms * 1e6
    background = _Background(peer)
    at = time.monotonic_ns()
    for number in range(peer.work.exits):
        at += int(mean * rng.uniform(0.5, 1.5))
        background.run(until=at)
        peer.send(exit_frame(time.monotonic_ns(), number % positions + 1))
    peer.run.finish()


class _Background:
    """A steady rate of PnL updates, a few frames every tick."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._rate = peer.work.pnl_rate
        self._frames = cycle(flood_frames(BLOCK, peer.work.positions, mixed=False))
        self._started_at = time.monotonic_ns()
        self._sent = 0

    def run(self, until: int) -> None:
        while (now := time.monotonic_ns()) < until:
            if self._rate:
                self._catch_up(now)
                self._peer.pause(min(until, now + int(TICK * 1e9)))
            else:
                self._peer.pause(until)

    def _catch_up(self, now: int) -> None:
        owed = int((now - self._started_at) / 1e9 * self._rate) - self._sent
        if owed > 0:
            self._peer.send(b"".join(next(self._frames) for _ in range(owed)))
            self._sent += owed


def _answer(peer: Peer) -> None:
    """Answer each request for an exit, stamped with when the request was here."""
    while True:
        for message in peer.receive(None):
            if message["type"] == "request_exit_signal":
                peer.send(exit_frame(peer.received_at))


def _deadlines(peer: Peer) -> None:
    """Open many positions, and see how late after the deadline each exit is asked for."""
    due: dict[str, int] = {}
    late: list[float] = []

    def take(messages: list[dict[str, Any]]) -> None:
        for message in messages:
            at = due.pop(message.get("token_account", ""), 0)
            if at:
                late.append((peer.received_at - at) / 1e6)

    next_at = time.monotonic_ns()
    for first in range(0, peer.work.exits, _OPENED_TOGETHER):
        batch = [position_opened(first + i + 2) for i in range(_OPENED_TOGETHER)]
        peer.send(b"".join(map(text_frame, batch)))
        at = time.monotonic_ns() + int(peer.work.seconds * 1e9)
        due |= {message["token_account"]: at for message in batch}
        next_at += int(_OPENED_TOGETHER * peer.work.interval_ms * 1e6)
        while (left := next_at - time.monotonic_ns()) > 0:
            take(peer.receive(left / 1e9))
    while len(late) < peer.work.exits:
        take(peer.receive(None))
    peer.run.finish(**spread(late, "ms"))


def _drop(peer: Peer) -> None:
    """End the connection; stamp the first exit signal of the next with when."""
    if peer.run.dropped_at is None:
        peer.run.go.acquire()
        peer.run.dropped_at = time.monotonic_ns()
        raise Gone
    peer.send(exit_frame(peer.run.dropped_at))


_SCRIPTS: dict[str, Callable[[Peer], None]] = {
    "nothing": _nothing,
    "flood": _flood,
    "exits": _exits,
    "answer": _answer,
    "deadlines": _deadlines,
    "drop": _drop,
}


# --- Connections --------------------------------------------------------------


class LoadServer:
    """Serves every connection in a thread of its own."""

    def __init__(self) -> None:
        self._runs: defaultdict[str, Run] = defaultdict(Run)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(Gone, OSError):
            head = b"".join(_head(sock))
            url = urlsplit(head.split(b" ", 2)[1].decode())
            query = parse_qs(url.query)
            run = self._runs[query["run"][0]]
            if url.path == "/v1/ws":
                sock.sendall(upgrade_answer(head))
                _perform(Peer(sock, Work.from_json(query["work"][0]), run))
            else:
                self._control(sock, url.path, run)

    def _control(self, sock: socket.socket, what: str, run: Run) -> None:
        if what == "/go":
            run.go.release()
        else:
            run.done.wait()
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(run.result).encode())


def _head(sock: socket.socket) -> Iterator[bytes]:
    """Yield the head of a request; nothing follows it before it is answered."""
    piece = b""
    while not piece.endswith(b"\r\n\r\n"):
        piece = sock.recv(65536)
        if not piece:
            raise Gone
        yield piece


def _perform(peer: Peer) -> None:
    peer.configured()
    peer.open(peer.work.positions)
    _SCRIPTS[peer.work.script](peer)
    while True:
        peer.receive(None)


def main() -> None:
    server = LoadServer()
    threading.Thread(target=server.serve, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
