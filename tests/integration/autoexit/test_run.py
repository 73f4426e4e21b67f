from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import attrs
import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.cli.codes import (
    IN_USE,
    LEFT_UNDER_WAY,
    MISTAKE,
    NOT_ACCEPTED,
    STOPPED,
    STREAM_ENDED,
)
from lasersell.sim import DEFAULT_LIMITS, SimServer
from tests.integration.autoexit.bench import Bench, sales
from tests.integration.autoexit.daemon import API_KEY, Daemon, DaemonHome
from tests.patience import PATIENCE, SLACK
from tests.programs import lasersell

# Each starts the real daemon, most of them two or three times.
pytestmark = pytest.mark.slow

TAKEOVER_SEC = 1.0


@pytest.fixture
def home(bench: Bench, tmp_path: Path) -> DaemonHome:
    """Return the home of a daemon on the bench."""
    return DaemonHome(tmp_path, bench.sim)


def told_by(daemon: Daemon) -> str:
    """Return what a daemon that ended wrote to its standard output."""
    assert daemon.process.stdout is not None
    return daemon.process.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_sells_until_it_is_stopped(
    bench: Bench, home: DaemonHome, number: signal.Signals
) -> None:
    """Each step is a line a person can follow, and the end is clean."""
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    with home.start() as daemon:
        daemon.wait_for(r"SIM1: ended: sold")
        assert daemon.end(number) == STOPPED
        log = daemon.log
    assert len(sales(bench.sim)) == 1
    for line in ("selling for", "SIM1: signal: target_profit", "SIM1: submitted"):
        assert line in log
    assert f"{number.name}" in log
    assert "stopped as asked" in log
    assert str(home.keypair) not in log
    assert API_KEY not in log


def test_a_stop_finishes_what_is_under_way(bench: Bench, home: DaemonHome) -> None:
    """A transaction that was submitted is waited for."""
    home.configure(exits="", run="stop_timeout = 15")
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    bench.sim.faults.submissions("delay", times=10_000)
    with home.start() as daemon:
        daemon.wait_for("submitted")
        landing = threading.Timer(0.5, bench.sim.faults.land_delayed)
        landing.start()
        assert daemon.end(signal.SIGTERM) == STOPPED
        landing.join()
        assert "ended: sold" in daemon.log


def test_a_stop_has_a_bound(bench: Bench, home: DaemonHome) -> None:
    """What does not land in time is left to the next run, and the exit code says so."""
    home.configure(run="stop_timeout = 0.3")
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    bench.sim.faults.submissions("delay", times=10_000)
    with home.start() as daemon:
        daemon.wait_for("submitted")
        assert daemon.end(signal.SIGTERM) == LEFT_UNDER_WAY
    bench.sim.faults.land_delayed()
    with home.start() as daemon:
        daemon.wait_for("may still land")
        daemon.wait_for("ended: sold")
    assert len(sales(bench.sim)) == 1


def test_a_second_signal_does_not_wait(bench: Bench, home: DaemonHome) -> None:
    """Who asks twice is not made to wait for what is under way."""
    home.configure(run="stop_timeout = 600")
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    bench.sim.faults.submissions("delay", times=10_000)
    with home.start() as daemon:
        daemon.wait_for("submitted")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for("finishing what is under way")
        assert daemon.end(signal.SIGTERM) == LEFT_UNDER_WAY


def test_the_stream_that_ends_for_good_ends_it(bench: Bench, home: DaemonHome) -> None:
    """A key that is refused later ends the daemon with a code of its own."""
    with home.start() as daemon:
        daemon.wait_for("selling for")
        bench.sim.refuse_upgrades(401)
        bench.sim.drop()
        assert daemon.end() == NOT_ACCEPTED


def test_a_refused_key_is_told(bench: Bench, home: DaemonHome) -> None:
    """A key that the service does not know ends the daemon at once."""
    bench.sim.change_options(api_keys=["another"])
    with home.start() as daemon:
        assert daemon.end() == NOT_ACCEPTED


def test_a_server_that_is_away_is_told(home: DaemonHome) -> None:
    """Whoever restarts it may try again."""
    home.configure(endpoint="ws://127.0.0.1:1/v1/ws")
    with home.start() as daemon:
        assert daemon.end() == STREAM_ENDED
        assert "cannot connect" in daemon.log


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[exit]", "no table [exit]; did you mean 'exits'?"),
        ("[loss_cap]\nlamport = 5", "[loss_cap] has no 'lamport'; did you mean"),
        ("[loss_cap]\nlamports = -5", "[loss_cap] lamports must be a whole number"),
        ("[mirror]\nwatch = 5", "[mirror] has no 'watch'"),
        ("[", "is not TOML"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(
    home: DaemonHome, more: str, told: str
) -> None:
    """The table and the key are named, and nothing is started."""
    home.configure(more=more)
    with home.start("--check") as daemon:
        assert daemon.end() == MISTAKE
        assert told in daemon.log
        assert daemon.log.count("\n") == 1


def test_a_check_says_what_would_run(home: DaemonHome) -> None:
    """A good configuration is summed up, without a connection and without secrets."""
    with home.start("--check", "--dry-run") as daemon:
        assert daemon.end() == STOPPED
        told = told_by(daemon)
    assert f"wallets: {home.wallet}" in told
    assert "dry run: yes" in told
    assert "the configuration is good" in told
    assert API_KEY not in told
    assert str(home.keypair) not in told


def test_a_dry_run_submits_nothing(bench: Bench, home: DaemonHome) -> None:
    """The environment can turn submission off."""
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    with home.start(LASERSELL_DRY_RUN="1") as daemon:
        daemon.wait_for("ended: dry_run")
    assert bench.submitted == []


def test_the_kill_file_holds_it_back(
    bench: Bench, home: DaemonHome, tmp_path: Path
) -> None:
    """While the file is there, nothing is submitted."""
    kill_file = tmp_path / "stop-selling"
    kill_file.touch()
    home.configure(run=f'kill_file = "{kill_file}"')
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    with home.start() as daemon:
        daemon.wait_for("signal: target_profit")
        daemon.wait_for("paused")
        kill_file.unlink()
        daemon.wait_for("ended: sold")
    assert len(sales(bench.sim)) == 1


def test_systemd_is_told(home: DaemonHome, short_path: Path) -> None:
    """READY once the stream is live, STOPPING when it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(short_path / "notify"))
        listener.settimeout(PATIENCE)
        with home.start(NOTIFY_SOCKET=str(short_path / "notify")) as daemon:
            assert b"READY=1" in listener.recv(1000)
            daemon.end(signal.SIGTERM)
            assert listener.recv(1000) == b"STOPPING=1"


# Two of them


@pytest.fixture
def strict(bench: Bench) -> SimServer:
    """Return the server, which allows one session per key as the published plans do."""
    limits = attrs.evolve(DEFAULT_LIMITS, max_sessions_per_api_key=1)
    bench.sim.change_options(limits=limits)
    return bench.sim


def test_a_second_daemon_takes_over_from_one_that_is_killed(
    bench: Bench, home: DaemonHome, strict: SimServer
) -> None:
    """It stands by, streams within 1 s of the kill, sells, and there are never two streams."""
    holding = bench.sim.buy(home.wallet)
    with home.start() as first:
        first.wait_for("selling for")
        with home.start() as second:
            second.wait_for(rf"process {first.process.pid} holds .*; standing by")
            killed_at = SYSTEM_CLOCK.monotonic()
            first.kill()
            strict.wait_for_connections(0, timeout=PATIENCE)
            strict.wait_for_connections(1, timeout=PATIENCE)
            took = SYSTEM_CLOCK.monotonic() - killed_at
            bench.sim.set_profit(holding, 10)
            second.wait_for("ended: sold")
    assert took < SLACK * TAKEOVER_SEC
    statuses = [entry.item.status for entry in strict.upgrades.entries()]
    assert statuses == [101, 101]
    assert len(sales(strict)) == 1


def test_a_second_daemon_may_refuse_to_stand_by(home: DaemonHome) -> None:
    """The exit code tells that another one streams."""
    with home.start() as first:
        first.wait_for("selling for")
        with home.start("--no-stand-by") as second:
            assert second.end() == IN_USE
            assert f"process {first.process.pid} holds the wallet" in second.log


def test_a_standby_can_be_stopped(home: DaemonHome) -> None:
    """A daemon that waits ends as cleanly as one that works."""
    with home.start() as first:
        first.wait_for("selling for")
        with home.start() as second:
            second.wait_for("standing by")
            assert second.end(signal.SIGTERM) == STOPPED


# The journal command


def run_journal(*arguments: str) -> str:
    """Return what ``lasersell journal`` prints."""
    return subprocess.run(
        lasersell("journal", *arguments),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout


def test_the_journal_is_listed_and_exported(
    bench: Bench, home: DaemonHome, tmp_path: Path
) -> None:
    """While the daemon runs: a table, JSON, and CSV in a file."""
    bench.sim.buy(home.wallet, profits_pct=[0, 10])
    bench.sim.faults.submissions("slippage_exceeded")
    with home.start() as daemon:
        daemon.wait_for("ended: sold")
        table = run_journal(str(home.journal))
        told = json.loads(run_journal(str(home.journal), "--format", "json"))
        csv_file = tmp_path / "journal.csv"
        run_journal(str(home.journal), "--format", "csv", "-o", str(csv_file))
        none = run_journal(str(home.journal), "--outcome", "gave_up", "--format", "csv")
        buys = run_journal(str(home.journal), "--buys")
    signature = bench.submitted[-1].signature
    assert "SIM1" in table
    assert "+0.0100 SOL" in table
    assert signature in table
    outcomes = [attempt["outcome"] for attempt in told[0]["attempts"]]
    assert outcomes == ["failed", "landed"]
    assert len(csv_file.read_text().splitlines()) == 3
    assert len(none.splitlines()) == 1
    assert "spent" in buys
