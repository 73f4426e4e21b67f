from __future__ import annotations

import contextlib
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lasersell.cli.group import group
from lasersell.protocol.client import Configure
from lasersell.sim import ManualClock, SimServer
from tests.integration.sim.foreign import WALLET, Foreign
from tests.programs import lasersell

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def _running(*arguments: str) -> Iterator[str]:
    """Run a command until the block ends; give the URL it prints, then end it."""
    with subprocess.Popen(
        lasersell(*arguments), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            banner = process.stdout.readline()
            urls = re.findall(r"ws://127\.0\.0\.1:\d+/v1/ws", banner)
            yield urls[-1]
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)
            assert rest == "stopped\n"
            assert process.returncode == 0
        finally:
            process.kill()


def test_a_session_is_recorded_and_replayed(tmp_path: Path) -> None:
    """What one client saw through record, another sees through replay."""
    path = tmp_path / "session.gz"
    with SimServer(clock=ManualClock()) as sim:
        sim.buy(WALLET)
        record = ("record", str(path), "--endpoint", sim.url, "--port", "0")
        with _running(*record) as url:
            client = Foreign(url, "s3cret")
            client.configure()
            sim.received.wait_for(Configure)
            sim.step(2)
            live = client.recv_many(5)
            client.hang_up()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with _running("replay", str(path), "--speed", "10", "--port", "0") as url:
        client = Foreign(url, "any")
        client.configure()
        assert client.recv_many(5) == live
        client.hang_up()


def _fails(*arguments: str) -> str:
    """Run a command that must fail as a mistake; return what it says."""
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.output


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    """A file that exists, one that is no recording, and an open endpoint are refused."""
    path = tmp_path / "session.gz"
    path.write_text("not a recording")
    assert "exists; recordings are not overwritten" in _fails("record", str(path))
    assert "is no recording of a stream" in _fails("replay", str(path))
    other = ("record", str(tmp_path / "new.gz"), "--endpoint", "ws://example.com")
    assert "unencrypted" in _fails(*other)
