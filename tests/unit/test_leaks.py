from __future__ import annotations

import os
import socket
import threading

import pytest

from tests import leaks


def test_a_thread_left_running_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that tests end their threads is enforced, by the thread's name."""
    monkeypatch.setattr(leaks, "_GRACE", 0.01)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left-running")
    try:
        with (
            pytest.raises(AssertionError, match="thread left-running"),
            leaks.no_leftovers(),
        ):
            thread.start()
    finally:
        stop.set()
        thread.join(5.0)


def test_a_descriptor_left_open_is_found() -> None:
    """The rule that tests close what they open is enforced."""
    opened: list[int] = []
    try:
        with (
            pytest.raises(AssertionError, match="descriptor pipe:"),
            leaks.no_leftovers(),
        ):
            opened.extend(os.pipe())
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_a_clean_block_passes() -> None:
    """What was opened and closed again is nobody's business."""
    with leaks.no_leftovers():
        left, right = socket.socketpair()
        left.close()
        right.close()


def test_other_hosts_are_out_of_reach() -> None:
    """No test can depend on a network, or reach the real service by mistake."""
    with (
        socket.socket() as lonely,
        pytest.raises(PermissionError, match="this machine only"),
    ):
        lonely.connect(("192.0.2.1", 443))
