"""Four writers and a pinger that a client has to bear while it is read."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator

from tests.patience import PATIENCE

__all__ = ["under_load"]

WRITERS = 4
PAUSE = 0.004
"""Longest pause of a writer between two commands, in seconds."""
PADDING = 300
"""Most bytes by which a command is made longer."""


@contextlib.contextmanager
def under_load(
    write: Callable[[str], object],
    ping: Callable[[], object],
    *,
    failed: type[Exception],
) -> Iterator[None]:
    """
    Write and ping from five threads while the block runs.

    Args:
        write: Sends a text that names its writer and its number.
        ping: Sends a ping, and may wait for the answer.
        failed: What both raise while there is no connection.
    """
    stopping = threading.Event()

    def repeat(seed: int, act: Callable[[random.Random], object]) -> None:
        chance = random.Random(seed)
        while not stopping.is_set():
            try:
                act(chance)
            except failed:
                stopping.wait(0.1)
            stopping.wait(chance.random() * PAUSE)

    def write_next(writer: int) -> Callable[[random.Random], object]:
        number = 0

        def act(chance: random.Random) -> None:
            nonlocal number
            number += 1
            write(f"{writer}:{number}:{'x' * chance.randint(0, PADDING)}")

        return act

    acts = [write_next(writer) for writer in range(WRITERS)]
    acts.append(lambda _: ping())
    threads = [
        threading.Thread(target=repeat, args=(seed, act), name=f"load-{seed}")
        for seed, act in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} did not end"
