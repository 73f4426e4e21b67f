"""``lasersell run`` as a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from solders.keypair import Keypair

from lasersell.sim import SimServer
from tests.programs import Program as Daemon
from tests.programs import lasersell

__all__ = ["API_KEY", "Daemon", "DaemonHome"]

API_KEY = "sk-made-up-for-tests-7f3a"

_CONFIG = """
[stream]
endpoint = "{endpoint}"
[configure]
{configure}
[strategy]
{strategy}
[[targets]]
kind = "rpc"
url = "{rpc}"
[exits]
ask_timeout = 1.0
resend_interval = 0.1
look_interval = 0.05
retry_delay = 0.1
{exits}
[api]
base_url = "{api}"
[journal]
path = "{journal}"
[run]
{run}
"""


class DaemonHome:
    """
    Where a daemon's configuration, journal, locks and key are.

    Args:
        path: A directory.
        sim: The service and the chain it is to use.
    """

    def __init__(self, path: Path, sim: SimServer) -> None:
        self.keypair = Keypair()
        self.journal = path / "journal.db"
        self.config = path / "config.toml"
        self._sim = sim
        self._locks = path / "locks"
        self.configure()

    @property
    def wallet(self) -> str:
        """The wallet's address."""
        return str(self.keypair.pubkey())

    def configure(
        self,
        *,
        endpoint: str | None = None,
        strategy: str = "target_profit_pct = 5.0",
        configure: str = "",
        exits: str = "",
        run: str = "",
        more: str = "",
    ) -> None:
        """Write the configuration."""
        text = _CONFIG.format(
            endpoint=endpoint or self._sim.url,
            rpc=self._sim.rpc_url,
            api=self._sim.api_url,
            journal=self.journal,
            strategy=strategy,
            configure=configure,
            exits=exits,
            run=run,
        )
        self.config.write_text(text + more)

    @contextlib.contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[Daemon]:
        """Run the daemon; kill it if it does not end."""
        environ = {
            **os.environ,
            "PYTHONFAULTHANDLER": "1",
            "LASERSELL_API_KEY": API_KEY,
            "LASERSELL_PRIVATE_KEY": str(self.keypair),
            "LASERSELL_RUNTIME_DIR": str(self._locks),
            **environment,
        }
        with subprocess.Popen(
            lasersell("run", "--config", str(self.config), *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        ) as process:
            daemon = Daemon(process)
            try:
                yield daemon
            finally:
                process.kill()
                daemon.end()
