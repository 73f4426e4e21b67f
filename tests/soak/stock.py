"""
The control: plain websocket-client in two threads, as everybody writes it.

Under the same load as ours (``python -m tests.soak.soak --client stock MINUTES``)
it loses connections that nobody ended; if it did not, the soak would prove nothing.
"""
# ruff: noqa: T201 - a program, it talks to whoever runs it

from __future__ import annotations

import json
import ssl
import sys

import websocket

from lasersell._clock import Deadline
from tests.soak.load import under_load
from tests.soak.report import Report

TIMEOUT = 1.0


def main(endpoint: str, ca_file: str, seconds: float) -> Report:
    """Keep connections under load for a while, one after the other."""
    context = ssl.create_default_context(cafile=ca_file)
    report = Report()
    end = Deadline(seconds)
    while not end.has_passed():
        socket = websocket.create_connection(
            endpoint, timeout=TIMEOUT, sslopt={"context": context}, redirect_limit=0
        )
        _use(socket, report, end)
    return report


def _use(socket: websocket.WebSocket, report: Report, end: Deadline) -> None:
    def write(text: str) -> None:
        command = {"type": "mirror_buy_result", "mint": text, "success": True}
        socket.send(json.dumps(command))

    def ping() -> None:
        socket.send('{"type":"ping","client_time_ms":1}')

    try:
        with under_load(write, ping, failed=Exception):
            _read(socket, report, end)
    except Exception as error:  # noqa: BLE001 - anything it raises is what we count
        report.disconnects.append(f"{type(error).__name__}: {error}")
    socket.shutdown()  # type: ignore[no-untyped-call]


def _read(socket: websocket.WebSocket, report: Report, end: Deadline) -> None:
    last = 0
    while not end.has_passed():
        try:
            message = json.loads(socket.recv())
        except websocket.WebSocketTimeoutException:
            continue
        if message["type"] == "balance_update":
            report.events += 1
            report.lost_events += message["slot"] != last + 1
            last = message["slot"]
        elif message["type"] == "pong":
            report.pings += 1


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], float(sys.argv[3])).to_json())
