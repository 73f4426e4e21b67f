"""
The work whose instructions are counted: ``python -m benchmarks.counted 3000``.

Always one thread, no socket, and no garbage collection, so that two runs differ in
next to nothing. Each work is done in a child of its own, so that importing everything
is counted once; what a child that does nothing counts, all have in common. Prints the
children's pids by the names of their work.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable

from benchmarks.wire import (
    flood_frames,
    position_opened,
    text_frame,
    token_account,
    unmasked_frames,
)
from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.client import RequestExitSignal
from lasersell.protocol.codec import decode_server_message, encode_client_message
from lasersell.session.core import DeadlineSettings, SessionCore
from lasersell.session.events import StreamEvent
from lasersell.stream.frames import FrameParser, MaskKeys, Opcode, encode_frame
from lasersell.stream.lanes import Lanes
from lasersell.stream.options import StreamOptions
from lasersell.stream.reader import Reader
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Wakeup

__all__ = ["NOTHING", "REFERENCE", "WORK", "core_with_position", "main"]

Worker = Callable[[int], None]
"""Does a number of frames."""

TOGETHER = 300
"""Frames that one read of the socket brings."""
NOTHING, REFERENCE = "nothing", "reference"


def core_with_position() -> SessionCore:
    """Return a session's core that knows the position of the frames."""
    core = SessionCore(DeadlineSettings(), SYSTEM_CLOCK)
    (text,), _ = unmasked_frames(text_frame(position_opened(1)))
    core.apply(decode_server_message(text), [], [])
    return core


def _receive(*, mixed: bool) -> Worker:
    """Return what takes frames from bytes off the socket to ``recv()``."""
    data = b"".join(flood_frames(TOGETHER, 1, mixed=mixed))
    wakeup = Wakeup()
    lanes: Lanes[StreamEvent] = Lanes(2 * TOGETHER, 2 * TOGETHER, SYSTEM_CLOCK)
    receiver = lanes.receiver()
    parser = FrameParser(1 << 20)
    options = StreamOptions(api_key="key", endpoint="ws://127.0.0.1/")
    reader = Reader(
        Transport(options, wakeup),
        wakeup,
        lanes,
        core_with_position(),
        watchers={},
        on_batch=tuple,
        on_end=print,
    )

    def work(frames: int) -> None:
        for _ in range(frames // TOGETHER):
            texts = parser.feed(data)
            reader._take(texts)  # noqa: SLF001 - it has no socket here
            for _ in texts:
                receiver.get(None)

    return work


def _command() -> Worker:
    """Return what encodes commands to what is written to the socket."""
    masks = MaskKeys()
    account = token_account(1)

    def work(frames: int) -> None:
        for _ in range(frames):
            text = encode_client_message(RequestExitSignal(token_account=account))
            encode_frame(Opcode.TEXT, text, masks.next())

    return work


class _Place:
    """What the reference work reads and writes."""

    __slots__ = ("last", "total")

    def __init__(self) -> None:
        self.last: object = None
        self.total = 0


def _reference() -> Worker:
    """
    Return work of the same kind that uses nothing of ours: what the rest is divided by.

    It must stay as it is, or every ratio changes.
    """
    texts, _ = unmasked_frames(b"".join(flood_frames(TOGETHER, 1, mixed=False)))
    place = _Place()
    found: list[tuple[int, object]] = []

    def note(value: dict[str, int]) -> None:
        place.last = value
        place.total = max(place.total, value["profit_units"])
        found.append((value["position_id"], value))

    def work(frames: int) -> None:
        for _ in range(frames // TOGETHER):
            for text in texts:
                if text[2:6] == b"type":
                    note(json.loads(text))
            found.clear()

    return work


WORK: dict[str, Callable[[], Worker]] = {
    REFERENCE: _reference,
    "pnl": lambda: _receive(mixed=False),
    "mixed": lambda: _receive(mixed=True),
    "command": _command,
}


def main(frames: str) -> None:
    workers = {NOTHING: _do_nothing} | {name: make() for name, make in WORK.items()}
    gc.disable()
    for work in workers.values():
        work(2 * TOGETHER)
    print(json.dumps({n: _in_child(w, int(frames)) for n, w in workers.items()}))


def _do_nothing(_: int) -> None:
    """Return at once."""


def _in_child(work: Worker, frames: int) -> int:
    pid = os.fork()
    if not pid:
        work(frames)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"{work} failed")
    return pid


if __name__ == "__main__":
    main(*sys.argv[1:])
