"""
Positions over a change of publisher: the same position keeps its key. Pure.

A new publisher has a new session, to which every position is new. What the one before
knew is in Redis, so that subscribers see what they would see after a reconnect: positions
that are reopened, and some that are lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import attrs

from lasersell.errors import DecodeError, RelayError
from lasersell.protocol.server import PositionOpened
from lasersell.relay.codec import PositionRecord, opened_of
from lasersell.session.positions import PositionHandle
from lasersell.stream.recognition import Recognition

__all__ = ["Continuity", "Known"]

OVER_KEPT = 1024
"""Positions that are over and still remembered, for a late event of them."""


@attrs.frozen
class Known:
    """What a publisher knows of a position beyond its handle."""

    key: str
    previous: PositionRecord | None = None
    """What the publisher before knew of it."""

    def attempts(self, of_this: Mapping[int | None, int]) -> dict[int | None, int]:
        """Return the exit signals by level, those of the publishers before included."""
        before = {} if self.previous is None else dict(self.previous.attempts)
        return {
            level: before.get(level, 0) + of_this.get(level, 0)
            for level in (*before, *(level for level in of_this if level not in before))
        }


class Continuity:
    """
    Gives each position its key.

    Args:
        source: What makes new keys unlike those of any other publisher.
        previous: The records that the publisher before left.
    """

    def __init__(self, source: str, previous: Iterable[PositionRecord] = ()) -> None:
        self._source = source
        self._count = 0
        self._known: dict[PositionHandle, Known] = {}
        self._over: OrderedDict[PositionHandle, None] = OrderedDict()
        self._orphans: dict[str, tuple[PositionOpened, PositionRecord]] = {}
        for record in previous:
            try:
                opened = opened_of(record)
            except (RelayError, DecodeError):
                continue  # another version wrote it; the position will be a new one
            self._orphans[opened.token_account] = (opened, record)

    def opened(
        self, handle: PositionHandle, message: PositionOpened
    ) -> tuple[Known, bool, PositionRecord | None]:
        """
        Take a ``position_opened``.

        Returns:
            What is known of it; whether the publisher before had it and this one names
            it for the first time; and the record of another one that must have gone from
            its account.
        """
        if handle in self._known:
            self._over.pop(handle, None)
            return self._known[handle], False, None
        account = message.token_account
        former, record = self._orphans.pop(account, (None, None))
        if (
            former is not None
            and record is not None
            and Recognition().is_same(former, message, is_here=False)
        ):
            known = self._known[handle] = Known(record.key, record)
            return known, True, None
        return self.known(handle), False, record

    def known(self, handle: PositionHandle) -> Known:
        """Return what is known of a position; a new key if nothing is."""
        known = self._known.get(handle)
        if known is None:
            self._count += 1
            known = self._known[handle] = Known(f"{self._source}.{self._count}")
        if not handle.is_open or not handle.known:
            self._bury(handle)
        return known

    def _bury(self, handle: PositionHandle) -> None:
        self._over[handle] = None
        if len(self._over) > OVER_KEPT:
            oldest, _ = self._over.popitem(last=False)
            self._known.pop(oldest, None)

    def give_up(self) -> list[tuple[PositionOpened, PositionRecord]]:
        """Return the positions that this publisher's stream has not named; forget them."""
        orphans = list(self._orphans.values())
        self._orphans.clear()
        return orphans

    @property
    def is_settled(self) -> bool:
        """Whether no position of the publisher before is left."""
        return not self._orphans
