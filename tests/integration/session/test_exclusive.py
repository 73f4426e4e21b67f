from __future__ import annotations

import gc
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from lasersell._threads import start_thread
from lasersell.errors import ConfigurationError, HandshakeError, SessionInUseError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session import exclusive
from lasersell.session.session import StreamSession
from lasersell.sim import DEFAULT_LIMITS, SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.patience import PATIENCE, SLACK

pytestmark = pytest.mark.slow

KEY = "sk-made-up-for-tests-7f3a"
WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
CONFIGURE = StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0))
TAKEOVER_SEC = 1.0

_PROGRAM = f"""
import sys
import lasersell
client = lasersell.StreamClient({KEY!r}, endpoint=sys.argv[1])
configure = lasersell.StreamConfigure([{WALLET!r}], lasersell.StrategyConfig(target_profit_pct=5))
session = lasersell.StreamSession.connect(client, configure, exclusive="wait")
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the lock files of a test to itself."""
    monkeypatch.setenv(exclusive.DIRECTORY_VARIABLE, str(tmp_path / "locks"))


@pytest.fixture
def strict_sim() -> Iterator[SimServer]:
    """Run a server that allows one session per key, as the published plans do."""
    limits = attrs.evolve(DEFAULT_LIMITS, max_sessions_per_api_key=1)
    with SimServer(volatility_pct=0.0, limits=limits) as server:
        yield server


def connect(server: SimServer, mode: exclusive.Exclusive = True) -> StreamSession:
    """Connect without waiting for a rejection."""
    client = StreamClient(KEY, endpoint=server.url)
    return StreamSession.connect(client, CONFIGURE, wait_configured=0, exclusive=mode)


@contextmanager
def streaming(server: SimServer) -> Iterator[subprocess.Popen[str]]:
    """Run a process that streams, or stands by to."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_connected(process: subprocess.Popen[str]) -> None:
    """Wait until a process of :func:`streaming` says that it streams."""
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n"


def test_a_second_exclusive_session_is_refused(strict_sim: SimServer) -> None:
    """It is refused before it connects, so the first one is left in peace."""
    with connect(strict_sim) as session:
        with pytest.raises(SessionInUseError):
            connect(strict_sim)
        assert session.state == "live"
    assert len(strict_sim.upgrades.entries()) == 1


def test_a_closed_session_makes_way(strict_sim: SimServer) -> None:
    """After close() the next exclusive session connects at once."""
    connect(strict_sim).close()
    with connect(strict_sim) as session:
        assert session.state == "live"


def test_a_dropped_session_makes_way(strict_sim: SimServer) -> None:
    """A session that is collected without close() holds nothing any more."""

    def drop() -> None:
        connect(strict_sim)
        gc.collect()

    with pytest.warns(ResourceWarning, match="dropped without close"):
        drop()
    with connect(strict_sim, "wait") as session:
        assert session.state == "live"


def test_a_failed_connect_makes_way(strict_sim: SimServer) -> None:
    """A connect that is refused leaves the key free."""
    strict_sim.refuse_upgrades(403, times=1)
    with pytest.raises(HandshakeError):
        connect(strict_sim)
    with connect(strict_sim) as session:
        assert session.state == "live"


def test_a_failed_stream_makes_way(strict_sim: SimServer) -> None:
    """A stream that ends by itself lets go of the key before it is closed."""
    with connect(strict_sim) as session:
        strict_sim.refuse_upgrades(401)
        strict_sim.drop()
        with pytest.raises(HandshakeError):
            list(session)
        strict_sim.accept_upgrades()
        with connect(strict_sim, "wait") as second:
            assert second.state == "live"


def test_sessions_are_shared_unless_asked(sim: SimServer) -> None:
    """Without exclusive two sessions of one key stand side by side."""
    with connect(sim, False) as first, connect(sim, False) as second:
        assert (first.state, second.state) == ("live", "live")


def test_as_many_as_the_server_allows(sim: SimServer) -> None:
    """A server that allows two sessions per key gets two, and no third is tried."""
    limits = attrs.evolve(DEFAULT_LIMITS, max_sessions_per_api_key=2)
    sim.change_options(limits=limits)
    with connect(sim), connect(sim), pytest.raises(SessionInUseError):
        connect(sim)
    assert len(sim.upgrades.entries()) == 2


def test_another_mode_is_refused(sim: SimServer) -> None:
    """A mode that is none is a mistake of the caller."""
    with pytest.raises(ConfigurationError, match="exclusive"):
        connect(sim, "maybe")  # type: ignore[arg-type]


def test_a_standby_connects_when_the_session_closes(
    strict_sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits is connected once the first session is closed, and not before."""
    caplog.set_level(logging.INFO, "lasersell.session.exclusive")
    is_connected = threading.Event()

    def stand_by() -> None:
        with connect(strict_sim, "wait"):
            is_connected.set()

    with connect(strict_sim):
        thread = start_thread("stand-by", stand_by)
        assert not is_connected.wait(2 * exclusive.RETRY_SEC)
    assert is_connected.wait(PATIENCE)
    thread.join(PATIENCE)
    assert "standing by" in caplog.text


def test_a_standby_process_takes_over_from_one_that_is_killed(
    strict_sim: SimServer,
) -> None:
    """Of two processes one streams; the other does within 1 s of its kill, never both."""
    with streaming(strict_sim) as first:
        wait_until_connected(first)
        with streaming(strict_sim) as second:
            with pytest.raises(TimeoutError):
                strict_sim.wait_for_connections(2, timeout=TAKEOVER_SEC)
            first.send_signal(signal.SIGKILL)
            strict_sim.wait_for_connections(0, timeout=PATIENCE)
            strict_sim.wait_for_connections(1, timeout=SLACK * TAKEOVER_SEC)
            wait_until_connected(second)
    statuses = [upgrade.item.status for upgrade in strict_sim.upgrades.entries()]
    assert statuses == [101, 101]
