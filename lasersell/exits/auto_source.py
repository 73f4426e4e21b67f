"""
What an auto-exit needs of a session: one of this process, or one over a relay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lasersell.session.events import StreamEvent
from lasersell.session.face import Position
from lasersell.session.positions import PositionHandle
from lasersell.stream.stats import State

__all__ = ["ExitSource"]


class ExitSource(Protocol):
    """Where exit signals come from; any thread may use it."""

    @property
    def state(self) -> State:
        """How the stream is."""
        ...

    def positions(self) -> list[PositionHandle]:
        """Return the open positions."""
        ...

    def on(self, type: str, callback: Callable[[StreamEvent], Any]) -> Any:
        """Call a callback with each event of a type."""
        ...

    def off(self, type: str, callback: Callable[[StreamEvent], Any]) -> None:
        """Stop calling it."""
        ...

    def run(self) -> None:
        """Dispatch events to the callbacks until the session is closed."""
        ...

    def start(self) -> None:
        """Dispatch them in a thread of the session's own."""
        ...

    def request_exit_signal(
        self, position: Position, slippage_bps: int | None = None
    ) -> None:
        """Ask for an exit transaction now."""
        ...

    def mirror_buy_result(self, mint: str, success: bool) -> None:
        """Tell the server whether a mirror buy was submitted."""
        ...
