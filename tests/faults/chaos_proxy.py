"""
A TCP proxy that does to a connection what networks do.

Every fault is real: bytes go through two sockets of the operating system, and are
held, lost, cut, spoilt or slowed in between. Settings may be changed while
connections are open.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator

from tests.patience import PATIENCE

__all__ = ["ChaosProxy", "Direction"]


class Direction:
    """
    What happens to the bytes that go one way.

    Attributes:
        most: Most bytes of one write; None is as they come.
        pause: Seconds between two writes.
        jitter: Whether sizes and pauses are random, ``most`` and ``pause`` at most.
        is_lost: Whether bytes are taken and thrown away.
        spoils: Whether the lowest bit of every byte is turned over.
        passed: Bytes let through.
    """

    def __init__(self, seed: int) -> None:
        self.most: int | None = None
        self.pause = 0.0
        self.jitter = False
        self.is_lost = False
        self.spoils = False
        self.passed = 0
        self._random = random.Random(seed)
        self._stalls_after: int | None = None
        self._flowing = threading.Event()
        self._flowing.set()

    def stall(self, after: int = 0) -> None:
        """Let ``after`` more bytes through, and then nothing; nothing is lost."""
        self._stalls_after = self.passed + after
        if after == 0:
            self._flowing.clear()

    def flow(self) -> None:
        """End a stall."""
        self._stalls_after = None
        self._flowing.set()

    def pieces(self, data: bytes, ended: threading.Event) -> Iterator[bytes]:
        """Cut bytes into the writes they are to go out in; waits in between."""
        while data:
            self._flowing.wait()
            if ended.is_set():
                return
            size = self._next_size(len(data))
            piece, data = data[:size], data[size:]
            self.passed += size
            if self.passed == self._stalls_after:
                self._flowing.clear()
            if not self.is_lost:
                yield bytes(byte ^ 1 for byte in piece) if self.spoils else piece
            if self.pause:
                share = self._random.random() if self.jitter else 1.0
                ended.wait(self.pause * share)

    def _next_size(self, available: int) -> int:
        size = min(available, self.most or available)
        if self.jitter:
            size = self._random.randint(1, size)
        if self._stalls_after is not None:
            size = min(size, self._stalls_after - self.passed)
        return size


class _Link:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.ended = threading.Event()
        self.threads: list[threading.Thread] = []
        self._pumping = 2
        self._lock = threading.Lock()

    def shut(self, how: int) -> None:
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                sock.shutdown(how)

    def linger_no_more(self) -> None:
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )

    def leave(self) -> None:
        """Note that one way has ended; the last one closes both sockets."""
        with self._lock:
            self._pumping -= 1
            if not self._pumping:
                self.client.close()
                self.server.close()


class ChaosProxy:
    """
    Forwards connections to a port of this machine while its ``with`` block runs.

    Args:
        port: Where to forward to.
        seed: What the jitter depends on.

    Attributes:
        to_server: The way from the client.
        to_client: The way to the client.
        hangs_up: Whether new connections are accepted and closed at once.
        accepted: Connections so far.
    """

    def __init__(self, port: int, *, seed: int = 1) -> None:
        self.to_server = Direction(seed)
        self.to_client = Direction(seed + 1)
        self.hangs_up = False
        self.accepted = 0
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._links: list[_Link] = []
        self._acceptor = threading.Thread(target=self._accept, name="chaos-proxy")

    def __enter__(self) -> ChaosProxy:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE)
        self._listener.close()
        self.drop()
        for link in self._links:
            link.ended.set()
        self.to_server.flow()
        self.to_client.flow()
        self._join()

    def drop(self) -> None:
        """End every connection in order, on both sides."""
        for link in self._links:
            link.shut(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End every connection with a TCP reset, on both sides."""
        for link in self._links:
            link.linger_no_more()
            link.ended.set()
            # Wakes our own readers and tells the other side nothing yet.
            link.shut(socket.SHUT_RD)
        self._join()

    def _join(self) -> None:
        for link in self._links:
            for thread in link.threads:
                thread.join(PATIENCE)
                assert not thread.is_alive(), "the proxy did not end a connection"
        self._links.clear()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.hangs_up:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(_Link(client, server))

    def _start(self, link: _Link) -> None:
        for source, sink, direction in (
            (link.client, link.server, self.to_server),
            (link.server, link.client, self.to_client),
        ):
            thread = threading.Thread(
                target=self._pump,
                args=(link, source, sink, direction),
                name=f"chaos-proxy-{self.accepted}",
            )
            link.threads.append(thread)
        self._links.append(link)
        for thread in link.threads:
            thread.start()

    def _pump(
        self,
        link: _Link,
        source: socket.socket,
        sink: socket.socket,
        direction: Direction,
    ) -> None:
        try:
            while data := source.recv(65536):
                for piece in direction.pieces(data, link.ended):
                    sink.sendall(piece)
            if not link.ended.is_set():
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            link.shut(socket.SHUT_RDWR)
        finally:
            link.leave()
