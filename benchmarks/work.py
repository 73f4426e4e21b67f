"""
What the load server and one client do together; both get the same description.
"""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

import attrs

__all__ = ["Numbers", "Place", "Work"]

Numbers = dict[str, float]
"""What a job measured, by the names that its case gives units to."""


@attrs.frozen(kw_only=True)
class Work:
    """
    One piece of work. Each script and each job reads the fields it knows.

    Attributes:
        script: What the server does once the client is configured.
        positions: Positions it opens first.
        warm_up: Frames it sends before it waits to be told to go on.
        frames: Frames it sends then.
        mixed: Whether frames are of every type in turn, not ``pnl_update`` only.
        pnl_rate: ``pnl_update`` a second, under the exit signals.
        exits: Exit signals.
        interval_ms: Mean time between two exit signals, commands, or positions opened.
        step_ms: How long the consumer takes for each event.
        busy_threads: Pure-Python threads that compute all the time in the client.
        repeats: How often a job repeats what it measures.
        seconds: How long a job watches, or the deadline of positions.
    """

    script: str = "nothing"
    positions: int = 1
    warm_up: int = 0
    frames: int = 0
    mixed: bool = False
    pnl_rate: int = 0
    exits: int = 0
    interval_ms: float = 0.0
    step_ms: float = 0.0
    busy_threads: int = 0
    repeats: int = 1
    seconds: float = 0.0

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Work:
        return cls(**json.loads(text))


@attrs.frozen
class Place:
    """
    Where a client does its work: the load server's port, and which run this is.

    The second channel, plain HTTP, is what both sides use to say how far they are,
    so that no SDK's own sending is part of another measurement.
    """

    port: int
    run: int
    work: Work

    @property
    def endpoint(self) -> str:
        """The endpoint to give to a client."""
        query = f"run={self.run}&work={quote(self.work.to_json())}"
        return f"ws://127.0.0.1:{self.port}/v1/ws?{query}"

    def go(self) -> None:
        """Have the server go on."""
        self._ask("go")

    def done(self) -> Any:
        """Wait until the server is done; return what it measured itself."""
        return self._ask("done")

    def _ask(self, what: str) -> Any:
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(f"GET /{what}?run={self.run} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(4096), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])
