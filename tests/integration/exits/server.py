"""
An HTTP server on this machine that does what a test says, and counts connections.
"""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from tests.patience import PATIENCE

__all__ = ["Answer", "Request", "Server", "running"]


@attrs.frozen
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@attrs.frozen
class Answer:
    """What to answer."""

    body: Any = attrs.field(factory=dict)
    """JSON, or bytes as they are."""
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    breaks_off: bool = False
    """Whether to close the connection without a word."""
    hangs: bool = False
    """Whether to say nothing until the server ends."""
    trickles: bool = False
    """Whether to send one byte at a time, for ever."""
    closes: bool = False
    """Whether to close the connection after the answer, without saying so."""
    raw: bytes | None = None
    """What to send in place of a response, before the connection is closed."""
    withheld: int = 0
    """How many bytes to announce beyond those that are sent."""

    def encoded(self) -> bytes:
        """Return the body as bytes."""
        body = self.body
        return body if isinstance(body, bytes) else json.dumps(body).encode()


Script = Callable[[Request], Answer]


class Server:
    """
    The running server.

    Attributes:
        requests: All that came, in order.
        connections: How many were opened.
        script: What decides the answers; may be replaced at any time.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.arrived: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.connections = 0
        self.closed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.ended = threading.Event()
        self._server = _HttpServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._server.context = context
        self.scheme = "http" if context is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        host = "127.0.0.1" if self.scheme == "http" else "localhost"
        return f"{self.scheme}://{host}:{self.port}"

    def answers(self, *answers: Answer) -> None:
        """Give these answers in turn, the last one again and again."""
        left = list(answers)
        self.script = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def wait_for(self, count: int) -> None:
        """Wait until that many requests have come."""
        while len(self.requests) < count:
            self.arrived.get(timeout=PATIENCE)

    def wait_for_a_close(self) -> None:
        """Wait until a connection was closed on this side."""
        self.closed.get(timeout=PATIENCE)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """End whatever hangs, and the server."""
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    context: ssl.SSLContext | None = None
    owner: Server

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.owner.closed.put(None)

    def get_request(self) -> tuple[Any, Any]:
        sock, address = super().get_request()
        if self.context is not None:
            sock = self.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        return sock, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that gives up is what some of the tests are about.
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections += 1

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        owner = self.server.owner
        answer = owner.script(request)
        owner.requests.append(request)
        owner.arrived.put(request)
        self.give(answer)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names of the base

    def give(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.hangs:
            self.server.owner.ended.wait(PATIENCE)
        elif answer.trickles:
            self.trickle()
        elif answer.raw is not None:
            self.wfile.write(answer.raw)
        elif not answer.breaks_off:
            self.respond(answer)

    def respond(self, answer: Answer) -> None:
        body = answer.encoded()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) + answer.withheld))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = answer.closes

    def trickle(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        # The pace of the bytes: always within the time-out of a single read.
        while not self.server.owner.ended.wait(0.02):
            self.wfile.write(b".")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running(
    *answers: Answer,
    script: Script | None = None,
    context: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Run a server that gives these answers in turn, or follows a script."""
    server = Server(script or (lambda _: Answer()), context)
    if answers:
        server.answers(*answers)
    server.start()
    try:
        yield server
    finally:
        server.close()
