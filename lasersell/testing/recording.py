"""
A recorded session: a gzipped file of JSON lines, readable with ``zcat``.

The first line says what it is. Every other one is something that happened in one
connection, ``at`` seconds after the start: ``opened`` with the server's answer to
the upgrade, a frame ``from`` one side (``text`` if it is one, else its first byte
``head`` and its ``data`` in base64; ``head`` is null for bytes that are no frame),
and ``ended`` with who ended it and how.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

import attrs

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConfigurationError, DecodeError
from lasersell.stream.frames import Opcode
from lasersell.testing.frames import TEXT_HEAD, Frame

__all__ = [
    "Answer",
    "Ending",
    "RecordedConnection",
    "RecordedFrame",
    "Recording",
    "RecordingWriter",
    "Side",
]

Side = Literal["client", "server"]

_FORMAT = "lasersell-recording"
_VERSION = 1
_REMOVED = b"[removed]"


@attrs.frozen
class Answer:
    """
    A server's answer to the upgrade.

    Attributes:
        status: HTTP status; 101 let the client in.
        headers: Those that matter to a client that was refused.
        body: What came with a refusal.
    """

    status: int
    headers: dict[str, str] = attrs.field(factory=dict)
    body: str = ""


@attrs.frozen
class RecordedFrame:
    """
    A frame, and when it came.

    Attributes:
        at: Seconds since the start of the recording.
        side: Who sent it.
        frame: The frame.
    """

    at: float
    side: Side
    frame: Frame


@attrs.frozen
class Ending:
    """
    The end of a connection.

    Attributes:
        at: Seconds since the start of the recording.
        side: Who ended it.
        is_reset: Whether by a TCP reset.
    """

    at: float
    side: Side
    is_reset: bool = False


@attrs.define
class RecordedConnection:
    """
    One connection, from the upgrade to its end.

    Attributes:
        at: When it was opened, in seconds since the start of the recording.
        answer: What the server said to the upgrade.
        frames: What both sides sent, in order.
        ending: How it ended; None if the recording ended first.
    """

    at: float
    answer: Answer
    frames: list[RecordedFrame] = attrs.field(factory=list)
    ending: Ending | None = None

    @property
    def ended_by(self) -> Side | None:
        """Who wanted the end: who sent the first close frame, or else hung up."""
        for entry in self.frames:
            if entry.frame.opcode == Opcode.CLOSE:
                return entry.side
        return None if self.ending is None else self.ending.side

    def texts(self, side: Side) -> list[str]:
        """Return the texts one side sent, in order."""
        texts = (entry.frame.text for entry in self.frames if entry.side == side)
        return [text for text in texts if text is not None]


@attrs.define
class Recording:
    """
    All connections of a recorded session.

    Attributes:
        started_ms: When it was started, in Unix milliseconds.
        connections: Those that were opened, oldest first.
    """

    started_ms: int
    connections: list[RecordedConnection] = attrs.field(factory=list)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """
        Read a recording; one that was cut off ends where it was cut.

        Raises:
            DecodeError: If the file is no recording, or of a later version.
            OSError: If it cannot be read.
        """
        lines = _lines(path)
        head = next(lines, None)
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise DecodeError(f"{os.fspath(path)} is no recording of a stream")
        if head.get("version") != _VERSION:
            raise DecodeError(
                f"{os.fspath(path)} is of version {head.get('version')}, and this "
                f"library reads version {_VERSION}; use a later one"
            )
        connections: dict[int, RecordedConnection] = {}
        for entry in lines:
            try:
                _take(connections, entry)
            except (KeyError, TypeError, ValueError) as error:
                raise DecodeError(
                    f"{os.fspath(path)} has a line that cannot be read: {error!r}"
                ) from error
        return cls(int(head.get("started_ms", 0)), list(connections.values()))


def _lines(path: str | os.PathLike[str]) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        try:
            for line in file:
                yield json.loads(line)
        except (EOFError, json.JSONDecodeError):
            # The recorder was killed while it wrote; what is whole is good.
            return
        except (gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
            raise DecodeError(
                f"{os.fspath(path)} is no recording of a stream"
            ) from error


def _take(connections: dict[int, RecordedConnection], entry: dict[str, Any]) -> None:
    number, at = entry["connection"], float(entry["at"])
    if "opened" in entry:
        connections[number] = RecordedConnection(at, Answer(**entry["opened"]))
        return
    connection = connections[number]
    if "ended" in entry:
        connection.ending = Ending(at, **entry["ended"])
        return
    if "text" in entry:
        frame = Frame(TEXT_HEAD, entry["text"].encode())
    else:
        frame = Frame(entry["head"], base64.b64decode(entry["data"], validate=True))
    connection.frames.append(RecordedFrame(at, entry["from"], frame))


class RecordingWriter:
    """
    Writes a recording; one thread at a time may use it.

    Args:
        path: The file, which must not exist; only its owner may read it.

    Raises:
        ConfigurationError: If the file exists, or cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._raw = _create(Path(path))
        self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", filename="")
        self._started_at = SYSTEM_CLOCK.monotonic()
        self._secrets: set[bytes] = set()
        self._write(format=_FORMAT, version=_VERSION, started_ms=SYSTEM_CLOCK.wall_ms())

    def keep_out(self, secret: str) -> None:
        """Remove a text from everything written from now on."""
        if secret:
            self._secrets.add(secret.encode())

    def opened(self, connection: int, answer: Answer) -> None:
        """Write that a client asked for an upgrade, and what it was answered."""
        body = self._clean(answer.body.encode()).decode("utf-8", "replace")
        self._write_at(connection, opened=attrs.asdict(attrs.evolve(answer, body=body)))

    def frames(self, connection: int, side: Side, frames: Iterable[Frame]) -> None:
        """Write what one side sent."""
        for frame in frames:
            clean = attrs.evolve(frame, payload=self._clean(frame.payload))
            if side == "client" and frame.head is None:
                # Half a frame of a client is masked: no secret can be seen in it.
                clean = attrs.evolve(frame, payload=_REMOVED)
            if clean.text is not None:
                self._write_at(connection, **{"from": side}, text=clean.text)
            else:
                data = base64.b64encode(clean.payload).decode()
                self._write_at(connection, **{"from": side}, head=clean.head, data=data)

    def ended(self, connection: int, side: Side, *, is_reset: bool) -> None:
        """Write that one side ended the connection."""
        self._write_at(connection, ended={"side": side, "is_reset": is_reset})

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._file.flush()
        self._raw.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
        self._raw.close()

    def _clean(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret, _REMOVED)
        return data

    def _write_at(self, connection: int, **entry: object) -> None:
        at = round(SYSTEM_CLOCK.monotonic() - self._started_at, 6)
        self._write(connection=connection, at=at, **entry)

    def _write(self, **entry: object) -> None:
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")


def _create(path: Path) -> IO[bytes]:
    try:
        # Wallets and positions are nobody else's business.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists; recordings are not overwritten, choose another name"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot record into {path} ({error.strerror}); choose another place"
        ) from error
    return os.fdopen(number, "wb")
