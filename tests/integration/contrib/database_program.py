"""Many callbacks that use a database; prints what became of the connections."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from lasersell.protocol.server import BalanceUpdate
from lasersell.sim import SimServer
from tests.integration.contrib.site.notes import WALLET

NUMBER = int(sys.argv[1])
PATIENCE = 280.0

settings.configure(
    INSTALLED_APPS=["lasersell.contrib.django"],
    DATABASES={"default": json.loads(sys.argv[2])},
    USE_TZ=True,
)
django.setup()

from django.db import connection  # noqa: E402 - needs the settings
from django.db.backends.signals import connection_created  # noqa: E402

from lasersell.contrib.django.signals import balance_update  # noqa: E402
from lasersell.contrib.django.stream import worker  # noqa: E402

_opened: list[Any] = []
_answers: list[int] = []
_done = threading.Event()


def count(**_: Any) -> None:
    """Use the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM numbers")
        _answers.append(cursor.fetchone()[0])
    if len(_answers) == NUMBER:
        _done.set()


def open_files() -> int:
    """Return how many descriptors are open."""
    return len(os.listdir("/proc/self/fd"))


def sessions() -> int | None:
    """Return how many connections the database counts; None if it does not."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        answer: int = cursor.fetchone()[0]
    connection.close()
    return answer


def is_connected() -> bool:
    """Tell whether any thread of this process is connected to the database."""
    number = sessions()
    if number is not None:
        return number > 0
    file = os.path.realpath(settings.DATABASES["default"]["NAME"])
    links = Path("/proc/self/fd").iterdir()
    return any(link.exists() and os.path.realpath(link) == file for link in links)


def stays_connected() -> bool:
    """Tell whether a connection is there for longer than the end of a callback takes."""
    tick = threading.Event()
    for _ in range(40):
        if not is_connected():
            return False
        tick.wait(0.05)  # nothing tells that a connection was closed
    return True


def main() -> None:
    """Have the callbacks called, and tell."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE numbers (number INTEGER)")
        cursor.execute("INSERT INTO numbers VALUES (1)")
    connection.close()
    connection_created.connect(lambda **_: _opened.append(1), weak=False)
    balance_update.connect(count)
    update = BalanceUpdate(
        wallet_pubkey=WALLET, mint=WALLET, token_account=WALLET, tokens=1, slot=1
    )
    with SimServer(volatility_pct=0.0) as sim:
        settings.LASERSELL = {
            "stream": {"api_key": "made-up", "endpoint": sim.url},
            "configure": {"wallet_pubkeys": [WALLET]},
            "strategy": {"target_profit_pct": 5.0},
        }
        settings.SETTINGS_MODULE = "database_program"
        before = open_files()
        worker.start()
        sim.wait_for_connections(1)
        sim.flood([update], count=NUMBER)
        _done.wait(PATIENCE)
        opened, meanwhile = len(_opened), stays_connected()
        worker.stop()
        sim.wait_for_connections(0)
        report = {
            "callbacks": sum(_answers),
            "opened": opened,
            "connected_meanwhile": meanwhile,
            "connected_after": is_connected(),
            "files_more": open_files() - before,
        }
    sys.stdout.write(json.dumps(report))


main()
