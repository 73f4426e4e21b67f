"""
Callbacks by event type, called one after the other in a consumer's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from lasersell.errors import ConfigurationError
from lasersell.session.events import CallbackError, StreamEvent

__all__ = ["Callback", "CallbackRegistry"]

log = logging.getLogger(__name__)

Callback = Callable[[StreamEvent], Any]
F = TypeVar("F", bound=Callback)

EVERYTHING = "*"


class CallbackRegistry:
    """
    Who wants to be called for what.

    Any thread may register at any time: the lists are replaced, never changed, so
    a dispatch under way goes on with the ones it began with.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, tuple[Callback, ...]] = {}

    def on(self, type: str, callback: F) -> F:
        """Add a callback for a type, or ``"*"`` for all, and return it."""
        if not callable(callback):
            raise ConfigurationError(f"a callback must be callable, not {callback!r}")
        self._callbacks[type] = (*self._callbacks.get(type, ()), callback)
        return callback

    def off(self, type: str, callback: Callback | None = None) -> None:
        """Remove a callback, or all of a type; one that is not there is no error."""
        kept = self._callbacks.get(type, ()) if callback is not None else ()
        self._callbacks[type] = tuple(known for known in kept if known != callback)

    def dispatch(self, event: StreamEvent) -> None:
        """
        Call what is registered for the event's type, then what wants everything.

        A callback that raises is logged and reported as ``callback_error``; the
        next one still runs.
        """
        self._call(event, (*self._callbacks.get(event.type, ()), *self._everything()))

    def _everything(self) -> tuple[Callback, ...]:
        return self._callbacks.get(EVERYTHING, ())

    def _call(self, event: StreamEvent, callbacks: tuple[Callback, ...]) -> None:
        for callback in callbacks:
            try:
                callback(event)
            except Exception as error:
                log.exception("the callback %r failed on a %s", callback, event.type)
                self._report(event, callback, error)

    def _report(self, event: StreamEvent, callback: Callback, error: Exception) -> None:
        if isinstance(event.message, CallbackError):
            return  # a callback for errors that fails itself is only logged
        message = CallbackError(event, callback, error)
        report = StreamEvent(message, event.handle, event.arrival)
        self._call(report, self._callbacks.get(message.type, ()))
