from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from lasersell.cli.notify import SOCKET_VARIABLE, notify


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of systemd nothing is sent, and nothing fails."""
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    notify(READY="1")


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_each_state_is_a_line(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """One datagram with all of them, to a file or to a name that begins with @."""
    path = str(short_path / "notify")
    named, address = (path, path) if kind == "file" else (f"@{path}", f"\0{path}")
    monkeypatch.setenv(SOCKET_VARIABLE, named)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        notify(READY="1", STATUS="selling")
        assert listener.recv(1000) == b"READY=1\nSTATUS=selling"


def test_a_listener_that_is_gone_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no reason to stop."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "nobody"))
    notify(READY="1")
    assert "systemd was not told READY=1" in caplog.text
