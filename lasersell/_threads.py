"""
Start named daemon threads, and know which process we are in.

Threads are daemons so that a script whose main thread ends is not kept alive by
a stream nobody closed; everything that must be orderly at exit is done by
``close()``, which an ``atexit`` hook of the owner calls.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

__all__ = ["next_number", "start_thread"]

_numbers = itertools.count(1)


def next_number() -> int:
    """Return the next N of ``lasersell-reader-N``; unique in this process."""
    return next(_numbers)


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """
    Start ``target`` in a daemon thread and return the thread.

    Raises:
        RuntimeError: If the interpreter cannot start a thread (it is shutting
            down, or the process is at its limit).
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
