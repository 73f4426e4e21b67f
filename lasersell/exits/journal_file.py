"""
The file of the journal: its schema, who may write to it, and what is written together.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lasersell._clock import Clock
from lasersell.errors import ConfigurationError
from lasersell.session.exclusive import lock_file

if TYPE_CHECKING:
    from filelock import BaseFileLock

    # Part of the standard library only from Python 3.11 on.
    from typing_extensions import Self

__all__ = ["IN_MEMORY", "SCHEMA_VERSION", "JournalFile", "open_for_reading"]

SCHEMA_VERSION = 1
IN_MEMORY = ":memory:"
"""The path of a journal that ends with its process."""

BUSY_SEC = 5.0
"""How long a write waits for somebody who reads or copies the file."""

_SCHEMA = """
CREATE TABLE holdings (
    id INTEGER PRIMARY KEY,
    wallet TEXT NOT NULL,
    mint TEXT NOT NULL,
    token_account TEXT NOT NULL,
    position_id TEXT NOT NULL,
    opened_at_ms INTEGER,
    slot INTEGER NOT NULL,
    tokens TEXT NOT NULL,
    entry_quote_units TEXT NOT NULL,
    symbol TEXT,
    seen_ms INTEGER NOT NULL,
    closed_ms INTEGER,
    close_reason TEXT,
    sold_slot INTEGER
);
CREATE INDEX holdings_by_account ON holdings (token_account, id);

CREATE TABLE sales (
    id INTEGER PRIMARY KEY,
    holding_id INTEGER NOT NULL REFERENCES holdings (id),
    level INTEGER,
    begun_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    outcome TEXT,
    detail TEXT,
    quote TEXT,
    profit_units TEXT
);
CREATE INDEX sales_by_holding ON sales (holding_id);
CREATE INDEX sales_open ON sales (id) WHERE outcome IS NULL;

CREATE TABLE signals (
    id INTEGER PRIMARY KEY,
    sale_id INTEGER NOT NULL REFERENCES sales (id),
    at_ms INTEGER NOT NULL,
    born_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    reason TEXT,
    slippage_bps INTEGER,
    sell_tokens TEXT,
    decision TEXT
);
CREATE INDEX signals_by_sale ON signals (sale_id);

CREATE VIEW latest_sales AS
SELECT sales.*, (
    SELECT sell_tokens FROM signals WHERE sale_id = sales.id ORDER BY id DESC LIMIT 1
) AS sell_tokens
FROM sales;

CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    sale_id INTEGER NOT NULL REFERENCES sales (id),
    signal_id INTEGER NOT NULL REFERENCES signals (id),
    signature TEXT NOT NULL,
    wallet TEXT NOT NULL,
    blockhash TEXT NOT NULL,
    tip_lamports TEXT,
    raw BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    outcome TEXT,
    slot INTEGER,
    detail TEXT
);
CREATE INDEX attempts_by_sale ON attempts (sale_id);
-- What no target took may be tried once more. Anything else may be on the chain.
CREATE UNIQUE INDEX attempts_once ON attempts (signature)
WHERE outcome IS NULL OR outcome <> 'rejected';

CREATE TABLE sends (
    id INTEGER PRIMARY KEY,
    attempt_id INTEGER NOT NULL REFERENCES attempts (id),
    at_ms INTEGER NOT NULL,
    taken_by TEXT,
    problem TEXT
);
CREATE INDEX sends_by_attempt ON sends (attempt_id);

CREATE TABLE buys (
    id INTEGER PRIMARY KEY,
    watched_wallet TEXT NOT NULL,
    wallet TEXT NOT NULL,
    mint TEXT NOT NULL,
    quote TEXT NOT NULL,
    quote_units TEXT NOT NULL,
    signature TEXT UNIQUE,
    at_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    outcome TEXT,
    slot INTEGER,
    detail TEXT
);
"""


class JournalFile:
    """
    A journal's file, open for writing; any thread may use it, one process at a time.

    Args:
        path: The file, or ``IN_MEMORY``.
        clock: Where time comes from.

    Raises:
        ConfigurationError: It cannot be opened, is no journal, is one of a newer
            version, or another process writes to it.
    """

    def __init__(self, path: str | Path, clock: Clock) -> None:
        self.path = str(path)
        self._clock = clock
        # Guards the connection; a thread may take it again inside together().
        self._lock = threading.RLock()
        self._depth = 0
        self._file_lock = None if self.path == IN_MEMORY else _claim(self.path)
        try:
            self._db = _open(self.path)
        except BaseException:
            self._release_file()
            raise

    def _release_file(self) -> None:
        if self._file_lock is not None:
            self._file_lock.release()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write all that is written inside, or none of it."""
        with self._lock:
            self._begin()
            try:
                yield
            except BaseException:
                self._end("ROLLBACK")
                raise
            self._end("COMMIT")

    def _begin(self) -> None:
        if self._depth == 0:
            self._db.execute("BEGIN IMMEDIATE")
        self._depth += 1

    def _end(self, command: str) -> None:
        self._depth -= 1
        if self._depth > 0 or not self._db.in_transaction:
            return
        try:
            self._db.execute(command)
        finally:
            # A commit that failed may have left it open, and nothing could begin.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _durably(self) -> Iterator[None]:
        """Return only when what is written inside is on the disk."""
        with self._lock:
            assert self._depth == 0, "inside a transaction it cannot be changed"
            self._db.execute("PRAGMA synchronous = FULL")
            try:
                with self.together():
                    yield
            finally:
                self._db.execute("PRAGMA synchronous = NORMAL")

    def _write(self, statement: str, *values: Any) -> int:
        with self.together():
            row = self._db.execute(statement, values).lastrowid
        return row or 0

    def _read(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def _now_ms(self) -> int:
        return self._clock.wall_ms()

    # The end

    def close(self) -> None:
        """Close the file; again does no harm."""
        with self._lock:
            self._db.close()
            self._release_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _claim(path: str) -> BaseFileLock:
    # Two that write would each sell what the other does not know to be under way.
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_file(Path(f"{path}.lock"))
    except OSError as error:
        raise _unusable(path, error) from error
    if lock is None:
        raise ConfigurationError(
            f"another process writes to the journal {path}; name another one, or stop it"
        )
    return lock


def _open(path: str) -> sqlite3.Connection:
    try:
        if path != IN_MEMORY:
            # Before SQLite makes it with the rights that the umask leaves to others.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(
            path, timeout=BUSY_SEC, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        _prepare(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise _unusable(path, error) from error
        raise
    return db


def _prepare(db: sqlite3.Connection, path: str) -> None:
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("BEGIN IMMEDIATE")
    if _version_of(db, path) == 0:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _version_of(db: sqlite3.Connection, path: str) -> int:
    """Return the version of a journal's schema, 0 for a new one; refuse any other file."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    if version == 0 and tables:
        raise ConfigurationError(f"{path} is a database, but no journal of lasersell")
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the journal {path} is of version {version}, and this lasersell knows "
            f"{SCHEMA_VERSION}; update lasersell, or name another journal"
        )
    return version


def open_for_reading(path: str | Path) -> sqlite3.Connection:
    """
    Open a journal to read it, also while a daemon writes to it.

    Raises:
        ConfigurationError: There is no such file, or it is no journal.
    """
    db = None
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA query_only = ON")
        version = _version_of(db, str(path))
    except (sqlite3.Error, ConfigurationError) as error:
        if db is not None:
            db.close()
        if isinstance(error, ConfigurationError):
            raise
        raise _unusable(str(path), error) from error
    if version == 0:
        db.close()
        raise ConfigurationError(f"{path} is empty, and no journal of lasersell")
    return db


def _unusable(path: str, error: Exception) -> ConfigurationError:
    words = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigurationError(f"cannot open the journal {path}: {words}")
