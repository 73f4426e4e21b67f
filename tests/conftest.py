"""What holds for every test: nothing left behind, and no host but this one."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from lasersell.sim import SimServer
from tests.clock import FakeClock
from tests.leaks import no_leftovers
from tests.skips import SkipWatch

# numpy would start a thread as it is imported, and that one would take signals which
# all of our threads have blocked for the one that waits for them.
os.environ["OPENBLAS_NUM_THREADS"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Install what watches the whole run."""
    config.pluginmanager.register(SkipWatch())
    # How long one example takes tells of the machine's load, not of the code.
    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")
    # An audit hook sees every way to connect, and cannot be imported around.
    sys.addaudithook(_refuse_other_hosts)
    # A shell that starts us in the background leaves Ctrl-C ignored, in programs that
    # tests run too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _refuse_other_hosts(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not _is_here(str(address[0])):
        raise PermissionError(f"tests connect to this machine only, not to {address}")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread or a file descriptor behind."""
    with no_leftovers():
        yield


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory for sockets, whose addresses must be short."""
    with tempfile.TemporaryDirectory(prefix="lasersell-") as name:
        yield Path(name)


@pytest.fixture
def sim() -> Iterator[SimServer]:
    """Run an embedded server on a free port, with prices that stand still."""
    with SimServer(volatility_pct=0.0) as server:
        yield server
