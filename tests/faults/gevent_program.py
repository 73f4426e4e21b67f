"""
A program whose standard library was monkey-patched by gevent, as some web servers do.

Run as ``python -m tests.faults.gevent_program <endpoint> [<authority.pem>]``; prints
one line of JSON about a connect, a ping, a reconnect, an event and a close.
"""

from __future__ import annotations

# Nothing may be imported before the patch, or it keeps the real parts.
from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import ssl  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

import gevent  # noqa: E402

from tests.faults.client import connect, wait_for  # noqa: E402
from tests.faults.wire import event_number  # noqa: E402

__all__: list[str] = []


def main(endpoint: str, authority: str | None = None) -> None:
    """Use a stream from greenlets, one of which stands in for other work."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    steps = 0
    over = threading.Event()

    def other_work() -> None:
        nonlocal steps
        while not over.wait(0.001):
            steps += 1

    worker = gevent.spawn(other_work)
    with connect(endpoint, context) as connection:
        round_trip = connection.sender.ping().wait(timeout=5)
        wait_for(connection, "disconnected")
        second = wait_for(connection, "connected").number
        last = event_number(wait_for(connection, "pong"))
    over.set()
    worker.join(5)
    report = {
        "round_trip": 0 < round_trip < 5,
        "second": second,
        "last": last,
        "state": connection.state,
        "others_worked": steps > 10,
    }
    print(json.dumps(report), flush=True)  # noqa: T201 - the answer to the test


if __name__ == "__main__":
    main(*sys.argv[1:])
