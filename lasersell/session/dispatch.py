"""
Hand events to callbacks, in the calling thread or in one of our own.
"""

from __future__ import annotations

import logging
import threading

from lasersell._threads import next_number, start_thread
from lasersell.errors import ConcurrencyError, LaserSellError
from lasersell.session.callbacks import CallbackRegistry
from lasersell.session.events import StreamEvent
from lasersell.stream.lanes import Receiver

__all__ = ["Dispatcher"]

log = logging.getLogger(__name__)


class Dispatcher:
    """
    Takes events until the stream ends and dispatches each.

    Its thread holds this, never the facade.

    Args:
        receiver: Where events come from.
        callbacks: Whom to call.
    """

    def __init__(
        self, receiver: Receiver[StreamEvent], callbacks: CallbackRegistry
    ) -> None:
        self._receiver = receiver
        self._callbacks = callbacks
        self.is_dispatching = False
        """Whether events go to callbacks now."""
        self._thread: threading.Thread | None = None

    def check_idle(self) -> None:
        """
        Refuse a second consumer.

        Raises:
            ConcurrencyError: Callbacks are being dispatched.
        """
        if self.is_dispatching:
            raise ConcurrencyError(
                "callbacks are being dispatched; an event goes either to them or to recv()"
            )

    def run(self) -> None:
        """Dispatch in this thread until the stream ends; see the facade."""
        self.check_idle()
        self.is_dispatching = True
        try:
            while (event := self._receiver.get(None)) is not None:
                self._callbacks.dispatch(event)
        finally:
            self.is_dispatching = False

    def start(self) -> None:
        """Dispatch in a thread of our own."""
        self.check_idle()
        if self._thread is not None and self._thread.is_alive():
            raise ConcurrencyError("the callbacks thread is running already")
        self._thread = start_thread(
            f"lasersell-callbacks-{next_number()}", self._run_logged
        )

    def join(self, timeout: float) -> None:
        """Wait for the callbacks thread, unless this is it."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, timeout))

    def _run_logged(self) -> None:
        try:
            self.run()
        except LaserSellError as error:
            log.error("no more events for the callbacks: %s", error)
