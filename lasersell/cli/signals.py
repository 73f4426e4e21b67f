"""
SIGTERM and Ctrl-C without a race: a thread that waits for them.

CPython runs a signal handler in the main thread, between two steps of bytecode; one
that comes in the moment before the main thread begins to wait is not seen until that
wait ends, which may be never. So the signals are blocked in every thread, and one
thread takes them.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

from lasersell._threads import start_thread

__all__ = ["Signals"]

log = logging.getLogger(__name__)

_NUMBERS = frozenset({signal.SIGINT, signal.SIGTERM})


class Signals:
    """
    Does what it is told when a signal asks the process to end; a context manager.

    Enter it in the main thread before other threads are started. Where signals cannot
    be waited for (Windows), Ctrl-C raises ``KeyboardInterrupt`` as ever.

    Attributes:
        stop: Set by the first signal.
        name: The latest signal; None before the first.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.name: str | None = None
        # Guards what follows.
        self._mutex = threading.Lock()
        self._action: Callable[[], object] | None = None
        self._unanswered = 0
        self._is_over = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Signals:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
            self._thread = start_thread("lasersell-signals", self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        thread = self._thread
        if thread is None:
            return
        self._is_over = True
        assert thread.ident is not None, "it was started"
        signal.pthread_kill(thread.ident, signal.SIGTERM)
        thread.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NUMBERS)

    def then(self, action: Callable[[], object]) -> None:
        """
        Call ``action`` at the next signal, once, in a thread of ours.

        In this thread and now, if a signal has come that nothing was done about.
        """
        with self._mutex:
            self._action = action
        self._answer()

    def _watch(self) -> None:
        while True:
            number = signal.sigwait(_NUMBERS)
            if self._is_over:
                return
            self.name = signal.Signals(number).name
            with self._mutex:
                self._unanswered += 1
            self.stop.set()
            try:
                self._answer()
            except Exception:
                # Without this no other signal would ever be taken.
                log.exception("what was to be done at %s failed", self.name)

    def _answer(self) -> None:
        with self._mutex:
            action = self._action
            if action is None or self._unanswered == 0:
                return
            self._action = None
            self._unanswered -= 1
        action()
