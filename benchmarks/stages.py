"""
Where the time of a frame goes, stage by stage: ``python -m benchmarks.stages``.

One thread takes a flood off its socket and does with each batch, one stage after
the other, what the reader and the consumer do, reading its CPU time in between.
What the stages do not add up to is the price of two threads: switches, the GIL,
and memory that is in the other core's cache.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.clients.lasersell import consume
from benchmarks.counted import core_with_position
from benchmarks.docs import STAGES
from benchmarks.runner import LoadServer
from benchmarks.wire import WALLET
from benchmarks.work import Place, Work
from lasersell._clock import Deadline
from lasersell.protocol.client import Configure
from lasersell.protocol.codec import decode_server_message, encode_client_message
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.events import StreamEvent
from lasersell.stream.lanes import Lanes
from lasersell.stream.options import StreamOptions
from lasersell.stream.reader import Reader
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Wakeup

__all__ = ["main", "measure"]

_PNL = Work(script="flood", warm_up=1_200, frames=48_000)
_MIXED = Work(script="flood", warm_up=1_200, frames=24_000, mixed=True)

_FLOOR = "(to compare: msgspec.json.decode to a dict)"
_STAGES = (
    "transport: socket to texts",
    "decode: text to message",
    "apply: message to event",
    "hand-over: events into the lanes",
    "recv: event out of the lanes",
)
_COLUMNS = ("pnl_update", "every type")
_SUM = "sum of these"
_READER = "the reader's loop: decode, apply, hand-over"
_WHOLE = "socket to recv(), two threads"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stages", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    parser.add_argument(
        "--output", type=Path, default=Path("build/benchmarks"), help="a folder"
    )
    options = parser.parse_args(arguments)
    with LoadServer() as server:
        pnl = measure(server, _PNL, options.rounds)
        mixed = measure(server, _MIXED, options.rounds)
    names = (_FLOOR, *_STAGES, _SUM, _READER, _WHOLE)
    rows = {name: (pnl[name], mixed[name]) for name in names}
    print(f"{'CPU in ns a frame':46}" + "".join(f"{c:>12}" for c in _COLUMNS))
    for name, values in rows.items():
        print(f"{name:46}" + "".join(f"{value:12,.0f}" for value in values))
    print(f"the least of {options.rounds} rounds; load {os.getloadavg()[0]:.1f}")
    options.output.mkdir(parents=True, exist_ok=True)
    found = {"columns": _COLUMNS, "rows": rows}
    (options.output / STAGES).write_text(json.dumps(found, indent=2) + "\n")


def measure(server: LoadServer, work: Work, rounds: int) -> dict[str, float]:
    """
    Return the least of each stage over some rounds, in ns a frame.

    The least, because whatever disturbs a round only adds to it.
    """
    all_rounds = [_one_round(server, work) for _ in range(rounds)]
    least = {
        name: min(one[name] for one in all_rounds) / work.frames
        for name in all_rounds[0]
    }
    return least | {_SUM: sum(least[name] for name in _STAGES)}


def _one_round(server: LoadServer, work: Work) -> dict[str, float]:
    """Return the ns that each stage took for all frames."""
    whole = consume(Place(server.port, next(server.runs), work))
    return {
        **_stage_by_stage(server, work),
        **_in_the_reader(server, work),
        _WHOLE: whole["cpu_us"] * work.frames * 1_000,
    }


def _stage_by_stage(server: LoadServer, work: Work) -> dict[str, float]:
    spent = dict.fromkeys((_FLOOR, *_STAGES), 0.0)
    apply = core_with_position().apply
    lanes = _lanes(work)
    get = lanes.receiver().get
    now = time.thread_time_ns
    for transport in _flood(server, work):
        marks = [now()]
        texts = transport.recv_batch()
        marks.append(now())
        messages = [decode_server_message(text) for text in texts]
        marks.append(now())
        highs: list[StreamEvent] = []
        lows: list[StreamEvent] = []
        for message in messages:
            apply(message, highs, lows)
        marks.append(now())
        lanes.put_within_bound(highs, lows, bool, _nothing)
        marks.append(now())
        for _ in texts:
            get(None)
        marks.append(now())
        for text in texts:
            msgspec.json.decode(text)
        marks.append(now())
        for name, begin, end in zip(
            (*_STAGES, _FLOOR), marks[:-1], marks[1:], strict=True
        ):
            spent[name] += end - begin
    return spent


def _in_the_reader(server: LoadServer, work: Work) -> dict[str, float]:
    wakeup = Wakeup()
    lanes = _lanes(work)
    receiver = lanes.receiver()
    reader = Reader(
        Transport(_options("ws://127.0.0.1/"), wakeup),
        wakeup,
        lanes,
        core_with_position(),
        watchers={},
        on_batch=tuple,
        on_end=print,
    )
    spent = 0
    for transport in _flood(server, work):
        texts = transport.recv_batch()
        start = time.thread_time_ns()
        reader._take(texts)  # noqa: SLF001 - it has no socket of its own here
        spent += time.thread_time_ns() - start
        for _ in texts:
            receiver.get(None)
    wakeup.close()
    return {_READER: spent}


def _flood(server: LoadServer, work: Work) -> Iterator[Transport]:
    """Yield the transport for each batch that is to be received of a flood."""
    place = Place(server.port, next(server.runs), work)
    wakeup = Wakeup()
    transport = Transport(_options(place.endpoint), wakeup)
    transport.open(Deadline(10))
    strategy = StrategyConfig(target_profit_pct=5.0)
    configure = Configure(wallet_pubkeys=(WALLET,), strategy=strategy)
    transport.send_texts(encode_client_message(configure))
    place.go()
    frames = 2 + work.positions + work.warm_up
    while transport.stats.frames_in < frames:
        transport.recv_batch()
    place.go()
    frames += work.frames
    while transport.stats.frames_in < frames:
        yield transport
    transport.begin_close()
    transport.dispose()
    wakeup.close()


def _options(endpoint: str) -> StreamOptions:
    return StreamOptions(api_key="key", endpoint=endpoint)


def _lanes(work: Work) -> Lanes[StreamEvent]:
    return Lanes(work.frames, work.frames)


def _nothing() -> None:
    """Be called when there is room again."""


if __name__ == "__main__":
    main()
