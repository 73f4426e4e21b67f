"""What can be asked of a stream at any time."""

from __future__ import annotations

from typing import Literal

import attrs

from lasersell.stream.lanes import LaneStats

__all__ = ["State", "StreamStats"]

State = Literal["connecting", "live", "stale", "reconnecting", "closed", "failed"]


@attrs.frozen(kw_only=True)
class StreamStats:
    """A snapshot of a stream's counters. Times are in seconds unless named otherwise."""

    state: State
    frames_in: int
    """Frames received, all connections together."""
    bytes_in: int
    """Bytes received, TLS and upgrade not counted."""
    high: LaneStats
    low: LaneStats
    is_held_back: bool
    """Whether reading has stopped because the high lane is full."""
    reconnects: int
    """Connections after the first."""
    round_trip: float | None
    """Latest answer time of an application ping."""
    clock_offset_ms: float | None
    """The server's clock minus ours."""
    last_message_age: float | None
    """Time since the last byte; None before the first connection."""
