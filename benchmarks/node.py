"""
A node that stamps each transaction when its last byte is here, in a process of its own.

It listens on a free port, which it prints, until its standard input ends. ``POST``
takes ``sendTransaction`` and answers with the signature; ``GET`` returns the stamps, in
nanoseconds of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen

from solders.signature import Signature

from benchmarks.measure import spread
from benchmarks.work import Numbers

__all__ = ["Node", "main", "sale_times"]

_ROOT = Path(__file__).resolve().parent.parent


class Node:
    """The node's process, while its ``with`` block runs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.node"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def stamps(self) -> list[int]:
        """Return when each transaction was here, in monotonic nanoseconds."""
        with urlopen(self.url) as answer:
            stamps: list[int] = json.load(answer)
        return stamps


def sale_times(sent: list[int], received: list[int], arrived: list[int]) -> Numbers:
    """
    Return how long sales took, in us.

    Args:
        sent: When the server sent each signal, in monotonic nanoseconds.
        received: When the client had it.
        arrived: When the node had the transaction.
    """
    whole = [(end - start) / 1000 for start, end in zip(sent, arrived, strict=True)]
    sale = [(end - start) / 1000 for start, end in zip(received, arrived, strict=True)]
    return {
        "signal_p50_us": spread(whole, "us")["p50_us"],
        "sale_p50_us": spread(sale, "us")["p50_us"],
        "sale_p99_us": spread(sale, "us")["p99_us"],
    }


def _serve(sock: socket.socket, stamps: list[int]) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        while (request := _read(sock)) is not None:
            head, body = request
            now = time.monotonic_ns()
            if head.startswith(b"GET"):
                answer = json.dumps(stamps)
            else:
                answer = _answer(json.loads(body))
                # What keeps a connection warm is no transaction.
                if "result" in answer and b"sendTransaction" in body:
                    stamps.append(now)
            sock.sendall(_response(answer.encode()))
            if b"connection: close" in head.lower():
                return


def _read(sock: socket.socket) -> tuple[bytes, bytes] | None:
    """Return head and body of the next request; None if the client has left."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = _length(head)
    while len(body) < length:
        body += sock.recv(65536)
    return head, body


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _answer(call: dict[str, object]) -> str:
    params = call.get("params")
    result = "ok"
    if call["method"] == "sendTransaction" and isinstance(params, list):
        raw = base64.b64decode(params[0])
        result = str(Signature.from_bytes(raw[1:65]))
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result})


def _response(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def main() -> None:
    stamps: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve, args=(sock, stamps), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
