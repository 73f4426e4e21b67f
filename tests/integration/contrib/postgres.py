"""A PostgreSQL of one's own, for a test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE

__all__ = ["own_postgres"]

_USER = "postgres"


@contextmanager
def own_postgres() -> Iterator[dict[str, Any]]:
    """
    Run a server on a socket in a directory of its own; give Django's settings for it.

    Skips the test where there is no PostgreSQL.
    """
    config = shutil.which("pg_config") or shutil.which("psql")
    if config is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    programs = _programs()
    # Not in the directory of the test, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="lasersell-") as name:
        directory = Path(name)
        if os.geteuid() == 0:  # as whom it refuses to run
            account = pwd.getpwnam(_USER)
            os.chown(directory, account.pw_uid, account.pw_gid)
        data = directory / "data"
        _run(programs / "initdb", "-D", data, "-A", "trust", "-U", _USER, "--no-sync")
        # Nothing here need survive a crash.
        options = f"-c listen_addresses= -c fsync=off -k {directory}"
        log = directory / "log"
        _run(programs / "pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "start")
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": str(directory),
                "NAME": "postgres",
                "USER": _USER,
            }
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _programs() -> Path:
    """Return where the server's programs are, which Debian keeps out of the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"))


def _run(*command: str | Path) -> None:
    is_root = os.geteuid() == 0
    subprocess.run(
        [str(part) for part in command],
        user=_USER if is_root else None,
        group=_USER if is_root else None,
        cwd="/",
        check=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
