from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell.sim import SimServer
from tests.integration.relay.redis_server import RedisServer, running_redis
from tests.programs import Program

_HOME = Path(__file__).parents[2] / "examples" / "relay"
_EXAMPLES = sorted(_HOME.glob("*.py"))
_WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"


@pytest.fixture
def rising_market() -> Iterator[SimServer]:
    """Run a server on which a position gains, and reaches 7 % within seconds."""
    with SimServer(seed=1) as server:
        server.buy(_WALLET, profits_pct=[0.1 * tick for tick in range(75)])
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that keeps nothing."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@contextlib.contextmanager
def _running(
    server: SimServer, redis: RedisServer, *command: str
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-u", *command],
        cwd=_HOME,
        env={
            **os.environ,
            "LASERSELL_API_KEY": "a-made-up-key",
            "LASERSELL_STREAM_ENDPOINT": server.url,
            "LASERSELL_WALLET": _WALLET,
            "LASERSELL_REDIS_URL": redis.url,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_publisher_and_worker_do_what_they_say(
    rising_market: SimServer, redis_server: RedisServer
) -> None:
    """The worker shows the opening and the exit that the publisher's stream brought."""
    with (
        _running(rising_market, redis_server, "publisher.py"),
        _running(rising_market, redis_server, "worker.py") as worker,
    ):
        output, errors = worker.communicate(timeout=25)
    assert errors == ""
    assert worker.returncode == 0
    assert "opened: <PositionHandle" in output
    assert "exit: <PositionHandle" in output


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_an_exit_becomes_a_celery_task(
    rising_market: SimServer, redis_server: RedisServer
) -> None:
    """The bridge hands the signal to Celery, whose worker runs the task."""
    celery = ["-m", "celery", "-A", "celery_tasks", "worker", "--pool", "solo"]
    celery += ["--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    with (
        _running(rising_market, redis_server, *celery) as worker,
        _running(rising_market, redis_server, "celery_tasks.py"),
        _running(rising_market, redis_server, "publisher.py"),
    ):
        program = Program(worker)
        program.wait_for(r"sell SIM1: sign and send it here", timeout=60)
        program.end(signal.SIGTERM)


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_fits_on_a_screen(example: Path) -> None:
    """An example is short enough to be read at once."""
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 28
