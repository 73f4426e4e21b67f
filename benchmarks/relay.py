"""
How long a signal takes from the server's socket to a worker: ``python -m benchmarks.relay``.

Load server, publisher, worker and Redis are processes of their own on this machine, as
they would be on hosts of their own: none waits for another's interpreter, and their
monotonic clocks are one. The load server stamps each signal just before it writes it.
Each signal is the first of its position, over a steady rate of PnL updates that goes round
all positions.

Beside it, under the same load: one hop of a record as large between two bare processes
over the same Redis, XADD to XREADGROUP, with nothing but redis-py. That is the floor: a
signal makes one such hop, after one from the load server to the publisher.

On few cores the processes wait for each other, and in a virtual machine for a core to be
woken up, or for the host, which says how much of the time it took ("stolen"). A run with
more than a hundredth stolen tells of the host. To tell waiting for a core from what is
ours, put everything on one core, which is then never woken by another: ``taskset -c 1
python -m benchmarks.relay``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import redis

from benchmarks.measure import spread
from benchmarks.runner import LoadServer
from benchmarks.wire import WALLET
from benchmarks.work import Place, Work
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay, RelaySession
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["main"]

WARM_UP = 20
GROUP = "g"
RECORD = b"x" * 4096
"""As large as the record of an exit signal."""
_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = os.cpu_count() or 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay")
    parser.add_argument("--signals", type=int, default=300)
    parser.add_argument("--interval-ms", type=float, default=20.0)
    parser.add_argument("--rates", type=int, nargs="+", default=[0, 1_000, 5_000])
    parser.add_argument("--role", choices=list(_ROLES))
    parser.add_argument("addresses", nargs="*")
    arguments = parser.parse_args()
    if arguments.role:
        _ROLES[arguments.role](*arguments.addresses)
        return
    with LoadServer() as server:
        for rate in arguments.rates:
            _measure(server, rate, arguments.signals, arguments.interval_ms)


# The processes


def _publish(url: str, endpoint: str) -> None:
    relay = Relay(
        url,
        StreamClient("a-key", endpoint=endpoint),
        StreamConfigure([WALLET], StrategyConfig(target_profit_pct=500.0)),
        groups=[GROUP],
    )
    with relay:
        relay.wait_for_role("leading")
        print("ready", flush=True)
        threading.Event().wait()


def _work(url: str) -> None:
    """Print of each signal how old it is, in ns: since the server, since the publisher."""
    with RelaySession.connect(url, group=GROUP) as session:
        print("ready", flush=True)
        for event in session:
            message = event.message
            if isinstance(message, ExitSignalWithTx):
                now = time.monotonic_ns()
                arrived = int(1e9 * event.arrival.at)
                print(now - (message.triggered_at_ms or 0), now - arrived, flush=True)


def _send_bare(url: str, count: str, interval_ms: str) -> None:
    client, tick = redis.Redis.from_url(url, protocol=2), threading.Event()
    for _ in range(int(count)):
        tick.wait(float(interval_ms) / 1000)
        client.xadd("bare", {"t": time.monotonic_ns(), "e": RECORD})


def _receive_bare(url: str) -> None:
    client = redis.Redis.from_url(url, protocol=2)
    client.xgroup_create("bare", GROUP, id="0", mkstream=True)
    print("ready", flush=True)
    while True:
        found: Any = client.xreadgroup(GROUP, "one", {"bare": ">"}, count=1, block=1000)
        for _, entries in found:
            for _, fields in entries:
                print(time.monotonic_ns() - int(fields[b"t"]), flush=True)


_ROLES: dict[str, Callable[..., None]] = {
    "publisher": _publish,
    "worker": _work,
    "sender": _send_bare,
    "receiver": _receive_bare,
}


@contextlib.contextmanager
def _process(role: str, *addresses: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.relay", "--role", role]
    command += map(str, addresses)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _redis() -> Iterator[tuple[str, int]]:
    """Run a Redis; yield its URL and its process id."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("no redis-server: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        command = [program, "--port", str(port), "--save", "", "--dir", home]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                for _ in range(200):
                    with (
                        contextlib.suppress(OSError),
                        socket.create_connection(("127.0.0.1", port)),
                    ):
                        break
                    threading.Event().wait(0.02)
                yield f"redis://127.0.0.1:{port}", process.pid
            finally:
                process.kill()


# Measuring


@attrs.frozen
class _Cpu:
    """The CPU time that processes take, from now on."""

    processes: dict[str, int]
    began: float = attrs.field(factory=time.monotonic)
    before: dict[str, float] = attrs.field(init=False)

    @before.default
    def _now(self) -> dict[str, float]:
        return {name: _cpu_seconds(pid) for name, pid in self.processes.items()}

    def __str__(self) -> str:
        wall, now = time.monotonic() - self.began, self._now()
        return ", ".join(
            f"{name} {100 * (now[name] - self.before[name]) / wall:.0f} %"
            for name in self.processes
        )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _stolen_seconds() -> float:
    """Return how long the host of a virtual machine let all its cores wait, so far."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / _TICKS


def _measure(server: LoadServer, rate: int, signals: int, interval_ms: float) -> None:
    count = signals + WARM_UP
    work = Work(
        script="exits",
        # Twice: while the bare hops are measured the load goes on.
        positions=2 * count,
        exits=2 * count,
        pnl_rate=rate,
        interval_ms=interval_ms,
    )
    place = Place(server.port, next(server.runs), work)
    with (
        _redis() as (url, redis_pid),
        _process("worker", url) as worker,
        _process("publisher", url, place.endpoint) as publisher,
    ):
        _numbers(worker, 0)
        _numbers(publisher, 0)
        place.go()
        began, stolen = time.monotonic(), _stolen_seconds()
        cpu = _Cpu(
            {"publisher": publisher.pid, "Redis": redis_pid, "worker": worker.pid}
        )
        ages = _numbers(worker, count)[WARM_UP:]
        used = str(cpu)
        with (
            _process("receiver", url) as receiver,
            _process("sender", url, count, interval_ms),
        ):
            _numbers(receiver, 0)
            hops = _numbers(receiver, count)[WARM_UP:]
    stolen = (_stolen_seconds() - stolen) / (time.monotonic() - began) / _CORES
    print(
        f"{rate} pnl/s, {signals} signals; load {os.getloadavg()[0]:.1f}, "
        f"stolen {100 * stolen:.1f} %"
    )
    print(f"  server to worker:        {_show([age for age, _ in ages])}")
    print(f"  publisher to worker:     {_show([age for _, age in ages])}")
    print(f"  bare hop over the Redis: {_show([hop for (hop,) in hops])}")
    print(f"  CPU: {used}", flush=True)


def _numbers(process: subprocess.Popen[str], lines: int) -> list[list[int]]:
    """Wait until a process is ready, or has printed so many lines of numbers."""
    assert process.stdout is not None
    if not lines:
        process.stdout.readline()
    return [
        [int(number) for number in process.stdout.readline().split()]
        for _ in range(lines)
    ]


def _show(nanoseconds: list[int]) -> str:
    of = spread([number / 1e6 for number in nanoseconds], "ms")
    return f"p50 {of['p50_ms']:.2f} ms, p99 {of['p99_ms']:.2f} ms, max {of['max_ms']:.2f} ms"


if __name__ == "__main__":
    main()
