"""
``%load_ext lasersell``: rich views, and cells that may be run again.

A name that a cell binds to a session still holds the former one while the cell runs
again, and so may ``_`` and ``Out``; the new connection would be one too many for the
service, or for ``exclusive=True``. So what a cell connected is closed when that cell
starts again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lasersell.contrib.jupyter.views import (
    event_html,
    position_html,
    positions_html,
    recorder_html,
    session_html,
    stats_html,
)
from lasersell.contrib.recorder import PnlRecorder
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.client import CLOSE_TIMEOUT
from lasersell.stream.stats import StreamStats
from lasersell.stream.supervisor import Supervisor, open_streams

__all__ = ["CellStreams", "load_ipython_extension", "unload_ipython_extension"]

Streams = weakref.WeakSet[Supervisor[Any]]


def _list_html(values: list[Any]) -> str | None:
    """Return a list of positions as a table; None for any other list."""
    if values and all(isinstance(value, PositionHandle) for value in values):
        return positions_html(values)
    return None


_VIEWS: Mapping[type, Callable[[Any], str | None]] = {
    StreamSession: session_html,
    PositionHandle: position_html,
    StreamEvent: event_html,
    StreamStats: stats_html,
    PnlRecorder: recorder_html,
    list: _list_html,
}


class CellStreams:
    """
    Closes the streams that a cell opened, when it starts again.

    A cell is known by its id, or where the frontend sends none by its text. Streams
    that other threads open while a cell runs count as opened by it.
    """

    def __init__(self) -> None:
        self._opened: dict[str, Streams] = {}
        # What was open before, of each cell under way; one may run another.
        self._before: list[Streams] = []

    def begin(self, info: Any) -> None:
        """A cell starts; blocks until what it opened before is closed, 5 s at most each."""
        for stream in list(self._opened.pop(_name_of(info), ())):
            stream.close(CLOSE_TIMEOUT)
        self._before.append(Streams(open_streams()))

    def end(self, result: Any) -> None:
        """A cell has ended, in whatever way."""
        if not self._before:
            return  # this extension was loaded by the cell
        before = self._before.pop()
        opened = Streams(s for s in open_streams() if s not in before)
        if opened:
            self._opened[_name_of(result.info)] = opened


def _name_of(info: Any) -> str:
    cell_id: str | None = getattr(info, "cell_id", None)
    return f"id {cell_id}" if cell_id else f"text {info.raw_cell}"


_loaded: dict[InteractiveShell, CellStreams] = {}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the views, and close what a cell opened when it runs again."""
    formatter = _html_formatter(shell)
    for kind, view in _VIEWS.items():
        # Whoever shows lists already goes on to.
        if kind not in formatter.type_printers:
            formatter.for_type(kind, view)
    cells = _loaded[shell] = CellStreams()
    shell.events.register("pre_run_cell", cells.begin)
    shell.events.register("post_run_cell", cells.end)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take back what :func:`load_ipython_extension` did."""
    formatter = _html_formatter(shell)
    for kind, view in _VIEWS.items():
        if formatter.type_printers.get(kind) is view:
            formatter.pop(kind)
    cells = _loaded.pop(shell)
    shell.events.unregister("pre_run_cell", cells.begin)
    shell.events.unregister("post_run_cell", cells.end)


def _html_formatter(shell: InteractiveShell) -> Any:
    formatters: Any = shell.display_formatter
    return formatters.formatters["text/html"]
