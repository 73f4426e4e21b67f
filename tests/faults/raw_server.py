"""
A WebSocket server that does exactly what a script says, byte by byte.

Each connection runs one script in a thread of its own on a blocking socket, so a
script reads like the conversation it holds. It may end early, send anything, or
hold still; leaving the ``with`` block ends them all.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable

from tests.faults.wire import CLOSE, Frame, hello_frame, read_frame, upgrade_answer
from tests.patience import PATIENCE

__all__ = ["Peer", "RawServer", "Script", "answer", "drain", "live"]


class Peer:
    """
    The server's end of one connection.

    Attributes:
        sock: The socket, blocking; a script may do with it what it likes.
        number: 1 for the first connection, then counting up.
        stopping: Set when the server ends.
        request: The head of the upgrade request, once it was read.
    """

    def __init__(
        self, sock: socket.socket, number: int, stopping: threading.Event
    ) -> None:
        self.sock = sock
        self.number = number
        self.stopping = stopping
        self.request = b""

    def read_request(self) -> bytes:
        """Read and return the head of the upgrade request."""
        while not self.request.endswith(b"\r\n\r\n"):
            piece = self.sock.recv(4096)
            if not piece:
                raise ConnectionError("the client hung up before its request ended")
            self.request += piece
        return self.request

    def upgrade(self, *headers: str) -> None:
        """Let the client in."""
        self.send(upgrade_answer(self.read_request(), *headers))

    def greet(self, *, pnl_flush_ms: int = 100) -> Frame | None:
        """Let the client in, send ``hello_ok`` and return its ``configure``."""
        self.upgrade()
        self.send(hello_frame(self.number, pnl_flush_ms=pnl_flush_ms))
        return self.read()

    def send(self, *data: bytes) -> None:
        """Send bytes, all in one write."""
        self.sock.sendall(b"".join(data))

    def read(self) -> Frame | None:
        """Read one frame; None at the end of the stream."""
        return read_frame(self.sock)

    def drain(self) -> list[Frame]:
        """Read all frames until the client closes or is gone; return them."""
        frames: list[Frame] = []
        with contextlib.suppress(OSError):
            while (frame := self.read()) is not None:
                frames.append(frame)
                if frame.opcode == CLOSE:
                    break
        return frames

    def hold(self) -> None:
        """Do nothing until the server ends."""
        self.stopping.wait()

    def reset(self) -> None:
        """End the connection with a TCP reset instead of an orderly end."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.sock.close()


Script = Callable[[Peer], None]


def live(peer: Peer) -> None:
    """Greet, then read until the client is gone."""
    peer.greet()
    peer.drain()


def drain(peer: Peer) -> None:
    """Read until the client is gone, and never answer."""
    with contextlib.suppress(OSError):
        while peer.sock.recv(65536):
            pass


def answer(*data: bytes) -> Script:
    """Return a script that sends bytes after ``configure`` and waits for the end."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(*data)
        peer.drain()

    return script


class RawServer:
    """
    Listens on a free port while its ``with`` block runs.

    Args:
        scripts: What the first connection, the second, ... get; the last one stays.
        context: Makes it a TLS server, on ``localhost``.
        host: Address to listen on.

    Attributes:
        peers: Every connection so far.
        bad_handshakes: The TLS handshakes that failed.
    """

    def __init__(
        self,
        *scripts: Script,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.peers: list[Peer] = []
        self.bad_handshakes: list[OSError] = []
        self._scripts = scripts
        self._context = context
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._accept, name="raw-server", daemon=True)
        ]
        self._failure: BaseException | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint to give to a client."""
        if self._context is not None:
            return f"wss://localhost:{self.port}/v1/ws"
        return f"ws://127.0.0.1:{self.port}/v1/ws"

    def __enter__(self) -> RawServer:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End every connection and every thread; again does no harm."""
        self._stopping.set()
        self.stop_listening()
        self._threads[0].join(PATIENCE)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script did not end"

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, len(self.peers) + 1, self._stopping)
            self.peers.append(peer)
            thread = threading.Thread(
                target=self._run,
                args=(peer,),
                name=f"raw-server-{peer.number}",
                daemon=True,
            )
            thread.start()
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]

    def _run(self, peer: Peer) -> None:
        script = self._scripts[min(peer.number, len(self._scripts)) - 1]
        try:
            if self._context is not None and not self._secure(peer, self._context):
                return
            script(peer)
        except OSError:
            pass  # the client left in the middle of the script
        except BaseException as failure:  # noqa: BLE001 - fails the test, on exit
            self._failure = failure
        finally:
            peer.sock.close()

    def _secure(self, peer: Peer, context: ssl.SSLContext) -> bool:
        tls = context.wrap_socket(
            peer.sock, server_side=True, do_handshake_on_connect=False
        )
        peer.sock = tls
        try:
            tls.do_handshake()
        except OSError as error:
            self.bad_handshakes.append(error)
            return False
        return True
