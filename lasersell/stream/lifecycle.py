"""
Messages born on our side, delivered in band and in order with the server's.

Of one connection, :class:`Connected` comes first and :class:`Disconnected` last;
nothing of an old connection comes after its ``disconnected``.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from lasersell.protocol.client import ClientMessage

__all__ = [
    "CommandExpired",
    "Connected",
    "Disconnected",
    "ExitRequestUnanswered",
    "Fresh",
    "Gap",
    "LifecycleMessage",
    "PositionLost",
    "Resynced",
    "Stale",
    "Undecodable",
    "is_last",
]

RAW_LIMIT = 4096


@attrs.frozen(kw_only=True)
class Connected:
    """A connection is live: ``hello_ok`` was seen and ``configure`` written."""

    type: ClassVar[str] = "connected"

    number: int
    """Which connection of this stream it is, from 1."""
    attempts: int
    """How many tries it took, from 1."""


@attrs.frozen(kw_only=True)
class Disconnected:
    """A connection ended, or the server refused to take us back."""

    type: ClassVar[str] = "disconnected"

    cause: str
    """What happened, in words."""
    status: int | None = None
    """HTTP status, when the upgrade was refused."""
    code: str | None = None
    """Code of the server's ``error`` frame, when the configuration was refused."""
    close_code: int | None = None
    """WebSocket close code, when the peer sent one."""
    delay: float | None = None
    """Seconds until the next try; None when there is none."""


@attrs.frozen(kw_only=True)
class Gap:
    """The stream was away; whatever the server said meanwhile was not heard."""

    type: ClassVar[str] = "gap"

    from_ms: int
    """When the last connection ended, Unix epoch ms by our clock."""
    to_ms: int
    """When this one became live, Unix epoch ms by our clock."""
    attempts: int
    """How many tries it took, from 1."""
    restored: tuple[str, ...]
    """What the server was told again, such as ``strategy`` and ``wallets``."""


@attrs.frozen(kw_only=True)
class Stale:
    """The server has been silent for longer than ``stale_after``."""

    type: ClassVar[str] = "stale"

    silent_sec: float
    """Seconds since the last byte."""


@attrs.frozen(kw_only=True)
class Fresh:
    """The server speaks again after :class:`Stale`."""

    type: ClassVar[str] = "fresh"


@attrs.frozen(kw_only=True)
class PositionLost:
    """A position we knew was sold or replaced while we could not hear of it."""

    type: ClassVar[str] = "position_lost"

    position_id: int
    """Its last known id."""
    wallet_pubkey: str
    mint: str
    token_account: str
    reason: str
    """``replaced`` (another position took its account) or ``not_reemitted``."""


@attrs.frozen(kw_only=True)
class CommandExpired:
    """A command given while offline grew too old to be sent."""

    type: ClassVar[str] = "command_expired"

    command: ClientMessage
    held_sec: float
    """How long it was held, in seconds."""


@attrs.frozen(kw_only=True)
class ExitRequestUnanswered:
    """The exit of a position was asked for three times, and no signal came."""

    type: ClassVar[str] = "exit_request_unanswered"

    token_account: str
    asks: int
    """How often it was asked for."""


@attrs.frozen(kw_only=True)
class Undecodable:
    """A frame came that is no valid message; the connection stays."""

    type: ClassVar[str] = "undecodable"

    raw: bytes
    """The frame, cut at 4 KiB."""
    problem: str
    """Why it could not be read."""
    binary: bool = False
    """Whether it was a binary frame."""


@attrs.frozen
class Resynced:
    """
    The server has had its time to name what is still held.

    A word among our own threads, never delivered.
    """

    type: ClassVar[str] = "resynced"


LifecycleMessage = (
    Connected
    | Disconnected
    | Gap
    | Stale
    | Fresh
    | PositionLost
    | CommandExpired
    | ExitRequestUnanswered
    | Undecodable
    | Resynced
)


def is_last(message: object) -> bool:
    """Tell whether a message is the last of its connection."""
    return type(message) is Disconnected
