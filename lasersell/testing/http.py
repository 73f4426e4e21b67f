"""The little of HTTP that an upgrade to WebSocket needs, from either side."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from http import HTTPStatus

import attrs

__all__ = ["Head", "accept_key", "read_head", "response"]

HEAD_LIMIT = 65_536
"""Most bytes of a head that are taken."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@attrs.frozen
class Head:
    """
    The first line and the headers of a request or a response.

    Attributes:
        first: The first line.
        lines: The header lines, as they came.
    """

    first: str
    lines: tuple[str, ...]

    @classmethod
    def parse(cls, block: bytes) -> Head:
        """Read a head, with or without the empty line at its end."""
        first, *lines = block.decode("latin-1").rstrip("\r\n").split("\r\n")
        return cls(first, tuple(lines))

    def get(self, name: str) -> str:
        """Return the value of a header; empty if it is not there."""
        for line in self.lines:
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return ""

    @property
    def status(self) -> int:
        """The status of a response; 502 if it makes none."""
        status = self.first.split(" ")[1:2]
        return int(status[0]) if status and status[0].isdecimal() else 502

    def replacing(self, first: str, **headers: str | None) -> Head:
        """Return it with another first line and headers; None takes one away."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = [
            line
            for line in self.lines
            if line.partition(":")[0].strip().lower() not in names
        ]
        added = [f"{name}: {value}" for name, value in names.items() if value]
        return Head(first, (*kept, *added))

    def encode(self) -> bytes:
        """Return it as it goes over the wire."""
        return "\r\n".join((self.first, *self.lines, "", "")).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """
    Read a head; what follows it stays in the reader.

    Raises:
        ConnectionError: If the peer went away, or sends no end of it.
    """
    try:
        return Head.parse(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ConnectionError("no HTTP head came") from error


def response(status: int, headers: Mapping[str, str], body: str = "") -> bytes:
    """Return a whole response, after which the connection ends."""
    data = body.encode()
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(data)}", "connection: close"]
    return Head(f"HTTP/1.1 {status} {phrase}", tuple(lines)).encode() + data


def accept_key(key: str) -> str:
    """Return the proof of having read an upgrade (RFC 6455, section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
