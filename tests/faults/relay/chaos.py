"""
Publishers, workers and a Redis, killed at random under load; and what must come of it.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import redis

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell._threads import start_thread
from lasersell.protocol.server import Limits
from lasersell.relay.codec import StreamState, from_json
from lasersell.relay.feed import entry_of
from lasersell.relay.keys import Keys
from lasersell.sim import Holding, SimServer
from tests.faults.relay.worker_program import KEY
from tests.integration.relay.redis_server import RedisServer

__all__ = ["Chaos", "Report"]

ROOT = Path(__file__).parents[3]
KEYS = Keys("default")
WALLET = str(KEY.pubkey())
PUBLISHERS = 3
WORKERS = 4
PNL_RATE = 5_000
EXIT_EVERY_SEC = 0.1
OPEN_AT_MOST = 150
REDIS_AWAY_SEC = 1.0
SETTLE_SEC = 60.0
"""How long what is left may take once nothing is killed any more."""
LIMITS = Limits(
    hi_capacity=4096,
    pnl_flush_ms=100,
    max_positions_per_session=0,
    max_positions_per_wallet=0,
    max_sessions_per_api_key=1,
)


class Process:
    """A program that is killed and started again."""

    def __init__(self, log: Path, module: str, *arguments: str) -> None:
        self._log = log
        self._command = [sys.executable, "-W", "error", "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def kill(self) -> bool:
        """End it as a power cut would; return whether it ran until then."""
        process, self._process = self._process, None
        if process is None:
            return False
        was_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.kills += 1
        return was_running

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process is not None and self._process.poll() is not None


@attrs.define
class Stream:
    """What the high stream of Redis held: every entry whose XADD was acknowledged."""

    signals: dict[str, float] = attrs.Factory(dict)
    """The exit signals by their id, and when they were written, Unix epoch ms."""
    accounts: dict[str, str] = attrs.Factory(dict)
    tokens: list[tuple[int, float]] = attrs.Factory(list)
    """Each token in its order, and when its first entry was written."""
    problems: list[str] = attrs.Factory(list)
    entries: int = 0

    def take(self, entry: bytes, fields: dict[bytes, bytes]) -> None:
        """Note one entry."""
        self.entries += 1
        written_ms = float(entry.partition(b"-")[0])
        token = int(fields[b"t"])
        if not self.tokens or token > self.tokens[-1][0]:
            self.tokens.append((token, written_ms))
        elif token < self.tokens[-1][0]:
            self.problems.append(f"{entry!r}: a former leader's write was taken")
        read = entry_of(fields)
        name = fields[b"i"].decode()
        if b'"type":"exit_signal_with_tx"' in bytes(read.message):
            if name in self.signals:
                self.problems.append(f"the signal {name} was written twice")
            self.signals[name] = written_ms


class StreamReader:
    """Reads the high stream in a thread of its own, over restarts of Redis."""

    def __init__(self, server: RedisServer) -> None:
        self.stream = Stream()
        self._server = server
        self._stop = threading.Event()
        self._last = b"0-0"
        self._thread = start_thread("chaos-reader", self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._server.client() as client:
                    while not self._stop.is_set():
                        self._read(client)
            except redis.RedisError:
                self._stop.wait(0.1)

    def _read(self, client: Any) -> None:
        found = client.xread({KEYS.high: self._last}, count=1000, block=200)
        for _, entries in found:
            for entry, fields in entries:
                self.stream.take(entry, fields)
                self._last = entry

    def stop(self) -> None:
        """Read what is there, and end."""
        self._stop.set()
        self._thread.join()
        with self._server.client() as client:
            self._read(client)


@attrs.frozen(kw_only=True)
class Report:
    """What a run came to."""

    seconds: float
    problems: list[str]
    """What must not happen; empty if all is well."""
    kills: dict[str, int]
    signals: int
    handled: int
    duplicates: int
    sold: int
    take_overs: list[float]
    """Seconds from the death of a leader to the first entry of the next, sorted."""
    reactions: list[float]
    """Seconds from a price breach to its signal handled, sorted."""
    hops: list[float]
    """Seconds from the publisher's stream to the worker, of first deliveries, sorted."""

    def __str__(self) -> str:
        lines = [
            f"{self.seconds:.0f} s, killed: "
            + ", ".join(f"{count} x {what}" for what, count in self.kills.items()),
            f"{self.signals} exit signals written, {self.handled} handled, "
            f"{self.duplicates} of them more than once; {self.sold} positions sold",
            f"take-over: {_percentiles(self.take_overs)}",
            f"price breach to handled signal: {_percentiles(self.reactions)}",
            f"publisher to worker: {_percentiles(self.hops)}",
        ]
        return "\n".join([*lines, *(f"PROBLEM {text}" for text in self.problems)])


def _percentiles(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return ", ".join(
        f"{name} {1000 * seconds[min(len(seconds) - 1, int(share * len(seconds)))]:.1f} ms"
        for name, share in shares
    )


class Chaos:
    """
    One run.

    Args:
        home: A directory for everything that is written.
        seed: What chance depends on.
    """

    def __init__(self, home: Path, seed: int) -> None:
        self._home = home
        self._chance = random.Random(seed)
        self._handled = home / "handled.jsonl"
        self._handled.touch()
        (home / "redis").mkdir()
        self._redis = RedisServer(
            home / "redis", appendonly="yes", appendfsync="everysec"
        )
        self._sim = SimServer(volatility_pct=0.0, limits=LIMITS)
        self._publishers: list[Process] = []
        self._workers: list[Process] = []
        self._breaches: dict[str, float] = {}
        self._holdings: list[Holding] = []
        self._deaths: list[float] = []
        self._restarts: list[tuple[float, float]] = []
        self._stop = threading.Event()

    def run(self, seconds: float) -> Report:
        """Run for so many seconds, then until all is settled; return what came of it."""
        with self._running() as reader:
            buyer = start_thread("chaos-buyer", self._buy)
            self._kill_until(Deadline(seconds), seconds)
            self._stop.set()
            buyer.join()
            self._settle()
            reader.stop()
        return self._report(seconds, reader.stream)

    @contextlib.contextmanager
    def _running(self) -> Iterator[StreamReader]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._redis)
            stack.enter_context(self._sim)
            redis_url = self._redis.url
            for number in range(PUBLISHERS):
                self._publishers.append(
                    Process(
                        self._home / f"publisher-{number}.log",
                        "tests.faults.relay.publisher_program",
                        redis_url,
                        self._sim.url,
                        WALLET,
                    )
                )
            for number in range(WORKERS):
                self._workers.append(
                    Process(
                        self._home / f"worker-{number}.log",
                        "tests.faults.relay.worker_program",
                        redis_url,
                        self._sim.rpc_url,
                        str(self._home / f"journal-{number}.db"),
                        str(self._handled),
                    )
                )
            for process in (*self._publishers, *self._workers):
                process.start()
                stack.callback(process.kill)
            reader = StreamReader(self._redis)
            stack.callback(reader._stop.set)
            self._sim.wait_for_connections(1, timeout=30.0)
            self._sim.flood(rate=PNL_RATE)
            yield reader

    # Load

    def _buy(self) -> None:
        while not self._stop.wait(EXIT_EVERY_SEC):
            if len(self._sim.holdings()) > OPEN_AT_MOST:
                continue
            holding = self._sim.buy(WALLET)
            self._holdings.append(holding)
            self._breaches[holding.token_account] = SYSTEM_CLOCK.monotonic()
            self._sim.set_profit(holding, 10.0)

    # Death

    def _kill_until(self, deadline: Deadline, seconds: float) -> None:
        restarts = [Deadline(seconds / 3), Deadline(2 * seconds / 3)]
        while not deadline.has_passed():
            pause = min(self._chance.uniform(1.0, 3.0), deadline.remaining() or 0.0)
            self._stop.wait(pause)
            if restarts and restarts[0].has_passed():
                restarts.pop(0)
                self._restart_redis()
            elif self._chance.random() < 0.5:
                self._kill_publisher()
            else:
                self._kill(self._chance.choice(self._workers))

    def _kill(self, process: Process) -> None:
        process.kill()
        self._stop.wait(0.2)
        process.start()

    def _kill_publisher(self) -> None:
        leader = self._leader()
        victim = self._chance.choice([*self._publishers, *([leader] if leader else [])])
        is_leader = victim is leader
        died_at = SYSTEM_CLOCK.wall_ms()
        self._kill(victim)
        if is_leader:
            self._deaths.append(died_at)

    def _leader(self) -> Process | None:
        with self._redis.client() as client:
            state = client.hget(KEYS.meta, "state")
        if state is None:
            return None
        pid = int(from_json(state, StreamState).publisher.split("-")[-2])
        return next((p for p in self._publishers if p.pid == pid), None)

    def _restart_redis(self) -> None:
        began = SYSTEM_CLOCK.wall_ms()
        self._redis.kill()
        self._stop.wait(REDIS_AWAY_SEC)
        self._redis.start()
        self._restarts.append((began, SYSTEM_CLOCK.wall_ms()))

    # The end

    def _settle(self) -> None:
        deadline, tick = Deadline(SETTLE_SEC), threading.Event()
        while self._sim.holdings() and not deadline.has_passed():
            # The chain tells nobody that it has sold everything.
            tick.wait(0.1)
        # What is acknowledged is acknowledged after it was handled.
        tick.wait(2.0)

    def _report(self, seconds: float, stream: Stream) -> Report:
        lines = [json.loads(line) for line in self._handled.read_text().splitlines()]
        counts = Counter(line["id"] for line in lines)
        problems = list(stream.problems)
        problems += [
            f"{process._log.name} ended by itself"
            for process in (*self._publishers, *self._workers)
            if process.has_ended
        ]
        unhandled = [name for name in stream.signals if name not in counts]
        problems += [f"the signal {name} was never handled" for name in unhandled]
        handlers = {line["account"]: line["pid"] for line in lines}
        problems += [
            f"{account} was never sold; handled by {handlers.get(account)}"
            for account in (holding.token_account for holding in self._sim.holdings())
        ]
        sales = Counter(
            trade.holding.token_account
            for trade in self._sim.trades()
            if trade.side == "sell"
        )
        problems += [
            f"{account} was sold {count} times"
            for account, count in sales.items()
            if count > 1
        ]
        return Report(
            seconds=seconds,
            problems=problems,
            kills={
                "publisher": sum(p.kills for p in self._publishers) - PUBLISHERS,
                "worker": sum(p.kills for p in self._workers) - WORKERS,
                "redis": len(self._restarts),
            },
            signals=len(stream.signals),
            handled=len(counts),
            duplicates=sum(count > 1 for count in counts.values()),
            sold=len(sales),
            take_overs=sorted(self._take_overs(stream)),
            reactions=sorted(self._reactions(lines)),
            hops=sorted(
                line["at"] - line["published_at"]
                for line in lines
                if line["deliveries"] == 1
            ),
        )

    def _take_overs(self, stream: Stream) -> Iterator[float]:
        for died_at in self._deaths:
            after = [began for _, began in stream.tokens if began > died_at]
            is_disturbed = any(
                began - 5000 < died_at < ended + 5000 for began, ended in self._restarts
            )
            if after and not is_disturbed:
                yield (after[0] - died_at) / 1000

    def _reactions(self, lines: list[dict[str, Any]]) -> Iterator[float]:
        first: dict[str, float] = {}
        for line in lines:
            first.setdefault(line["account"], line["at"])
        for account, at in self._breaches.items():
            if account in first:
                yield first[account] - at
