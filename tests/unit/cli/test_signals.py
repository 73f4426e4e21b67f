from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from lasersell.cli.signals import Signals
from tests.patience import PATIENCE


def test_a_signal_does_what_it_was_told() -> None:
    """The action runs once, in a thread, and the stop event is set."""
    done = threading.Event()
    with Signals() as signals:
        assert signals.name is None
        signals.then(done.set)
        os.kill(os.getpid(), signal.SIGTERM)
        assert done.wait(PATIENCE)
        assert signals.stop.is_set()
        assert signals.name == "SIGTERM"


def test_a_signal_that_came_early_is_not_forgotten() -> None:
    """What is told after the signal is done at once, in this thread."""
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.stop.wait(PATIENCE)
        ran_in: list[threading.Thread] = []
        signals.then(lambda: ran_in.append(threading.current_thread()))
        assert ran_in == [threading.current_thread()]


def test_each_signal_is_one_action() -> None:
    """The second signal does what was told after the first."""
    first, second = threading.Event(), threading.Event()
    with Signals() as signals:
        signals.then(first.set)
        os.kill(os.getpid(), signal.SIGTERM)
        assert first.wait(PATIENCE)
        signals.then(second.set)
        assert not second.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert second.wait(PATIENCE)


def test_an_action_that_fails_leaves_the_next_signal_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process in which the first signal went wrong can still be ended by another."""
    tried, done = threading.Event(), threading.Event()

    def fail() -> None:
        tried.set()
        raise ZeroDivisionError("made up")

    with Signals() as signals:
        signals.then(fail)
        os.kill(os.getpid(), signal.SIGTERM)
        assert tried.wait(PATIENCE)
        signals.then(done.set)
        os.kill(os.getpid(), signal.SIGTERM)
        assert done.wait(PATIENCE)
    assert "made up" in caplog.text


def test_afterwards_signals_are_as_before() -> None:
    """No thread is left, and nothing is blocked."""
    with Signals():
        pass
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


_PROGRAM = """
import os, signal, threading
from lasersell.cli.signals import Signals
asleep = threading.Lock()
asleep.acquire()
with Signals() as signals:
    signals.then(asleep.release)
    print("ready", flush=True)
    asleep.acquire()  # without a time-out: a handler might never be run
"""


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(240)])]
)
def test_no_signal_is_lost_in_the_moment_of_falling_asleep(rounds: int) -> None:
    """However the signal and the wait of the main thread meet, it ends."""
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
