"""
Which position a message is about, and whether it is one already known. Pure.

An id is good for one connection. Over a reconnect a position is known by its
token account, and told from its successor on the same account by its facts.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    PositionClosed,
    PositionOpened,
)

__all__ = ["TOMBSTONE_SEC", "Frame", "Recognition", "is_about"]

TOMBSTONE_SEC = 600.0
"""For this long a lost position can be revived by a late re-emission."""

Frame: TypeAlias = PositionClosed | ExitSignalWithTx | BalanceUpdate


def is_about(frame: Frame, opened: PositionOpened, *, is_here: bool) -> bool:
    """
    Tell whether nothing in a frame contradicts that it is about a position.

    Money hangs on it: a frame whose id is right but whose token is not is not
    believed. And a close is of the position with its id: one with another id on
    the same account has come after it.

    Args:
        frame: What names a position.
        opened: The latest ``position_opened`` of the position.
        is_here: Whether that came on the present connection; if not, its id means
            nothing.
    """
    if (frame.wallet_pubkey, frame.mint) != (opened.wallet_pubkey, opened.mint):
        return False
    if frame.token_account not in (None, opened.token_account):
        return False
    if isinstance(frame, PositionClosed) and is_here:
        return frame.position_id == opened.position_id
    return True


def _repeats_opening(before: PositionOpened, after: PositionOpened) -> bool:
    if after.opened_at_ms is not None and after.opened_at_ms == before.opened_at_ms:
        return True
    return after.slot == before.slot


def _repeats_cost(before: PositionOpened, after: PositionOpened) -> bool:
    return (
        after.entry_quote_units == before.entry_quote_units
        and after.tokens <= before.tokens
    )


@attrs.define
class Recognition:
    """
    Tells a position that is named again from its successor on the same account.

    The intent and the book of positions share one, so that they agree. Written
    while no reader lives. Times are Unix epoch ms by the server's clock; None is
    not known.
    """

    heard_until_ms: float | None = None
    """When the last connection was last heard."""
    live_since_ms: float | None = None
    """When the present one began."""

    def is_same(
        self,
        before: PositionOpened,
        after: PositionOpened,
        *,
        is_here: bool,
        is_over: bool = False,
        heard_until_ms: float | None = None,
    ) -> bool:
        """
        Tell whether ``after``, on the same token account, is the position of ``before``.

        On one connection the id tells. Over a reconnect, which field a server
        repeats is not documented, so any of three will do: the time of opening,
        the slot, or the cost with no more tokens than before. The cost alone is
        weak, since many buy for the same amount each time: it does not count
        where the time of opening shows that this one was bought later.

        Args:
            before: The latest ``position_opened`` of the known position.
            after: The one that has come now.
            is_here: Whether ``before`` came on the present connection too.
            is_over: Whether the known position was closed or given up since.
            heard_until_ms: When the connection that last named it was last heard; it
                need not be the last one.
        """
        if (before.wallet_pubkey, before.mint) != (after.wallet_pubkey, after.mint):
            return False
        if is_here and not is_over:
            return before.position_id == after.position_id
        if _repeats_opening(before, after):
            return True
        return (
            not is_here
            and _repeats_cost(before, after)
            and not self._was_bought_later(before, after, is_over, heard_until_ms)
        )

    def _was_bought_later(
        self,
        before: PositionOpened,
        after: PositionOpened,
        is_over: bool,
        heard_until_ms: float | None,
    ) -> bool:
        opened_at = after.opened_at_ms
        if before.opened_at_ms is None or opened_at is None:
            return False
        if is_over:
            return True
        # A server that stamps its re-emissions anew stamps them with a later time.
        return (
            heard_until_ms is not None
            and self.live_since_ms is not None
            and heard_until_ms < opened_at < self.live_since_ms
        )
