from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import msgspec
import pytest

from lasersell.cli import attach as module
from lasersell.cli.attach import Attachment, SnapshotServer, attach, socket_path
from lasersell.cli.snapshot import Snapshot
from lasersell.errors import DecodeError
from lasersell.session.exclusive import DIRECTORY_VARIABLE
from tests.patience import PATIENCE
from tests.unit.cli.views import position, snapshot

KEY = "sk-made-up-for-tests-7f3a"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the sockets of a test to itself, and do not wait long for the next snapshot."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "run"))
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(module, "FIRST_PATIENCE", PATIENCE)


class Numbered:
    """Returns snapshots that count their calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = threading.Event()

    def __call__(self) -> Snapshot:
        """Return the next one."""
        self.calls += 1
        self.called.set()
        return snapshot(position(), frames_in=self.calls)


@pytest.fixture
def source() -> Numbered:
    """Return what is looked at."""
    return Numbered()


@pytest.fixture
def path(source: Numbered) -> Iterator[Path]:
    """Serve snapshots of the source; return where."""
    path = socket_path(KEY)
    with SnapshotServer(path, source):
        yield path


def attached() -> Attachment:
    """Attach to the server, which must be there."""
    attachment = attach(KEY)
    assert attachment is not None
    return attachment


@pytest.mark.usefixtures("path")
def test_a_viewer_gets_one_snapshot_after_the_other() -> None:
    """What arrives is what was seen, to the last field."""
    with attached() as attachment:
        first, second = attachment.first(), attachment.first()
    assert first == snapshot(position(), frames_in=1)
    assert second is not None
    assert second.frames_in > 1


def test_the_socket_is_its_owners_alone(path: Path) -> None:
    """Nobody else may look."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY not in str(path)


def test_the_socket_goes_with_its_server() -> None:
    """Afterwards there is nothing to attach to."""
    with SnapshotServer(socket_path(KEY), snapshot):
        attached().close()
    assert not socket_path(KEY).exists()
    assert attach(KEY) is None


def test_another_key_is_another_stream(path: Path) -> None:
    """Nothing is attached to that is not of this key."""
    assert path.exists()
    assert attach("sk-of-somebody-else") is None


def test_any_slot_of_a_key_is_found() -> None:
    """Where the service allows several streams, the first that answers is taken."""
    with SnapshotServer(socket_path(KEY, 3), snapshot), attached() as attachment:
        assert attachment.first() is not None


def test_what_a_killed_process_left_is_no_hindrance(source: Numbered) -> None:
    """Its socket is not attached to, and the next holder takes its place."""
    path = socket_path(KEY)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    assert attach(KEY) is None
    with SnapshotServer(path, source), attached() as attachment:
        assert attachment.first() is not None


@pytest.mark.usefixtures("path")
def test_nobody_looks_nobody_is_asked(source: Numbered) -> None:
    """Without a viewer the session is left alone."""
    assert not source.called.wait(0.05)
    with attached():
        assert source.called.wait(PATIENCE)


@pytest.mark.usefixtures("path")
def test_what_a_viewer_says_is_not_heard() -> None:
    """It is read-only: the other side reads nothing, and goes on."""
    with attached() as attachment:
        attachment._sock.send(b'{"type":"request_exit_signal","token_account":"a"}\n')
        first, second = attachment.first(), attachment.first()
    assert first is not None
    assert second is not None


def test_a_viewer_that_does_not_read_holds_nobody_up() -> None:
    """The others get their snapshots, and it gets whole ones once it reads again."""
    large = snapshot(*(position(number) for number in range(2000)))
    with (
        SnapshotServer(socket_path(KEY), lambda: large),
        attached() as lazy,
        attached() as keen,
    ):
        for _ in range(3):
            assert keen.first() == large
        assert lazy.first() == large
        assert lazy.first() == large


@pytest.mark.usefixtures("path")
def test_viewers_may_come_and_go(source: Numbered) -> None:
    """One that has hung up is forgotten."""
    for _ in range(3):
        with attached() as attachment:
            assert attachment.first() is not None


def test_the_end_of_the_server_is_seen() -> None:
    """A viewer knows that what it shows is over."""
    with SnapshotServer(socket_path(KEY), snapshot):
        attachment = attached()
        assert attachment.first() is not None
    with attachment:
        while attachment.latest() is not None:
            pass
        assert attachment.is_over
        assert attachment.first() is None


def test_a_viewer_is_not_left_with_what_is_no_longer_true(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that broke hangs up, and says so in its own log."""
    is_broken = threading.Event()

    def look() -> Snapshot:
        if is_broken.is_set():
            raise ZeroDivisionError("made up")
        return snapshot()

    with SnapshotServer(socket_path(KEY), look), attached() as attachment:
        assert attachment.first() is not None
        is_broken.set()
        while attachment.first() is not None:
            pass
        assert attachment.is_over
    assert "made up" in caplog.text


def test_a_long_path_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a socket is short on every system; the directory may be deep."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / ("deep" * 30)))
    assert len(os.fsencode(socket_path(KEY))) > 150
    with SnapshotServer(socket_path(KEY), snapshot), attached() as attachment:
        assert attachment.first() is not None


def test_a_server_that_cannot_serve_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever holds the stream has more to do than to be watched."""
    caplog.set_level(logging.WARNING)
    with SnapshotServer(tmp_path / "missing" / "socket", snapshot):
        pass
    assert "nobody can attach to this process" in caplog.text


class Refusing:
    """A listener that has no descriptor for who connects, as long as it is told so."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.is_refusing = True
        self.refused = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Return a connection."""
        if self.is_refusing:
            self.refused += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._listener.accept()

    def fileno(self) -> int:
        """Return the descriptor that is waited on."""
        return self._listener.fileno()

    def close(self) -> None:
        """End it."""
        self._listener.close()


def test_a_process_without_descriptors_is_not_kept_busy(
    monkeypatch: pytest.MonkeyPatch, source: Numbered
) -> None:
    """Who waits to be let in is looked at now and then, and let in once one is free."""
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    listen = module._listen
    listeners: list[Refusing] = []

    def refusing(path: Path) -> Refusing:
        listeners.append(Refusing(listen(path)))
        return listeners[0]

    monkeypatch.setattr(module, "_listen", refusing)
    with SnapshotServer(socket_path(KEY), source), attached() as attachment:
        threading.Event().wait(0.5)
        assert 1 <= listeners[0].refused <= 15
        assert not source.calls, "nobody looks"
        listeners[0].is_refusing = False
        assert attachment.first() is not None


def test_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is none of ours is an error that says what to do."""

    @attrs.frozen
    class Other:
        state: str = "live"

    left, right = socket.socketpair()
    left.send(msgspec.json.encode(Other()) + b"\n")
    right.setblocking(False)
    with (
        left,
        Attachment(right) as attachment,
        pytest.raises(DecodeError, match="update both to the same one"),
    ):
        attachment.latest()
