"""
Echo what a server sends, through the transport, and judge nothing.

``python -m tests.conformance.autobahn_client URL`` has the fuzzing server of the
Autobahn test suite, which listens at that URL, run all its cases and write its
reports.

The transport hands out the texts of a batch in order and the binary messages
beside them, since the protocol has no use for any; so the order between a text
and a binary message that came together is lost. No case of Autobahn sends both
on one connection.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from lasersell._clock import Deadline
from lasersell.errors import NotConnectedError, StreamLostError
from lasersell.stream.frames import Opcode
from lasersell.stream.options import Secret, StreamOptions
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Wakeup

__all__ = ["AGENT", "echo", "run_cases"]

AGENT = "lasersell"
MAX_MESSAGE_BYTES = 16 << 20
PATIENCE = 60.0
"""Seconds that a server may be silent."""


def echo(url: str, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> StreamLostError:
    """
    Send every message of one connection back, and return why the connection ended.

    Raises:
        ConnectError: It did not come about.
        ConnectTimeoutError: The server was silent for a minute.
    """
    with _connected(url, max_message_bytes) as transport:
        try:
            while True:
                _echo_batch(transport)
        except StreamLostError as end:
            return end


def _echo_batch(transport: Transport) -> None:
    texts = transport.recv_batch(Deadline(PATIENCE))
    binaries, transport.binaries = transport.binaries, []
    # Nothing more can be said to a peer whose close came in the same batch.
    with contextlib.suppress(NotConnectedError):
        if texts:
            transport.send_texts(*texts)
    transport.post(Opcode.BINARY, *binaries)


@contextlib.contextmanager
def _connected(url: str, max_message_bytes: int) -> Iterator[Transport]:
    options = StreamOptions(
        api_key=Secret("for-conformance-only"),
        endpoint=url,
        max_message_bytes=max_message_bytes,
    )
    with contextlib.closing(Wakeup()) as wakeup:
        transport = Transport(options, wakeup, check_utf8=True)
        transport.open(Deadline(PATIENCE))
        try:
            yield transport
        finally:
            transport.dispose()


def run_cases(url: str) -> int:
    """
    Have a fuzzing server run all its cases on us and write its reports.

    Returns how many cases it has. Blocks for a minute per case at most; the 247
    cases on framing, UTF-8 and closing take 15 seconds together.
    """
    count = _ask_count(url)
    for case in range(1, count + 1):
        echo(f"{url}/runCase?case={case}&agent={AGENT}")
    echo(f"{url}/updateReports?agent={AGENT}")
    return count


def _ask_count(url: str) -> int:
    with _connected(f"{url}/getCaseCount", MAX_MESSAGE_BYTES) as transport:
        while not (texts := transport.recv_batch(Deadline(PATIENCE))):
            pass
        return int(texts[0])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.conformance.autobahn_client URL")
    print(f"{run_cases(sys.argv[1].rstrip('/'))} cases were run")
