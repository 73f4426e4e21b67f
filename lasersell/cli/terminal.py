"""
A terminal taken over for a while: single keys, and the end by a signal.

Both give the terminal and the process back as they were, however the block ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType

from lasersell.errors import ConfigurationError

if sys.platform != "win32":
    import termios
    import tty

__all__ = ["Keyboard", "StopSignals", "single_keys"]

_STOPS = (signal.SIGINT, signal.SIGTERM)

# What a terminal sends for keys that are no characters, in any of its modes.
_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
}
_NAMES = {b"\x1b": "escape", b"\r": "enter", b"\n": "enter"}


class StopSignals:
    """
    Notes Ctrl-C and SIGTERM instead of being torn by them; a context manager.

    For the main thread. Its descriptor is readable from the moment a signal came, so
    that no wait with it in a poll misses one.
    """

    def __init__(self) -> None:
        self.has_come = False
        """Whether one has come."""
        self._receiver, self._sender = socket.socketpair()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._receiver.fileno()

    def __enter__(self) -> StopSignals:
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        # The signal may come in the moment before a wait begins: then its handler,
        # which runs in Python, is late, and this is not.
        self._old_fd = signal.set_wakeup_fd(
            self._sender.fileno(), warn_on_full_buffer=False
        )
        self._old_handlers = {
            number: signal.signal(number, self._note) for number in _STOPS
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._receiver.close()
        self._sender.close()

    def wait(self, timeout: float) -> bool:
        """Wait for a signal, ``timeout`` seconds at most; tell whether one has come."""
        poller = select.poll()
        poller.register(self, select.POLLIN)
        poller.poll(timeout * 1000)
        return self.has_come

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.has_come = True


@contextlib.contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """
    Hand keys over one by one and unseen; Ctrl-C stays what it is.

    Ctrl-S and Ctrl-Z do nothing: one would hold the screen up, the other would leave
    the shell with a terminal that is not its own.

    Raises:
        ConfigurationError: This is no terminal, or none that can be taken over.
    """
    if sys.platform == "win32" or not os.isatty(fd):
        raise ConfigurationError(
            "this needs a terminal to draw in and to take keys from; use --json"
        )
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        mode = termios.tcgetattr(fd)
        mode[0] &= ~termios.IXON
        mode[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        yield
    finally:
        # Keys nobody took are dropped, so that the shell does not take them.
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


class Keyboard:
    """
    Waits for keys, and for whatever else has a descriptor.

    Args:
        fd: The terminal, in :func:`single_keys`.
        stop: What ends a wait too.
    """

    def __init__(self, fd: int, stop: StopSignals) -> None:
        self._fd = fd
        self._stop = stop

    def read(self, timeout: float) -> list[str]:
        """
        Return the keys that were pressed, such as ``up`` or ``q``.

        Blocks until there is one, a signal came, or ``timeout`` seconds are over.
        A terminal that is gone counts as a signal.
        """
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(timeout * 1000)}
        if self._fd not in ready:
            return []
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        if not data:
            self._stop.has_come = True
        return list(_keys(data))


def _keys(data: bytes) -> Iterator[str]:
    while data:
        for sequence, name in _SEQUENCES.items():
            if data.startswith(sequence):
                yield name
                data = data[len(sequence) :]
                break
        else:
            yield _NAMES.get(data[:1]) or data[:1].decode("latin-1")
            data = data[1:]
