from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from lasersell.cli.group import group
from lasersell.relay import RelaySession
from lasersell.relay.keys import Keys
from lasersell.sim import SimServer
from tests.integration.relay.bench import wait_for
from tests.integration.relay.redis_server import RedisServer, free_port
from tests.programs import Program, lasersell
from tests.unit.session.frames import WALLET

_CONFIG = """
[stream]
endpoint = "{endpoint}"
[configure]
wallet_pubkeys = ["{wallet}"]
[strategy]
target_profit_pct = 5.0
[session]
wait_configured = 0.0
[relay]
url = "{url}"
name = "prod"
groups = ["sellers"]
[policy]
lease = 1.0
"""


@contextmanager
def _program(*arguments: str) -> Iterator[Program]:
    with subprocess.Popen(
        lasersell("relay", *arguments),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LASERSELL_API_KEY": "a-made-up-key"},
    ) as process:
        program = Program(process)
        try:
            yield program
        finally:
            program.end(signal.SIGKILL)


@pytest.mark.slow
def test_the_command_publishes_until_it_is_stopped(
    sim: SimServer, redis_server: RedisServer
) -> None:
    """SIGTERM lets a stand-by take over at once; both end with 0."""
    options = ["--redis", redis_server.url, "--wallet", WALLET, "--target", "5"]
    options += ["--endpoint", sim.url]
    with (
        RelaySession.connect(redis_server.url) as session,
        _program(*options) as leader,
    ):
        wait_for(session, "hello_ok")
        with _program(*options) as stand_by:
            stand_by.wait_for("Relay 'default'")
            assert leader.end(signal.SIGTERM) == 0
            wait_for(session, "hello_ok")
            assert stand_by.end(signal.SIGINT) == 0


@pytest.mark.slow
def test_the_command_reads_a_file(
    sim: SimServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Its tables are the arguments of what they configure."""
    config = tmp_path / "relay.toml"
    config.write_text(
        _CONFIG.format(endpoint=sim.url, wallet=WALLET, url=redis_server.url)
    )
    with (
        RelaySession.connect(redis_server.url, name="prod") as session,
        _program("--config", str(config)) as program,
    ):
        wait_for(session, "hello_ok")
        with redis_server.client() as client:
            (shared,) = client.xinfo_groups(Keys("prod").high)
        assert shared["name"] == b"sellers"
        assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wallet", WALLET, "--target", "5"], "--redis"),
        (["--redis", "redis://localhost", "--target", "5"], "--wallet"),
        (["--redis", "nonsense", "--wallet", WALLET, "--target", "5"], "Redis URL"),
        (
            ["--redis", "redis://h", "--wallet", WALLET, "--stop", "5", "--name", "{}"],
            "name must be",
        ),
    ],
)
def test_a_mistake_is_told_and_its_cure(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 2, and nothing was connected."""
    monkeypatch.setenv("LASERSELL_API_KEY", "a-made-up-key")
    result = CliRunner().invoke(group, ["relay", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.slow
def test_a_redis_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the exit code of what could not be reached."""
    monkeypatch.setenv("LASERSELL_API_KEY", "a-made-up-key")
    url = f"redis://127.0.0.1:{free_port()}"
    options = ["--redis", url, "--wallet", WALLET, "--target", "5"]
    with _program(*options) as program:
        assert program.process.wait(20) == 4
    assert url.removeprefix("redis://") in program.log
    assert "Traceback" not in program.log
