"""
A program that forks while its stream is live, and whose child ends as scripts do.

Run as ``python -m tests.faults.fork_program``; the parent prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings

from tests.faults.client import connect, wait_for
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import Frame, event, event_number

__all__: list[str] = []


def main() -> None:
    """Fork, let the child run off its end, and see that the stream still works."""
    speak = threading.Event()
    frames: list[Frame] = []

    def script(peer: Peer) -> None:
        peer.greet()
        speak.wait(10)
        peer.send(event(8))
        frames.extend(peer.drain())

    server = RawServer(script)
    server.__enter__()
    connection = connect(server.endpoint)
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
    child = os.fork()
    if child == 0:
        sys.exit()  # runs the exit hooks, and collects what is left
    _, status = os.waitpid(child, 0)
    speak.set()
    number = event_number(wait_for(connection, "pong"))
    connection.close()
    server.stop()
    report = {"child": status, "event": number, "sent": [f.opcode for f in frames]}
    print(json.dumps(report), flush=True)  # noqa: T201 - the answer to the test


if __name__ == "__main__":
    main()
