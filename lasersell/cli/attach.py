"""
Look at a stream that another process holds: a local Unix socket beside its lock.

Whoever holds a slot of a key serves snapshots at a socket next to the lock file of that
slot, a line of JSON each, to whoever of the same user connects. It never reads from it:
nobody can ask for anything that way.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lasersell._decode import decode_json
from lasersell._threads import close_in_child, no_fork, start_thread
from lasersell.cli.snapshot import Snapshot
from lasersell.errors import DecodeError
from lasersell.session.exclusive import key_path

__all__ = ["Attachment", "SnapshotServer", "attach", "socket_path"]

log = logging.getLogger(__name__)

INTERVAL = 0.25
"""Seconds between two snapshots."""
FIRST_PATIENCE = 2.0
"""Seconds a holder has to send its first snapshot."""
LONGEST_ADDRESS = 100
"""Bytes of an address that every system takes; Linux takes 107, others 103."""
LINE_LIMIT = 16 * 1024 * 1024
_SUFFIX = ".sock"
_CHUNK = 1 << 16
_DESCRIPTORS = Path("/proc/self/fd")


def socket_path(key: str, slot: int = 0) -> Path:
    """Return where the holder of a slot of an API key serves its snapshots."""
    return key_path(key).with_suffix(f".{slot}{_SUFFIX}")


class SnapshotServer:
    """
    Serves snapshots at a Unix socket, read-only; a context manager.

    Where it cannot serve, that is logged and no error: whoever holds the stream has
    other things to do.

    Args:
        path: The socket, made for its owner only and removed in the end. Whoever is
            left there from before must be gone, which holding the lock beside it shows.
        snapshot: Returns what there is to see; called in a thread of ours, and only
            while somebody looks.
    """

    def __init__(self, path: Path, snapshot: Callable[[], Snapshot]) -> None:
        self._path = path
        self._snapshot = snapshot
        self._viewers: list[_Viewer] = []
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._wake_receiver, self._wake_sender = socket.socketpair()

    def __enter__(self) -> SnapshotServer:
        try:
            self._listener = _listen(self._path)
        except OSError as error:
            log.warning(
                "nobody can attach to this process: no socket at %s (%s)",
                self._path,
                error.strerror or error,
            )
            return self
        self._thread = start_thread("lasersell-attach", self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._wake_sender.send(b"\0")
            self._thread.join()
            self._path.unlink(missing_ok=True)
        if self._listener is not None:
            self._listener.close()
        self._wake_sender.close()
        self._wake_receiver.close()

    def _serve(self) -> None:
        try:
            self._serve_until_woken()
        except Exception:
            log.exception(
                "a mistake of ours; nobody can attach to this process any more"
            )
        finally:
            # Who looks must not take the last snapshot for what is true now.
            self._hang_up()

    def _hang_up(self) -> None:
        for viewer in self._viewers:
            viewer.close()
        self._viewers = []

    def _serve_until_woken(self) -> None:
        assert self._listener is not None, "listening before the thread starts"
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_receiver, selectors.EVENT_READ)
            while True:
                is_open = self._listener in selector.get_map()
                # A look now and then, for prices move all the time.
                is_idle = is_open and not self._viewers
                ready = selector.select(None if is_idle else INTERVAL)
                woken = {key.fileobj for key, _ in ready}
                if self._wake_receiver in woken:
                    return
                if not is_open:
                    selector.register(self._listener, selectors.EVENT_READ)
                if self._listener in woken:
                    if not self._accept(self._listener):
                        # Who could not be let in, such as for want of a descriptor,
                        # would have us woken without end.
                        selector.unregister(self._listener)
                elif self._viewers:
                    self._send()

    def _accept(self, listener: socket.socket) -> bool:
        """Let somebody in; return whether that could be done."""
        try:
            with no_fork:
                sock, _ = listener.accept()
                close_in_child(sock)
                sock.setblocking(False)
        except OSError as error:
            log.debug("nobody could be let in: %s", error)
            return False
        self._viewers.append(_Viewer(sock))
        return True

    def _send(self) -> None:
        line = msgspec.json.encode(self._snapshot()) + b"\n"
        here = []
        for viewer in self._viewers:
            if viewer.offer(line):
                here.append(viewer)
            else:
                viewer.close()
        self._viewers = here


class _Viewer:
    """Who looks. One that does not read misses snapshots and holds nobody up."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unsent = b""

    def offer(self, line: bytes) -> bool:
        """Send what can be sent of this line or of the last one; tell whether it is there."""
        self._unsent = self._unsent or line
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give the address of a socket, which must be short, however long its path is."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS or not _DESCRIPTORS.exists():
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_DESCRIPTORS}/{directory}/{path.name}"
    finally:
        os.close(directory)


def _listen(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    path.unlink(missing_ok=True)
    with no_fork:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        close_in_child(listener)
    try:
        with _address(path) as address:
            listener.bind(address)
        # Before it listens: until then nobody can connect.
        path.chmod(0o600)
        listener.listen()
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Attachment:
    """
    The viewer's end; one thread uses it.

    Args:
        sock: Connected to a :class:`SnapshotServer`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""
        self.is_over = False
        """Whether the other process has ended or let go of the stream."""

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._sock.fileno()

    def first(self) -> Snapshot | None:
        """Return the first snapshot; None if none came within ``FIRST_PATIENCE`` seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            while selector.select(FIRST_PATIENCE) and not self.is_over:
                snapshot = self.latest()
                if snapshot is not None:
                    return snapshot
        return None

    def latest(self) -> Snapshot | None:
        """
        Return the newest snapshot that has come; None if there is no newer one.

        Never blocks.

        Raises:
            DecodeError: The other process speaks another version of this.
        """
        self._read()
        whole, newline, rest = self._unread.rpartition(b"\n")
        if not newline:
            return None
        self._unread = rest
        try:
            return decode_json(whole.rpartition(b"\n")[2], Snapshot)
        except msgspec.MsgspecError as error:
            raise DecodeError(
                f"the process that holds the stream speaks another version ({error}); "
                "update both to the same one"
            ) from error

    def _read(self) -> None:
        try:
            while len(self._unread) < LINE_LIMIT:
                data = self._sock.recv(_CHUNK)
                if not data:
                    break
                self._unread += data
        except BlockingIOError:
            return
        except OSError:
            pass
        self.is_over = True

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(key: str) -> Attachment | None:
    """Connect to a process that holds a stream of an API key; None where there is none."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    prefix = glob.escape(os.fspath(key_path(key)))
    for path in sorted(glob.glob(f"{prefix}.*{_SUFFIX}")):
        with no_fork:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            close_in_child(sock)
        try:
            sock.settimeout(FIRST_PATIENCE)
            with _address(Path(path)) as address:
                sock.connect(address)
        except OSError:
            # Left behind by one that was killed.
            sock.close()
            continue
        sock.setblocking(False)
        return Attachment(sock)
    return None
