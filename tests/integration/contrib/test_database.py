"""What callbacks do to the connections of a Django project's database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lasersell.session.exclusive import DIRECTORY_VARIABLE
from tests.integration.contrib.postgres import own_postgres
from tests.integration.contrib.servers import ROOT

pytestmark = pytest.mark.slow

MANY = 10_000
SOME = 300


def call_back(number: int, database: dict[str, Any], path: Path) -> dict[str, Any]:
    """Have a number of callbacks use a database; return what became of it."""
    result = subprocess.run(
        [
            *(sys.executable, "-W", "error::ResourceWarning"),
            *("-m", "tests.integration.contrib.database_program"),
            *(str(number), json.dumps(database)),
        ],
        env={**os.environ, DIRECTORY_VARIABLE: str(path / "locks")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["callbacks"] == number
    assert not report["connected_after"]
    assert report["files_more"] == 0
    return report


def sqlite(path: Path, **settings: Any) -> dict[str, Any]:
    """Return the settings of a database in a file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path / "database.sqlite3"),
        **settings,
    }


def check_sqlite(number: int, path: Path) -> None:
    """Check that each callback has a connection, and that none is left."""
    report = call_back(number, sqlite(path), path)
    assert report["opened"] == number
    assert not report["connected_meanwhile"]


def test_each_callback_closes_its_connection(tmp_path: Path) -> None:
    """As after a request, the connection is closed after each callback."""
    check_sqlite(SOME, tmp_path)


def test_a_connection_may_be_kept(tmp_path: Path) -> None:
    """With CONN_MAX_AGE one connection serves all callbacks, and is closed with the worker."""
    report = call_back(SOME, sqlite(tmp_path, CONN_MAX_AGE=None), tmp_path)
    assert report["opened"] == 1
    assert report["connected_meanwhile"]


@pytest.mark.timeout(300)
def test_many_callbacks_on_sqlite(tmp_path: Path) -> None:
    """Ten thousand callbacks leave no connection to SQLite behind."""
    check_sqlite(MANY, tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("number", "max_age"), [(SOME, 0), (MANY, 1)])
def test_many_callbacks_on_postgresql(
    tmp_path: Path, number: int, max_age: int
) -> None:
    """
    Ten thousand callbacks leave no connection to PostgreSQL behind.

    To connect takes its time, so all of them renew the connection every second, and
    some more of them have one each.
    """
    with own_postgres() as settings:
        report = call_back(number, {**settings, "CONN_MAX_AGE": max_age}, tmp_path)
    assert report["connected_meanwhile"] == (max_age > 0)
    assert report["opened"] == (number if max_age == 0 else pytest.approx(1, abs=300))
