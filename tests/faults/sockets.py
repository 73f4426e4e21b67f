"""Sockets that do not do what they should."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

__all__ = ["black_hole"]

_FILLERS = 16
_UNANSWERED_MS = 100


@contextlib.contextmanager
def black_hole(port: int = 0, host: str = "127.0.0.1") -> Iterator[int]:
    """
    Listen on a port where nobody is answered any more; yield the port.

    The queue of a listener that accepts nothing is filled up, after which the
    kernel drops every further attempt to connect, as a firewall would.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(_FILLERS):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            if family == socket.AF_INET:
                # Told apart from a client's own attempts by where it comes from.
                filler.bind(("127.0.0.2", 0))
            filler.connect_ex(address)
            poller = select.poll()
            poller.register(filler, select.POLLOUT)
            if not poller.poll(_UNANSWERED_MS):
                break
        else:
            raise AssertionError("every attempt to fill the queue was answered")
        yield address[1]
