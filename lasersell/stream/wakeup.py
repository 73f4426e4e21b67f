"""
Get a thread of ours out of any wait: the one mechanism behind ``close()``.

Every place where a thread of a stream or a session can block, and what wakes it:

====================  =====================================  ==========================
thread                blocks in                              woken by
====================  =====================================  ==========================
supervisor            its mailbox                            a put; the next due time
supervisor            a look-up of names                     the answer, ``Wakeup``
supervisor            TCP, proxy, TLS, upgrade, hello,       the socket, ``Wakeup``
                      configure that is not taken
supervisor            joining the reader                     the socket's shutdown
reader                the socket                             bytes, EOF, ``Wakeup``
reader                a full high lane                       the consumer, ``Wakeup``
caller of a command   a full socket                          room in it, its shutdown
caller of a command   the send lock                          the writer's own deadline
caller of connect()   the supervisor's first word            readiness, the error
caller of close()     joining the supervisor                 its end; the time-out
caller of ping()      ``wait()``                             the pong, the end
consumer              the doorbell of the lanes              an event, the end
observers             the doorbell of the hooks              an event, the end, no hook
caller of stop()      a hook's last events                   the hook; 1 s
deadline Timer        its own wait                           cancel
resolver              ``getaddrinfo``                        nothing; it owns no socket
whoever forks         ``no_fork``                            microseconds: no I/O in it
====================  =====================================  ==========================

The two threads of ours never wait for room in a socket: what they write goes out as
far as it can at once, and the reader does the rest when the socket tells of room.
A signal handler that calls ``close()`` finds its thread inside one of these calls;
if that is a command or another ``close()`` it does not wait at all.
"""

from __future__ import annotations

import queue
import select
import socket
from typing import Generic, TypeVar

from lasersell._clock import Deadline
from lasersell._mailbox import Mailbox
from lasersell._threads import close_in_child, no_fork
from lasersell.errors import ConnectError, ConnectTimeoutError

__all__ = ["Interrupted", "Wakeup", "wait_readable", "wait_writable"]

T = TypeVar("T")


class Interrupted(Exception):
    """The wait was called off because the stream is being closed."""


class Wakeup:
    """
    A socket pair to poll beside a socket, and a flag that says why.

    :meth:`ring` and :meth:`call_off` may be called from any thread and from a
    signal handler; they take no lock.

    Raises:
        ConnectError: No descriptor is left.
    """

    def __init__(self) -> None:
        try:
            with no_fork:
                self._receiver, self._sender = socket.socketpair()
                close_in_child(self._receiver, self._sender)
        except OSError as error:
            raise ConnectError(f"no socket can be made: {error}") from error
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self.called_off = False
        """Whether every wait is to end with :exc:`Interrupted`."""
        self._answer: Answer[object] | None = None

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._receiver.fileno()

    def ring(self) -> None:
        """Make a poll return."""
        try:
            self._sender.send(b"\0")
        except OSError:
            # Full: it is ringing already. Closed: nobody waits any more.
            pass

    def clear(self) -> None:
        """Take the ring back; only the polling thread calls this."""
        try:
            self._receiver.recv(4096)
        except OSError:
            pass

    def wait(self) -> None:
        """Wait until it rings, and for nothing else."""
        poller = select.poll()
        poller.register(self._receiver, select.POLLIN)
        poller.poll()
        self.clear()

    def call_off(self) -> None:
        """End the present wait and every later one."""
        self.called_off = True
        self.ring()
        answer = self._answer
        if answer is not None:
            answer.interrupt()

    def wait_for(self, answer: Answer[T], deadline: Deadline) -> T:
        """
        Return what another thread puts into ``answer``.

        Raises:
            Interrupted: The wait was called off.
            ConnectTimeoutError: The deadline passed.
        """
        self._answer = answer  # type: ignore[assignment]
        try:
            if self.called_off:
                raise Interrupted
            return answer.get(deadline)
        finally:
            self._answer = None

    def close(self) -> None:
        """Close both ends."""
        self._receiver.close()
        self._sender.close()


class Answer(Generic[T]):
    """A value that one thread waits for and another puts."""

    def __init__(self) -> None:
        self._mailbox: Mailbox[tuple[T] | None] = Mailbox()

    def put(self, value: T) -> None:
        """Hand the value over."""
        self._mailbox.put((value,))

    def interrupt(self) -> None:
        """Make the waiting thread give up."""
        self._mailbox.put(None)

    def get(self, deadline: Deadline) -> T:
        """Wait for the value; see :meth:`Wakeup.wait_for`."""
        try:
            value = self._mailbox.get(timeout=deadline.remaining())
        except queue.Empty:
            raise ConnectTimeoutError("no answer in time") from None
        if value is None:
            raise Interrupted
        return value[0]


def wait_readable(sock: socket.socket, wakeup: Wakeup, deadline: Deadline) -> None:
    """
    Wait until bytes or EOF are there.

    Raises:
        Interrupted: The wait was called off.
        ConnectTimeoutError: The deadline passed.
    """
    _wait(sock, select.POLLIN, wakeup, deadline)


def wait_writable(sock: socket.socket, wakeup: Wakeup, deadline: Deadline) -> None:
    """
    Wait until bytes can be written; raises like :func:`wait_readable`.
    """
    _wait(sock, select.POLLOUT, wakeup, deadline)


def _wait(sock: socket.socket, events: int, wakeup: Wakeup, deadline: Deadline) -> None:
    # poll, not epoll: an epoll set would be shared with a forked child.
    poller = select.poll()
    poller.register(sock, events)
    poller.register(wakeup, select.POLLIN)
    while True:
        if wakeup.called_off:
            raise Interrupted
        if deadline.has_passed():
            raise ConnectTimeoutError("no answer in time")
        for fd, _ in poller.poll(poll_ms(deadline.remaining())):
            if fd != wakeup.fileno():
                return
            wakeup.clear()


def poll_ms(seconds: float | None) -> float | None:
    """Return seconds as the milliseconds that ``poll`` takes, rounded up."""
    return None if seconds is None else seconds * 1000 + 1
