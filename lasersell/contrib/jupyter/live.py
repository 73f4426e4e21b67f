"""
A view of a session that is drawn over and over in one output of a notebook.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from types import TracebackType
from typing import Any
from uuid import uuid4

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from lasersell._threads import next_number, start_thread
from lasersell.contrib.jupyter.html import page
from lasersell.contrib.jupyter.views import (
    LINE_POINTS,
    event_line,
    position_row,
    positions_table,
    session_head,
)
from lasersell.errors import ConfigurationError
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.options import check_count, check_seconds

__all__ = ["LiveView", "live"]

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 4
"""Rows that are made without a pause: less than a millisecond of work."""
PAUSE_SEC = 0.001
"""A pause that lets other threads go on; a busy one costs an exit signal 5 ms."""
STOP_SEC = 2.0
"""Seconds to wait for a drawing under way."""


def live(
    session: StreamSession, *, rate: float = 4.0, events: int = 10, keep: bool = False
) -> LiveView:
    """
    Show a session in the output of this cell, drawn anew by a thread of its own.

    Positions with their profit lines, deadlines counting down, the latest events. It
    takes no event away from ``recv()`` or the callbacks::

        live(session)
        for event in session:
            ...

    It stops with the cell, the session or the kernel. As the last expression of a cell
    it keeps the cell running, until the session ends or you interrupt it.

    Args:
        session: What to show; the view does not keep it alive.
        rate: Drawings per second.
        events: Events below the positions.
        keep: Whether it goes on after the cell, until the session ends.

    Raises:
        ConfigurationError: This is no notebook, or an argument is wrong.
    """
    shell = get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        raise ConfigurationError(
            "live() draws into the output of a notebook's cell, and this is none; "
            "in a terminal print(session.positions())"
        )
    interval = 1.0 / check_seconds("rate", rate, 0.01)
    return LiveView(session, shell, interval, check_count("events", events), keep=keep)


class LiveView:
    """
    A view that is being drawn; made by :func:`live`. Any thread may use it.

    A context manager, whose end stops it.
    """

    def __init__(
        self,
        session: StreamSession,
        shell: InteractiveShell,
        interval: float,
        events: int,
        *,
        keep: bool,
    ) -> None:
        # Weakly: Out[...] may hold this, and a dropped session is to be collected.
        self._session = weakref.ref(session)
        self._shell = shell
        self._interval = interval
        self._display_id = uuid4().hex
        self._lines: dict[PositionHandle, _Line] = {}
        self._events: deque[StreamEvent] = deque(maxlen=events)
        self._stop = threading.Event()
        # Beside the thread: an interrupt in its join() may take it for ended, up to 3.12.
        self._has_stopped = threading.Event()
        self._publish(self._draw_at_once(session), update=False)
        self._observation = session.observe(self._events.append)
        try:
            if not keep:
                shell.events.register("post_run_cell", self._cell_ended)
            self._thread = start_thread(f"lasersell-live-{next_number()}", self._run)
        except BaseException:
            self._stop.set()
            self._let_go()
            raise

    def __repr__(self) -> str:
        return f"<LiveView, {'running' if self.is_running else 'stopped'}>"

    @property
    def is_running(self) -> bool:
        """Whether it is still drawn."""
        return not self._has_stopped.is_set()

    def stop(self) -> None:
        """Draw it a last time and stop; blocks 2 s at most. Again does no harm."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._has_stopped.wait(STOP_SEC)

    def wait(self, timeout: float | None = None) -> bool:
        """
        Block while it is drawn; Ctrl-C and the kernel's interrupt stop it.

        Args:
            timeout: Seconds; None waits until the session ends.

        Returns:
            Whether it has stopped.
        """
        try:
            return self._has_stopped.wait(timeout)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> LiveView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _ipython_display_(self) -> None:
        # The last expression of a cell is shown: what there is to show is the drawing.
        self.wait()

    def _cell_ended(self, _: object) -> None:
        self.stop()

    # The thread

    def _run(self) -> None:
        try:
            # A look now and then, which is what bounds the rate.
            while not self._stop.wait(self._interval):
                if not self._draw():
                    return
            self._draw()
        except Exception:
            log.exception("the live view failed and has stopped")
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._observation.stop()
        callbacks: list[Any] = self._shell.events.callbacks["post_run_cell"]
        if self._cell_ended in callbacks:
            self._shell.events.unregister("post_run_cell", self._cell_ended)
        self._has_stopped.set()

    def _draw(self) -> bool:
        """Draw it once; return whether there is more to come."""
        session = self._session()
        if session is None:
            return False
        is_over = session.state in ("closed", "failed")
        handles = session.positions()
        self._forget_all_but(handles)
        rows = []
        for number, handle in enumerate(handles, start=1):
            rows.append(self._row(session, handle))
            if number % ROWS_AT_ONCE == 0:
                self._stop.wait(PAUSE_SEC)
        self._publish(self._page(session, rows), update=True)
        return not is_over

    def _draw_at_once(self, session: StreamSession) -> str:
        rows = [self._row(session, handle) for handle in session.positions()]
        return self._page(session, rows)

    def _row(self, session: StreamSession, handle: PositionHandle) -> str:
        line = self._lines.get(handle)
        if line is None:
            line = self._lines[handle] = _Line()
        if handle.pnl_pct is not None:
            line.add(handle.pnl_pct)
        return position_row(handle, line.values, session.deadline_remaining(handle))

    def _forget_all_but(self, handles: list[PositionHandle]) -> None:
        if len(self._lines) > len(handles):
            for handle in self._lines.keys() - set(handles):
                del self._lines[handle]

    def _page(self, session: StreamSession, rows: list[str]) -> str:
        lines = "".join(event_line(event) for event in reversed(self._events.copy()))
        return page(session_head(session), positions_table(rows), lines)

    def _publish(self, html: str, *, update: bool) -> None:
        # Not display(), which asks every formatter for every MIME type.
        self._shell.display_pub.publish(
            {"text/html": html, "text/plain": "<a live view of a LaserSell session>"},
            transient={"display_id": self._display_id},
            update=update,
        )


class _Line:
    """Profits from the first to the latest, thinned so that they stay few."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._stride = 1
        self._skipped = 0

    def add(self, value: float) -> None:
        """Take the latest; the last value always is."""
        self._skipped += 1
        if self._skipped < self._stride:
            self.values[-1] = value
            return
        self._skipped = 0
        self.values.append(value)
        if len(self.values) > LINE_POINTS:
            self.values = self.values[::-2][::-1]
            self._stride *= 2
