"""A client that shares no code with the server: websocket-client and json."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import websocket

from lasersell.sim import SimServer

__all__ = ["OTHER", "WALLET", "Foreign", "connected", "refused_status"]

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
OTHER = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"

_TIMEOUT = 10


class Foreign:
    """One connection, message by message, as decoded JSON."""

    def __init__(self, url: str, key: str | None) -> None:
        header = {} if key is None else {"x-api-key": key}
        self.socket = websocket.create_connection(url, header=header, timeout=_TIMEOUT)

    def recv(self) -> Any:
        """Return the next message."""
        return json.loads(self.socket.recv())

    def recv_many(self, number: int) -> list[Any]:
        """Return the next ``number`` messages."""
        return [self.recv() for _ in range(number)]

    def recv_type(self, type: str) -> Any:
        """Return the next message of a type, passing over others."""
        while (message := self.recv())["type"] != type:
            pass
        return message

    def send(self, type: str, **fields: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps({"type": type, **fields}))

    def configure(self, *wallets: str, **strategy: float) -> None:
        """Send ``configure``, with a target of 5 % and no stop unless told otherwise."""
        self.send(
            "configure",
            wallet_pubkeys=wallets or [WALLET],
            strategy={"target_profit_pct": 5, "stop_loss_pct": 0, **strategy},
        )

    def recv_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame, whatever it is."""
        frame = self.socket.recv_frame()  # type: ignore[no-untyped-call]
        return frame.opcode, frame.data

    def skim_to(self, text: bytes) -> bytes:
        """Return all raw bytes until a text has come; much faster than frame by frame."""
        assert self.socket.sock is not None
        skimmed = bytearray()
        while text not in skimmed[-(1 << 20) - len(text) :]:
            data = self.socket.sock.recv(1 << 20)
            assert data, f"the end came before {text!r}"
            skimmed += data
        return bytes(skimmed)

    def is_pinged(self) -> bool:
        """Ping the protocol, and tell whether the pong is the next thing that comes."""
        self.socket.ping("are you there")
        return self.recv_frame() == (websocket.ABNF.OPCODE_PONG, b"are you there")

    def hang_up(self) -> None:
        """End the connection without a word."""
        self.socket.shutdown()  # type: ignore[no-untyped-call]

    def close_code(self) -> int | None:
        """Read to the end; return the server's close code, None without a close frame."""
        while True:
            try:
                opcode, data = self.socket.recv_data()
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                return None
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big")


@contextlib.contextmanager
def connected(sim: SimServer, key: str | None = "a-key") -> Iterator[Foreign]:
    """Connect to a server, and disconnect in the end."""
    client = Foreign(sim.url, key)
    try:
        yield client
    finally:
        client.hang_up()


def refused_status(sim: SimServer, key: str | None = "a-key") -> int:
    """Connect in vain; return the HTTP status."""
    try:
        with connected(sim, key):
            return 101
    except websocket.WebSocketBadStatusException as error:
        return error.status_code
