"""
Start named daemon threads, and keep what is ours out of forked children.

Threads are daemons so that a script whose main thread ends is not kept alive by
a stream nobody closed; everything that must be orderly at exit is done by
``close()``, which an ``atexit`` hook of the owner calls.

A forked child has copies of our sockets and none of our threads. It closes the
copies at once, without a word to the peer: a frame or a TLS alert of the child
would end the parent's connection.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable

__all__ = ["close_in_child", "next_number", "no_fork", "start_thread"]

_numbers = itertools.count(1)


if not getattr(sys, "_is_gil_enabled", lambda: True)():
    # Lanes, stats and flags are shared without a lock: each step of a thread is whole.
    raise ImportError(
        "lasersell does not support free-threaded Python yet: events could be lost "
        "between two threads; use an ordinary build, or start Python with PYTHON_GIL=1"
    )

_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

no_fork = threading.RLock()
"""Held while a socket is made, so that no fork comes before it is known."""


def close_in_child(*sockets: socket.socket) -> None:
    """Have forked children close their copies; the caller holds ``no_fork``."""
    for sock in sockets:
        _sockets.add(sock)


def _close_copies() -> None:
    no_fork.release()
    for sock in list(_sockets):
        with contextlib.suppress(OSError):
            os.close(sock.detach())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=no_fork.acquire,
        after_in_parent=no_fork.release,
        after_in_child=_close_copies,
    )


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
