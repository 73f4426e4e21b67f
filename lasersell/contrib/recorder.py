"""
The profit of each position over time, and what happened to it, in bounded memory.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, NamedTuple

import attrs

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConfigurationError
from lasersell.protocol.server import ExitSignalWithTx, PnlUpdate, PositionClosed
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.lifecycle import PositionLost
from lasersell.stream.options import check_count

__all__ = ["Moment", "PnlPoint", "PnlRecorder", "PositionHistory", "What", "recorded"]

What = Literal["opened", "reopened", "exit_signal", "closed", "lost"]

_WHAT: dict[str, What] = {
    "position_opened": "opened",
    "exit_signal_with_tx": "exit_signal",
    "position_closed": "closed",
    "position_lost": "lost",
}

_running: weakref.WeakSet[PnlRecorder] = weakref.WeakSet()


class PnlPoint(NamedTuple):
    """One ``pnl_update``."""

    at_ms: int
    """By the server's clock, Unix epoch ms."""
    profit_units: int
    """In atomic units of the quote asset."""
    proceeds_units: int
    """In atomic units of the quote asset."""


@attrs.frozen(kw_only=True)
class Moment:
    """Something that happened to a position."""

    what: What
    at_ms: int
    """By the server's clock where that is known, Unix epoch ms."""
    position_id: int
    """Its id on the connection of the moment."""
    profit_units: int | None = None
    """Profit at that moment, in atomic units of the quote asset."""
    reason: str | None = None
    """Of an exit signal and of an end: why."""
    level_index: int | None = None
    """Of an exit signal: the level of the ladder; None is the whole position."""
    exit_attempt: int | None = None
    """Of an exit signal: 2 and up replaces the one before."""
    sell_tokens: int | None = None
    """Of an exit signal: how much it sells, in token atomic units; None is all."""
    age_ms: float | None = None
    """Of an exit signal: from the trigger to its arrival here."""


class PositionHistory:
    """What is known of one position over time; snapshots may be taken in any thread."""

    def __init__(
        self,
        handle: PositionHandle,
        number: int,
        capacity: int,
        opened_at_ms: int | None,
    ) -> None:
        self.handle = handle
        self.number = number
        """Which position of the recorder it is, from 0."""
        self._points: deque[PnlPoint] = deque(maxlen=capacity)
        self._moments: deque[Moment] = deque(maxlen=capacity)
        if opened_at_ms is not None:
            self._moments.append(
                Moment(
                    what="opened",
                    at_ms=opened_at_ms,
                    position_id=handle.position_id,
                    profit_units=0,
                )
            )

    def __repr__(self) -> str:
        return f"<PositionHistory of {self.handle!r}, {len(self._points)} points>"

    @property
    def points(self) -> list[PnlPoint]:
        """The latest profits, oldest first; a copy."""
        return list(self._points)

    @property
    def moments(self) -> list[Moment]:
        """What happened, oldest first; a copy."""
        return list(self._moments)

    def take(self, event: StreamEvent) -> None:
        """Note one event of the position."""
        message = event.message
        if isinstance(message, PnlUpdate):
            self._points.append(
                PnlPoint(
                    message.server_time_ms, message.profit_units, message.proceeds_units
                )
            )
        elif event.type in _WHAT:
            moment = self._moment(event)
            # The opening may be known already, from the session's positions.
            if moment.what != "opened" or not self._moments:
                self._moments.append(moment)

    def _moment(self, event: StreamEvent) -> Moment:
        message, handle = event.message, self.handle
        moment = Moment(
            what="reopened" if event.reopened else _WHAT[event.type],
            at_ms=_time_of(event),
            position_id=handle.position_id,
            profit_units=handle.profit_units,
        )
        if isinstance(message, ExitSignalWithTx):
            return attrs.evolve(
                moment,
                profit_units=message.profit_units,
                reason=message.reason,
                level_index=message.level_index,
                exit_attempt=event.exit_attempt,
                sell_tokens=message.sell_tokens,
                age_ms=event.age_ms,
            )
        if isinstance(message, PositionClosed | PositionLost):
            return attrs.evolve(moment, reason=message.reason)
        return attrs.evolve(moment, profit_units=0)


class PnlRecorder:
    """
    Records a session from now on, until it ends or :meth:`stop`; a context manager.

    It sees every profit, also those that the lane drops, and takes none away from
    ``recv()``. It does not keep the session alive. A position is followed through
    reconnects; times are the server's. Any thread may call any method; none blocks.

    Args:
        session: What to record.
        capacity: The latest profits that are kept of each position; at ten a second
            the default is a quarter of an hour, in 1.5 MB.
        positions: Positions that are kept, the open ones and the latest closed.

    Raises:
        ConfigurationError: A bound is not a whole number from 1.
    """

    def __init__(
        self, session: StreamSession, *, capacity: int = 10_000, positions: int = 1_000
    ) -> None:
        self._capacity = check_count("capacity", capacity)
        self._positions_kept = check_count("positions", positions)
        # Guards the dictionary and the number; held for steps on them only.
        self._mutex = threading.Lock()
        self._histories: dict[PositionHandle, PositionHistory] = {}
        self._seen = 0
        self._observation = session.observe(self._take, low=True)
        for handle in session.positions():
            self._history_of(handle, is_new=False)
        _running.add(self)

    def __repr__(self) -> str:
        state = "recording" if self._observation.is_active else "stopped"
        return f"<PnlRecorder of {len(self._histories)} positions, {state}>"

    @property
    def dropped(self) -> int:
        """Events that came too fast to be recorded; 0 unless the process is starved."""
        return self._observation.dropped

    def histories(self) -> list[PositionHistory]:
        """Return what was recorded, in the order the positions were first seen."""
        with self._mutex:
            return list(self._histories.values())

    def find(self, handle: PositionHandle) -> PositionHistory | None:
        """Return what was recorded of a position; None if nothing was."""
        return self._histories.get(handle)

    def history(self, position: PositionHandle | int | str) -> PositionHistory:
        """
        Return what was recorded of one position, the latest if several match.

        Args:
            position: A handle, an id it had last, or a token account.

        Raises:
            ConfigurationError: Nothing was.
        """
        for history in reversed(self.histories()):
            handle = history.handle
            if position in (handle, handle.position_id, handle.token_account):
                return history
        raise ConfigurationError(f"no position {position!r} was recorded")

    def stop(self) -> None:
        """Record no more; what was recorded stays. Again does no harm."""
        self._observation.stop()

    def __enter__(self) -> PnlRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _take(self, event: StreamEvent) -> None:
        handle = event.handle
        if handle is not None:
            is_new = event.type == "position_opened"
            self._history_of(handle, is_new=is_new).take(event)

    def _history_of(self, handle: PositionHandle, *, is_new: bool) -> PositionHistory:
        history = self._histories.get(handle)
        if history is not None:
            return history
        opened_at_ms = None
        if handle.known and not is_new:
            opened_at_ms = handle.opened_at_ms or SYSTEM_CLOCK.wall_ms()
        with self._mutex:
            history = PositionHistory(handle, self._seen, self._capacity, opened_at_ms)
            kept = self._histories.setdefault(handle, history)
            if kept is history:
                self._seen += 1
                self._forget()
        return kept

    def _forget(self) -> None:
        """Make room; the caller holds the lock."""
        excess = len(self._histories) - self._positions_kept
        if excess <= 0:
            return
        over = [handle for handle in self._histories if not handle.is_open]
        oldest = over or list(self._histories)
        for handle in oldest[:excess]:
            del self._histories[handle]


def recorded(handle: PositionHandle) -> Sequence[PnlPoint]:
    """Return what some recorder of this process has of a position; empty if none has."""
    for recorder in list(_running):
        history = recorder.find(handle)
        if history is not None:
            return history.points
    return ()


def _time_of(event: StreamEvent) -> int:
    message = event.message
    stated: int | None = getattr(
        message, "triggered_at_ms", getattr(message, "opened_at_ms", None)
    )
    # A position that is named again says when it was opened, which is not now.
    if stated is not None and not event.reopened:
        return stated
    arrived = event.arrival.server_ms
    return SYSTEM_CLOCK.wall_ms() if arrived is None else round(arrived)
