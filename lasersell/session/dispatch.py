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
        """Whether events go to callbacks, from the moment that was asked for."""
        self._claim = threading.Lock()  # guards is_dispatching going up
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
        self._begin()
        self._dispatch()

    def start(self) -> None:
        """Dispatch in a thread of our own."""
        self._begin()
        try:
            self._thread = start_thread(
                f"lasersell-callbacks-{next_number()}", self._dispatch_logged
            )
        except BaseException:
            self.is_dispatching = False
            raise

    def join(self, timeout: float) -> None:
        """Wait for the callbacks thread, unless this is it."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, timeout))

    def _begin(self) -> None:
        # Not by the thread that dispatches: between its start and its first event
        # a recv() elsewhere would take the events away from it.
        with self._claim:
            self.check_idle()
            self._receiver.check_free()
            self.is_dispatching = True

    def _dispatch(self) -> None:
        try:
            while (event := self._receiver.get(None)) is not None:
                self._callbacks.dispatch(event)
        finally:
            self.is_dispatching = False

    def _dispatch_logged(self) -> None:
        try:
            self._dispatch()
        except LaserSellError as error:
            log.error("no more events for the callbacks: %s", error)
        except BaseException:
            # Such as SystemExit of a callback, which would end a thread unseen.
            log.critical("a callback ended the callbacks thread", exc_info=True)
