"""
Events, positions and commands as bytes, between a publisher and its subscribers.

A message of the server travels as on the wire. A high event carries a record of its
position, so that a subscriber knows it without having seen anything before; a batch of
low ones carries only ids, and the connection they are good for.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from lasersell._decode import decode_json
from lasersell.errors import RelayError
from lasersell.protocol.codec import (
    decode_client_message,
    decode_server_message,
    encode_client_message,
    encode_server_message,
)
from lasersell.protocol.server import Limits, PositionOpened
from lasersell.session.events import EventFacts, EventMessage
from lasersell.session.positions import PositionHandle, Status
from lasersell.stream.lifecycle import (
    CommandExpired,
    Connected,
    Disconnected,
    ExitRequestUnanswered,
    Fresh,
    Gap,
    PositionLost,
    Stale,
    Undecodable,
)
from lasersell.stream.stats import State

__all__ = [
    "HighEntry",
    "LowEntry",
    "PositionRecord",
    "StreamState",
    "decode_message",
    "decode_record",
    "encode_message",
    "encode_record",
    "from_json",
    "opened_of",
    "record_of",
    "to_json",
]

_BORN_HERE: dict[str, type] = {
    kind.type: kind
    for kind in (
        Connected,
        Disconnected,
        Gap,
        Stale,
        Fresh,
        PositionLost,
        ExitRequestUnanswered,
        Undecodable,
    )
}
_KINDS_BORN_HERE = frozenset(_BORN_HERE.values())


class PositionRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """A position as its publisher knows it."""

    key: str
    """What tells it from every other position of the relay; survives publishers."""
    opened: msgspec.Raw
    """Its latest ``position_opened``, as on the wire."""
    position_id: int
    tokens: int
    epoch: str
    """The connection, of all publishers', that last named it; its id is of that one."""
    status: Status = "open"
    close_reason: str | None = None
    known: bool = True
    is_here: bool = True
    is_untracked: bool = False
    peak_profit_units: int | None = None
    attempts: list[tuple[int | None, int]] = []
    """Exit signals so far, by ladder level."""


class HighEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One event of the high lane."""

    message: msgspec.Raw
    arrived_ms: float
    """When the publisher got it, by the clock of Redis, Unix epoch ms."""
    epoch: str
    """The connection, of all publishers', that it came on."""
    born_here: str | None = None
    """The type, of a message that is not the server's."""
    server_ms: float | None = None
    """The same by the server's clock."""
    position: PositionRecord | None = None
    exit_attempt: int | None = None
    reopened: bool = False
    previous_position_id: int | None = None
    deadline_overdue: bool = False

    @property
    def facts(self) -> EventFacts:
        """What is true of the event."""
        return EventFacts(
            exit_attempt=self.exit_attempt,
            reopened=self.reopened,
            previous_position_id=self.previous_position_id,
            deadline_overdue=self.deadline_overdue,
        )


class LowEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """A batch of the low lane, of one connection."""

    messages: list[msgspec.Raw]
    arrived_ms: float
    epoch: str
    server_ms: float | None = None


class StreamState(msgspec.Struct, omit_defaults=True, gc=False):
    """How the publisher's stream is."""

    state: State
    publisher: str
    epoch: str
    """Its present connection."""
    session_id: int | None = None
    limits: Limits | None = None


def to_json(value: object) -> bytes:
    """Return a struct, or plain values, as JSON."""
    return msgspec.json.encode(value)


def from_json(raw: bytes, type: Any) -> Any:
    """
    Return what :func:`to_json` made.

    Raises:
        RelayError: It is something else; another version wrote it.
    """
    try:
        return decode_json(raw, type)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RelayError(
            f"Redis holds what this version cannot read ({error}); publisher and "
            "subscribers of a relay must run the same version of lasersell"
        ) from error


# Messages


def encode_message(message: EventMessage) -> tuple[bytes, str | None]:
    """
    Return a message as JSON, and its type if it is not the server's.

    Raises:
        ConfigurationError: It has a value that no wire can carry.
    """
    if isinstance(message, CommandExpired):
        command = msgspec.Raw(encode_client_message(message.command))
        fields = {"command": command, "held_sec": message.held_sec}
        return to_json(fields), message.type
    if type(message) in _KINDS_BORN_HERE:
        return to_json(attrs.asdict(message, recurse=False)), message.type
    return encode_server_message(message), None  # type: ignore[arg-type] # the rest


def decode_message(raw: bytes, born_here: str | None) -> EventMessage:
    """
    Return the message that :func:`encode_message` took.

    Raises:
        RelayError: Another version wrote it.
        DecodeError: It is no message of the server.
    """
    if born_here is None:
        return decode_server_message(raw)
    if born_here == CommandExpired.type:
        fields = from_json(raw, _Expired)
        return CommandExpired(
            command=decode_client_message(bytes(fields.command)),
            held_sec=fields.held_sec,
        )
    kind = _BORN_HERE.get(born_here)
    if kind is None:
        raise RelayError(
            f"this version knows no event {born_here!r}; publisher and subscribers of a "
            "relay must run the same version of lasersell"
        )
    message: EventMessage = from_json(raw, kind)
    return message


class _Expired(msgspec.Struct):
    command: msgspec.Raw
    held_sec: float


# Positions


def record_of(
    handle: PositionHandle, key: str, epoch: str, attempts: dict[int | None, int]
) -> PositionRecord:
    """Return a position as others must know it."""
    opened = attrs.evolve(
        handle.opened,
        # A handle made of an exit signal may have no id, which the wire cannot carry.
        position_id=max(0, handle.position_id),
        market_context=handle.market_context,
    )
    return PositionRecord(
        key=key,
        opened=msgspec.Raw(encode_server_message(opened)),
        position_id=handle.position_id,
        tokens=handle.tokens,
        epoch=epoch,
        status=handle.status,
        close_reason=handle.close_reason,
        known=handle.known,
        is_here=handle.is_here,
        is_untracked=handle.is_untracked,
        peak_profit_units=handle.peak_profit_units,
        attempts=list(attempts.items()),
    )


def encode_record(record: PositionRecord) -> bytes:
    """Return a record as JSON."""
    return to_json(record)


def decode_record(raw: bytes) -> PositionRecord:
    """
    Return a record.

    Raises:
        RelayError: Another version wrote it.
    """
    record: PositionRecord = from_json(raw, PositionRecord)
    return record


def opened_of(record: PositionRecord) -> PositionOpened:
    """
    Return the ``position_opened`` of a record.

    Raises:
        RelayError: It is something else.
    """
    opened = decode_server_message(bytes(record.opened))
    if not isinstance(opened, PositionOpened):
        raise RelayError(f"a record of a position holds a {opened.type}")
    return attrs.evolve(opened, position_id=record.position_id)
