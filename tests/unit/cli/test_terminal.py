from __future__ import annotations

import contextlib
import os
import pty
import signal
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.cli.terminal import Keyboard, StopSignals, single_keys
from lasersell.errors import ConfigurationError
from tests.patience import PATIENCE


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """Open a terminal; return the end that types and the end of the program."""
    typing, program = pty.openpty()
    yield typing, program
    os.close(typing)
    os.close(program)


def modes(fd: int) -> list[Any]:
    """Return how a terminal is set."""
    return termios.tcgetattr(fd)


def test_keys_come_one_by_one(ends: tuple[int, int]) -> None:
    """Without Enter, arrows as one key each, in both modes of a terminal."""
    typing, program = ends
    with StopSignals() as stop, single_keys(program):
        os.write(typing, b"x\x1b[A\x1bOB\x1b[1~\x1b[4~y\r\x1b")
        keys = Keyboard(program, stop).read(PATIENCE)
    assert keys == ["x", "up", "down", "home", "end", "y", "enter", "escape"]


def test_keys_are_not_shown(ends: tuple[int, int]) -> None:
    """What is typed does not write into the screen."""
    typing, program = ends
    with single_keys(program):
        os.write(typing, b"x")
        os.write(program, b"screen")
        assert os.read(typing, 100) == b"screen"


def test_the_terminal_is_given_back(ends: tuple[int, int]) -> None:
    """Its modes are as before, also after an error."""
    _, program = ends
    before = modes(program)
    with contextlib.suppress(ZeroDivisionError), single_keys(program):
        assert modes(program) != before
        raise ZeroDivisionError
    assert modes(program) == before


def test_suspending_and_holding_up_are_off(ends: tuple[int, int]) -> None:
    """Ctrl-Z and Ctrl-S would leave the screen as it is, in the hands of the shell."""
    typing, program = ends
    with StopSignals() as stop, single_keys(program):
        os.write(typing, b"\x13\x1a")
        assert Keyboard(program, stop).read(PATIENCE) == ["\x13", "\x1a"]


def test_no_terminal_is_said(tmp_path: object) -> None:
    """A pipe has no keys."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(ConfigurationError, match="--json"), single_keys(reader):
            pass
    finally:
        os.close(reader)
        os.close(writer)


def test_a_wait_for_a_key_has_an_end(ends: tuple[int, int]) -> None:
    """Without a key it returns none."""
    with StopSignals() as stop, single_keys(ends[1]):
        assert Keyboard(ends[1], stop).read(0.01) == []


def test_a_terminal_that_is_gone_ends_it() -> None:
    """Whoever closes the window does not leave a program behind."""
    typing, program = pty.openpty()
    os.close(typing)
    with StopSignals() as stop:
        assert Keyboard(program, stop).read(PATIENCE) == []
        assert stop.has_come
    os.close(program)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait(ends: tuple[int, int], number: int) -> None:
    """It is noted, and no exception tears the program."""
    started = SYSTEM_CLOCK.monotonic()
    with StopSignals() as stop, single_keys(ends[1]):
        sender = threading.Timer(0.05, os.kill, (os.getpid(), number))
        sender.start()
        assert Keyboard(ends[1], stop).read(PATIENCE) == []
        sender.join()
        assert stop.has_come
    assert SYSTEM_CLOCK.monotonic() - started < PATIENCE


def test_a_signal_that_came_early_is_not_missed() -> None:
    """A wait that begins after it returns at once."""
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(PATIENCE)


def test_afterwards_signals_do_what_they_did() -> None:
    """Handlers and the wake-up descriptor are those of before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals():
        pass
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
    assert signal.set_wakeup_fd(-1) == -1
