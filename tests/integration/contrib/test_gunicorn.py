"""gunicorn with four workers: one stream, whoever dies."""

from __future__ import annotations

import os
import signal
from itertools import product

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.sim import SimServer
from tests.integration.contrib.servers import SITE, Home, Server
from tests.integration.contrib.site.notes import WALLET

pytestmark = pytest.mark.slow

WORKERS = 4
TAKEOVER_SEC = 3.0
STOP_SEC = 3.0
SLACK = 6.0
"""What a machine that does much else may take of both; a hang takes 30 s."""

APPLICATIONS = {
    "django": f"{SITE}.wsgi:application",
    "flask": f"{SITE}.flask_app:app",
}
DEFAULT = ("flask", "sync", True)
REST = set(product(APPLICATIONS, ("sync", "gthread"), (False, True))) - {DEFAULT}


def command(application: str, worker_class: str, preload: bool) -> list[str]:
    """Return the command line of a gunicorn."""
    return [
        "gunicorn",
        APPLICATIONS[application],
        "--config=tests/integration/contrib/site/gunicorn.conf.py",
        "--bind=127.0.0.1:0",
        f"--workers={WORKERS}",
        f"--worker-class={worker_class}",
        "--threads=2" if worker_class == "gthread" else "--threads=1",
        *(["--preload"] if preload else []),
    ]


def live_through(home: Home, sim: SimServer, server: Server) -> None:
    """Have an exit, kill the leader, have another exit, and stop."""
    first = sim.buy(WALLET)
    leader = home.box.wait_for("connected")["pid"]
    server.wait_for_candidates(WORKERS)
    sim.set_profit(first, 10.0)
    assert home.box.wait_for("exit_signal_with_tx")["pid"] == leader
    sim.sell(first)
    home.box.wait_for("position_closed")
    assert sim.connection_count == len(sim.upgrades.entries()) == 1
    # Long before Ctrl-C: a thread worker that is told to end while it accepts a request
    # waits for a lock of its own, until gunicorn kills it after 30 s.
    assert server.get() in ("leading", "standing by", "idle")

    second = sim.buy(WALLET)
    home.box.wait_for("position_opened", second.token_account)
    started = SYSTEM_CLOCK.monotonic()
    os.kill(leader, signal.SIGKILL)
    successor = home.box.wait_for("connected")["pid"]
    assert SYSTEM_CLOCK.monotonic() - started < SLACK * TAKEOVER_SEC
    assert successor != leader
    sim.set_profit(second, 10.0)
    assert home.box.wait_for("exit_signal_with_tx")["pid"] == successor
    sim.sell(second)
    home.box.wait_for("position_closed")

    # With the one that gunicorn starts for the dead one; until that has handlers of its
    # own for signals, it hears none.
    server.wait_for_candidates(WORKERS + 1)
    exits = [note["account"] for note in home.box.of("exit_signal_with_tx")]
    assert exits == [first.token_account, second.token_account]
    assert sim.connection_count == 1
    assert len(sim.upgrades.entries()) == 2

    assert server.press_ctrl_c() < SLACK * STOP_SEC
    sim.wait_for_connections(0)


@pytest.mark.timeout(120)
def test_one_worker_leads(home: Home, sim: SimServer) -> None:
    """One worker has the stream; killed, another takes over; Ctrl-C ends them all."""
    with home.run(*command(*DEFAULT)) as server:
        live_through(home, sim, server)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("application", "worker_class", "preload"), sorted(REST))
def test_every_other_combination(
    home: Home, sim: SimServer, application: str, worker_class: str, preload: bool
) -> None:
    """The same holds for each framework, kind of worker, and moment of loading."""
    with home.run(*command(application, worker_class, preload)) as server:
        live_through(home, sim, server)
