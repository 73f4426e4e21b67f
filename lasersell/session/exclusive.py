"""
One stream per API key: a lock file for each session that the service allows.

The service allows very few sessions per key, one on the published plans, and two
that take turns in throwing each other out are worse than none. A process that holds
a slot holds an exclusive lock on that slot's file. The kernel lets go of it the
moment the process ends, however it ends, and a forked child does not inherit it.

The lock is between the processes of one user that share a directory:
``LASERSELL_RUNTIME_DIR``, else ``lasersell`` in ``XDG_RUNTIME_DIR``, else one in the
directory for temporary files. Nothing here reaches beyond this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from lasersell.errors import ConfigurationError, MissingExtraError, SessionInUseError
from lasersell.stream.options import Secret, check_count

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "DIRECTORY_VARIABLE",
    "Exclusive",
    "KeyHold",
    "claim",
    "hold",
    "key_path",
    "lock_directory",
    "lock_file",
]

log = logging.getLogger(__name__)

Exclusive = bool | Literal["wait"]
"""Shared, exclusive or not at all, or exclusive as soon as that is possible."""

DIRECTORY_VARIABLE = "LASERSELL_RUNTIME_DIR"
"""The environment variable that names the directory of the lock files."""
RETRY_SEC = 0.25
"""Seconds between two looks of a stand-by."""

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


@attrs.frozen
class _Record:
    """What a holder tells the others, beside its lock."""

    pid: int | None = None
    """The holder; None when nobody holds the slot, or nobody knows who."""
    slots: int = 1
    """Sessions that the service allows, as the holder last heard."""


class KeyHold:
    """
    One of the sessions of a key, held by this process until :meth:`release`.

    Made by :func:`hold`; also a context manager. May be used from any thread. In a
    forked child it holds nothing and does nothing.

    Attributes:
        slot: Which of the sessions, counted from 0.
    """

    def __init__(self, lock: BaseFileLock, record: Path, slot: int, slots: int) -> None:
        self.slot = slot
        self._lock = lock
        self._record = record
        self._pid = os.getpid()
        self._slots = slots
        # Guards the lock and the record, which must not be written once others may.
        self._mutex = threading.Lock()
        self._write(self._pid)

    def __repr__(self) -> str:
        state = "held" if self.is_held else "released"
        return f"<KeyHold slot {self.slot}, {state}>"

    @property
    def is_held(self) -> bool:
        """Whether this process still holds it."""
        return os.getpid() == self._pid and self._lock.is_locked

    def allow(self, slots: int | None) -> None:
        """
        Tell other processes how many sessions the service allows.

        Args:
            slots: ``limits.max_sessions_per_api_key`` of ``hello_ok``; 0 and None
                are unknown.
        """
        if not slots or os.getpid() != self._pid:
            return
        with self._mutex:
            if self._lock.is_locked and slots != self._slots:
                self._slots = slots
                self._write(self._pid)

    def release(self) -> None:
        """Let another process have it; again does no harm."""
        if os.getpid() != self._pid:
            return
        with self._mutex:
            if self._lock.is_locked:
                self._write(None)
                self._lock.release()

    def _write(self, pid: int | None) -> None:
        # A name of its own, then renamed: whoever reads finds all of it or none.
        draft = self._record.with_suffix(f".{self._pid}")
        try:
            draft.write_text(json.dumps({"pid": pid, "slots": self._slots}))
            draft.replace(self._record)
        except OSError as error:
            # Such as a full disk. Only the lock counts, and that must be let go.
            log.warning(
                "other processes cannot be told who holds the key: %s", error.strerror
            )

    def __enter__(self) -> KeyHold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def hold(
    key: str,
    *,
    slots: int | None = None,
    wait: bool = False,
    stop: threading.Event | None = None,
    what: str = "the stream",
) -> KeyHold:
    """
    Take one of the sessions that an API key allows.

    Returns at once, or with ``wait`` within a second of the moment one is free.

    Args:
        key: The API key; only a hash of it is in the name of the file.
        slots: How many sessions the service allows; None is what a holder heard of
            it, else 1.
        wait: Whether to wait as a stand-by while all are held.
        stop: What ends the wait when it is set; Ctrl-C ends it too.
        what: What is waited for, in the words of the log.

    Raises:
        SessionInUseError: All are held; names the pid of a holder. Also when
            ``stop`` ended the wait.
        ConfigurationError: The directory of the lock files is not ours alone.
        MissingExtraError: The extra ``exclusive`` is not installed.
    """
    if slots is not None:
        check_count("slots", slots)
    prefix = key_path(key)
    if not wait:
        return _take(prefix, slots)
    return _stand_by(prefix, slots, stop or threading.Event(), what)


@contextlib.contextmanager
def claim(key: Secret, exclusive: Exclusive) -> Iterator[KeyHold | None]:
    """
    Hold a key while a stream is opened, and on if that succeeds; None if shared.

    Args:
        key: The API key.
        exclusive: See :meth:`lasersell.session.session.StreamSession.connect`.
    """
    if exclusive not in (True, False, "wait"):
        raise ConfigurationError(
            f"exclusive must be True, False or 'wait', not {exclusive!r}"
        )
    if not exclusive:
        yield None
        return
    key_hold = hold(key.reveal(), wait=exclusive == "wait")
    try:
        yield key_hold
    except BaseException:
        key_hold.release()
        raise


def _stand_by(
    prefix: Path, slots: int | None, stop: threading.Event, what: str
) -> KeyHold:
    last_holder = None
    while True:
        try:
            return _take(prefix, slots)
        except SessionInUseError as error:
            if stop.is_set():
                raise
            if error.pid != last_holder:
                last_holder = error.pid
                log.info("process %s holds %s; standing by", last_holder, what)
        # A look now and then, for a blocking wait would have no waker: only a signal
        # gets a thread out of flock(), and there may be several slots to wait for.
        stop.wait(RETRY_SEC)


def _take(prefix: Path, slots: int | None) -> KeyHold:
    allowed = slots or 1
    holders = []
    slot = 0
    while slot < allowed:
        path = prefix.with_suffix(f".{slot}.lock")
        record_path = prefix.with_suffix(f".{slot}.json")
        record = _read(record_path)
        lock = lock_file(path)
        if lock is not None:
            return KeyHold(lock, record_path, slot, max(allowed, record.slots))
        if slots is None:
            allowed = max(allowed, record.slots)
        holders.append(record.pid)
        slot += 1
    raise SessionInUseError(next((pid for pid in holders if _is_alive(pid)), None))


def lock_file(path: Path) -> BaseFileLock | None:
    """
    Lock a file for this process, made if it is not there; None if another one has it.

    Released by ``release()`` of the result, from any thread, or by the end of the
    process.

    Raises:
        OSError: It cannot be made or locked.
        MissingExtraError: The extra ``exclusive`` is not installed.
    """
    try:
        # The rest of this package works without the extra.
        from filelock import FileLock, Timeout  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("a lock between processes", "exclusive") from error
    # Any thread may release it, and a file system without locks is an error.
    lock = FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _read(path: Path) -> _Record:
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = json.loads(path.read_text())
        return _Record(found["pid"], max(1, int(found["slots"])))
    return _Record()


def _is_alive(pid: int | None) -> bool:
    # Between its lock and its record, a holder's record is still the last one's.
    if pid is None:
        return False
    if os.name == "nt":  # where os.kill ends the process, whatever the signal
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        # Not allowed to signal it: then it is there.
        return isinstance(error, PermissionError)
    return True


def key_path(key: str) -> Path:
    """
    Return what the files of a key begin with; only a hash of the key is in it.

    Slot 0 is locked by the file with the suffix ``.0.lock``, and so on.

    Raises:
        ConfigurationError: The directory is not ours alone.
    """
    return lock_directory() / hashlib.sha256(key.encode()).hexdigest()[:32]


def lock_directory() -> Path:
    """
    Return the directory of the lock files, made if it is not there.

    Raises:
        ConfigurationError: It cannot be made, or others may write to it.
    """
    path = _directory_of(os.environ)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"cannot use {path} for lock files ({error.strerror}); "
            f"name a directory of yours in {DIRECTORY_VARIABLE}"
        ) from error
    is_ours = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    if (
        not stat.S_ISDIR(status.st_mode)
        or not is_ours
        or status.st_mode & _OTHERS_MAY_WRITE
    ):
        raise ConfigurationError(
            f"{path} is not a directory that only you may write to; "
            f"name one of yours in {DIRECTORY_VARIABLE}"
        )
    return path


def _directory_of(environ: Mapping[str, str]) -> Path:
    named = environ.get(DIRECTORY_VARIABLE)
    if named:
        return Path(named)
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "lasersell"
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(tempfile.gettempdir()) / f"lasersell-{user}"
