"""
What a late joiner must know of a relay, read in one step.
"""

from __future__ import annotations

import attrs

from lasersell.relay.codec import PositionRecord, decode_record
from lasersell.relay.keys import Keys
from lasersell.relay.link import RedisLink
from lasersell.relay.scripts import SNAPSHOT

__all__ = ["Snapshot", "load_snapshot"]


@attrs.frozen(kw_only=True)
class Snapshot:
    """Everything a late joiner must know, and the entries that come after it."""

    high: bytes
    low: bytes
    sequence: int
    token: int
    state: bytes
    positions: tuple[PositionRecord, ...]
    latest: dict[str, bytes]


def load_snapshot(link: RedisLink, keys: Keys) -> Snapshot:
    """
    Return what Redis has of a relay.

    Raises:
        RelayConnectError: Redis is away.
        RelayError: Another version wrote it.
    """
    found = link.run(
        SNAPSHOT, [keys.meta, keys.positions, keys.latest, keys.high, keys.low], []
    )
    high, low, sequence, token, state, positions, latest = found
    return Snapshot(
        high=high,
        low=low,
        sequence=int(sequence),
        token=int(token),
        state=state,
        positions=tuple(decode_record(raw) for raw in positions[1::2]),
        latest=dict(zip((k.decode() for k in latest[::2]), latest[1::2], strict=True)),
    )
