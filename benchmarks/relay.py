"""
How long a signal takes from the publisher's stream to a worker: ``python -m benchmarks.relay``.

Publisher, worker, simulator and Redis are processes of their own on this machine, so that
their monotonic clocks are one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from lasersell.protocol.server import ExitSignalWithTx
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay, RelaySession
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["main"]

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
WARM_UP = 20
PROBES = 200


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay")
    parser.add_argument("--signals", type=int, default=300)
    parser.add_argument("--interval-ms", type=float, default=20.0)
    parser.add_argument("--rates", type=int, nargs="+", default=[0, 1_000, 5_000])
    parser.add_argument("--role", choices=["publisher", "worker"])
    parser.add_argument("addresses", nargs="*")
    arguments = parser.parse_args()
    if arguments.role == "publisher":
        _publish(*arguments.addresses)
    elif arguments.role == "worker":
        _work(*arguments.addresses)
    else:
        for rate in arguments.rates:
            _measure(rate, arguments.signals, arguments.interval_ms / 1000)


# The processes


def _publish(url: str, endpoint: str) -> None:
    relay = Relay(
        url,
        StreamClient("a-key", endpoint=endpoint),
        StreamConfigure([WALLET], StrategyConfig(target_profit_pct=500.0)),
        groups=["g"],
    )
    relay.run()


def _work(url: str, group: str) -> None:
    with RelaySession.connect(url, group=group or None) as session:
        print("ready", flush=True)
        for event in session:
            message = event.message
            if isinstance(message, ExitSignalWithTx):
                now = time.monotonic()
                sent_at = float(message.reason or 0)
                print(json.dumps([now - sent_at, now - event.arrival.at]), flush=True)


@contextlib.contextmanager
def _process(role: str, *addresses: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.relay", "--role", role, *addresses]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _redis() -> Iterator[int]:
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
                yield port
            finally:
                process.kill()


# Measuring


def _measure(rate: int, signals: int, interval: float) -> None:
    with (
        _redis() as port,
        SimServer(volatility_pct=0.0) as sim,
        _process("publisher", url := f"redis://127.0.0.1:{port}", sim.url),
        _process("worker", url, "g") as worker,
    ):
        assert worker.stdout is not None
        worker.stdout.readline()
        sim.wait_for_connections(1)
        sim.buy(WALLET)
        if rate:
            sim.flood(rate=rate)
        threading.Event().wait(1.0)
        sender = threading.Thread(
            target=_send, args=(sim, signals + WARM_UP, interval), daemon=True
        )
        sender.start()
        times = [json.loads(worker.stdout.readline()) for _ in range(signals + WARM_UP)]
        sender.join()
        floor = _floor(port)
    kept = times[WARM_UP:]
    print(f"{rate} pnl/s, {signals} signals; load {os.getloadavg()[0]:.1f}")
    print(f"  simulator to worker:  {_show([t[0] for t in kept])}")
    print(f"  publisher to worker:  {_show([t[1] for t in kept])}")
    print(f"  PING of Redis, alone: {_show(floor)}", flush=True)


def _send(sim: SimServer, count: int, interval: float) -> None:
    holding = sim.holdings(WALLET)[0]
    tick = threading.Event()
    for number in range(count):
        tick.wait(interval)
        sim.send(
            ExitSignalWithTx(
                session_id=1,
                position_id=holding.position_id,
                wallet_pubkey=WALLET,
                mint=holding.mint,
                token_account=f"{holding.token_account[:-3]}{number:03}",
                position_tokens=1,
                profit_units=0,
                reason=f"{time.monotonic()}",
                triggered_at_ms=int(1000 * time.time()),
                unsigned_tx_b64="AA==",
            )
        )


def _floor(port: int) -> list[float]:
    """Return the times of bare PINGs over a socket: what this machine can do now."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PROBES):
            threading.Event().wait(0.005)
            began = time.monotonic()
            sock.sendall(b"PING\r\n")
            sock.recv(64)
            times.append(time.monotonic() - began)
    return times


def _show(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return (
        f"p50 {1000 * statistics.median(ordered):.2f} ms, p99 {1000 * p99:.2f} ms, "
        f"max {1000 * ordered[-1]:.2f} ms"
    )


if __name__ == "__main__":
    main()
