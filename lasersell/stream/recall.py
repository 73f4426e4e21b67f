"""
What the server forgets with each connection, and when it is told again.

Has no socket and no thread: the supervisor calls it, and does what it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lasersell.protocol.client import ClientMessage, Configure
from lasersell.protocol.server import ExitSignalWithTx, PositionClosed, PositionOpened
from lasersell.stream.intent import Intent, Report

__all__ = ["Recall"]


class Recall:
    """
    The intent under its lock, and the resync after a reconnect.

    A resync is the time that the server has to name what is still held. It ends
    after a window of quiet: since the reconnect, the last position named again,
    or the last time the reader could not read, whichever is latest.

    Any thread may call any method; none blocks. ``now`` is monotonic seconds,
    names in ``_ms`` are Unix epoch ms by the server's clock.

    Args:
        intent: What the server must be told.
        resync_window: Seconds of quiet after which a position that the server did
            not name again counts as gone.
    """

    def __init__(self, intent: Intent, resync_window: float) -> None:
        self.intent = intent
        # Guards the intent, which users change and the reader and the supervisor
        # read, and the resync. Held for a few dictionary steps; no I/O under it.
        self.lock = threading.Lock()
        self._window = resync_window
        self._resync_from: float | None = None

    # Connections

    def configure(self) -> Configure:
        """Return the ``configure`` that says what is wanted now."""
        with self.lock:
            return self.intent.configure()

    def connected(self, now: float, server_ms: float, *, again: bool) -> None:
        """Take note of a live connection; ``again`` says that it is not the first."""
        with self.lock:
            self.intent.recognition.live_since_ms = server_ms
            self._resync_from = now if again else None

    def news_since(
        self, told: Configure
    ) -> tuple[list[Callable[[], ClientMessage]], list[ClientMessage]]:
        """
        Return what the user wants that a ``configure`` did not say.

        The first are made in sending order, see :meth:`Intent.updates_since`.
        """
        with self.lock:
            return self.intent.updates_since(told), self.intent.take_mirror_results()

    def disconnected(self, heard_until_ms: float | None) -> None:
        """Take note that the connection is over, and of when it was last heard."""
        with self.lock:
            self.intent.recognition.heard_until_ms = heard_until_ms
            self.intent.disconnected()
            self._resync_from = None

    # What the server says, in the reader's thread

    def opened(
        self, message: PositionOpened, now: float
    ) -> tuple[list[ClientMessage], list[Report]]:
        """Take note of a position; return what to tell the server, and what is given up."""
        with self.lock:
            if self._resync_from is not None and self.intent.is_reemitted(message):
                self._resync_from = now
            return self.intent.opened(message, now)

    def closed(self, message: PositionClosed) -> None:
        """Take note that a position is over, or no longer tracked."""
        with self.lock:
            self.intent.closed(message)

    def exit_signalled(self, message: ExitSignalWithTx) -> None:
        """Take note of an exit."""
        with self.lock:
            self.intent.exit_signalled(message)

    def resynced(self, now: float) -> list[Report]:
        """Give up what was not named again; return what that costs the user."""
        with self.lock:
            return self.intent.resynced(now)

    # Time

    def next_due(self, *, is_live: bool) -> float | None:
        """Return when :meth:`due` or :meth:`ends_resync` has something to do; None if nothing."""
        with self.lock:
            due = self.intent.next_due(is_live=is_live)
            if self._resync_from is None:
                return due
            end = self._resync_from + self._window
            return end if due is None else min(due, end)

    def due(
        self, now: float, *, is_live: bool
    ) -> tuple[list[ClientMessage], list[Report]]:
        """Return what to tell the server by now, and what is given up."""
        with self.lock:
            return self.intent.due(now, is_live=is_live)

    def ends_resync(self, now: float, busy_until: float) -> bool:
        """
        Tell, once, that the server has had its time to name what is still held.

        Args:
            now: The present.
            busy_until: Until when the reader could not read: what the server said
                may still lie unread in the socket.
        """
        with self.lock:
            if self._resync_from is None:
                return False
            self._resync_from = max(self._resync_from, busy_until)
            # Compared as next_due() says it: rounded otherwise, it could spin.
            if now < self._resync_from + self._window:
                return False
            self._resync_from = None
            return True
