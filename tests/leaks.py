"""What a test must not leave behind: threads and file descriptors."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

from lasersell._clock import Deadline
from tests.patience import PATIENCE

__all__ = ["no_leftovers"]

# Text, for a Path costs a millisecond a test.
_DESCRIPTORS = "/proc/self/fd"
_GRACE = PATIENCE


@contextlib.contextmanager
def no_leftovers() -> Iterator[None]:
    """
    Fail if the block leaves a thread running or a file descriptor open.

    Threads that are on their way out get some seconds to end.
    """
    threads = set(threading.enumerate())
    descriptors = _open_descriptors()
    yield
    leftovers = [f"thread {thread.name}" for thread in _running_since(threads)]
    leftovers += [f"descriptor {target}" for target in _opened_since(descriptors)]
    assert not leftovers, f"left behind: {', '.join(leftovers)}"


def _running_since(before: set[threading.Thread]) -> list[threading.Thread]:
    deadline = Deadline(_GRACE)
    started = [thread for thread in threading.enumerate() if thread not in before]
    for thread in started:
        thread.join(deadline.remaining())
    return [thread for thread in started if thread.is_alive()]


def _opened_since(before: dict[int, str]) -> list[str]:
    if _new_targets(before):
        # Collecting costs milliseconds, so it is done only on suspicion. A socket
        # that goes this way still fails the test, by its ResourceWarning.
        gc.collect()
    return _new_targets(before)


def _new_targets(before: dict[int, str]) -> list[str]:
    now = _open_descriptors()
    return [target for number, target in now.items() if before.get(number) != target]


def _open_descriptors() -> dict[int, str]:
    """Map each open descriptor to what it refers to; empty where there is no /proc."""
    if not os.path.exists(_DESCRIPTORS):
        return {}
    targets = {}
    for number in os.listdir(_DESCRIPTORS):
        # The descriptor that lists the directory is gone by now.
        with contextlib.suppress(FileNotFoundError):
            targets[int(number)] = os.readlink(f"{_DESCRIPTORS}/{number}")
    return targets
