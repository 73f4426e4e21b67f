"""
What an auto-exit has done, in one SQLite file that outlives it.

An attempt is written, and on the disk, before its transaction is first submitted:
whatever happens after that, the next run knows the signature and asks the chain what
became of it. Everything else is written as it happens, and survives a killed process.

Amounts are decimal texts, for SQLite's integers are signed and the wire's are not.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import quote

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock
from lasersell.errors import ConfigurationError
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.server import MirrorBuySignal, PositionOpened
from lasersell.session.exclusive import lock_file

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "IN_MEMORY",
    "SCHEMA_VERSION",
    "AttemptOutcome",
    "AttemptRecord",
    "BuyOutcome",
    "DuplicateAttempt",
    "HoldingRecord",
    "Journal",
    "SaleOutcome",
    "SaleRecord",
    "SignalRecord",
    "Source",
    "open_for_reading",
]

SCHEMA_VERSION = 1
IN_MEMORY = ":memory:"
"""The path of a journal that ends with its process."""

BUSY_SEC = 5.0
"""How long a write waits for somebody who reads or copies the file."""

Source: TypeAlias = Literal["stream", "api"]
"""Who built a transaction: pushed or answered by the stream, or by the REST API."""

AttemptOutcome: TypeAlias = Literal["landed", "failed", "rejected", "expired"]
"""
``landed``: it is on the chain and did what it should; ``failed``: it is on the chain,
with an error; ``rejected``: no target took it, so it never left; ``expired``: its
block hash is too old, and it is not on the chain.
"""

SaleOutcome: TypeAlias = Literal["sold", "superseded", "closed", "gave_up", "dry_run"]
"""
``sold``: its transaction landed; ``superseded``: a sale of the whole position came
instead; ``closed``: the position ended without it; ``gave_up``: no attempt is left;
``dry_run``: it would have been submitted.
"""

BuyOutcome: TypeAlias = Literal["landed", "failed", "rejected", "expired", "refused"]
"""As for an attempt; ``refused``: not submitted, for the reason in ``detail``."""

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

_RECORD_LIMIT = 500
"""Characters of a detail that are kept."""


@attrs.frozen(kw_only=True)
class HoldingRecord:
    """A position as it was opened."""

    id: int
    opened: PositionOpened
    """What tells it from another opening of the same account."""
    closed_ms: int | None
    """When it was seen closed, Unix epoch ms."""
    sold_slot: int | None
    """The slot in which our sale of the whole landed."""


@attrs.frozen(kw_only=True)
class SaleRecord:
    """One sale that is to happen once."""

    id: int
    holding_id: int
    level: int | None
    outcome: SaleOutcome | None
    sell_tokens: int | None
    """What its latest signal sells."""


@attrs.frozen(kw_only=True)
class SignalRecord:
    """A transaction that was offered; the row that an attempt refers to."""

    sale_id: int
    born_ms: int
    """When it was built, Unix epoch ms by our clock."""
    source: Source
    reason: str | None = None
    slippage_bps: int | None = None
    """What was asked for; None if nothing was."""
    sell_tokens: int | None = None


@attrs.frozen(kw_only=True)
class AttemptRecord:
    """A transaction of which it is not known what became."""

    id: int
    sale: SaleRecord
    holding: HoldingRecord
    signed: SignedTransaction
    born_ms: int
    begun_ms: int


class DuplicateAttempt(Exception):
    """The very transaction was submitted before; it executes no second time."""


@contextlib.contextmanager
def _named_duplicates() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise DuplicateAttempt(
            "this very transaction was submitted before, and executes no second time"
        ) from error


class Journal:
    """
    The journal, open for writing. Any thread may use it; one process at a time.

    A write blocks until it is in the file, that of an attempt until it is on the disk;
    while somebody copies the file, for up to 5 s. Use it in a ``with`` block.

    Args:
        path: The file, made with its directory if it is not there, for its owner only,
            which needs the extra ``exclusive``; or ``IN_MEMORY``.
        clock: Where time comes from.

    Raises:
        ConfigurationError: The file cannot be opened, is no journal, is one of a newer
            version, or another process writes to it.
    """

    def __init__(self, path: str | Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
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
        return f"Journal({self.path!r})"

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
        if self._depth == 0 and self._db.in_transaction:
            self._db.execute(command)

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

    # Holdings

    def latest_holding(self, token_account: str) -> HoldingRecord | None:
        """Return the last opening of an account that is known."""
        rows = self._read(
            "SELECT * FROM holdings WHERE token_account = ? ORDER BY id DESC LIMIT 1",
            token_account,
        )
        return _holding(rows[0]) if rows else None

    def add_holding(self, opened: PositionOpened) -> HoldingRecord:
        """Write down a position that was not seen before."""
        row = self._write(
            "INSERT INTO holdings (wallet, mint, token_account, position_id, "
            "opened_at_ms, slot, tokens, entry_quote_units, symbol, seen_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            opened.wallet_pubkey,
            opened.mint,
            opened.token_account,
            str(opened.position_id),
            opened.opened_at_ms,
            opened.slot,
            str(opened.tokens),
            str(opened.entry_quote_units),
            opened.token_symbol,
            self._now_ms(),
        )
        return HoldingRecord(id=row, opened=opened, closed_ms=None, sold_slot=None)

    def rename_holding(
        self, record: HoldingRecord, opened: PositionOpened
    ) -> HoldingRecord:
        """Write down what the server says of a known position now; return the record."""
        self._write(
            "UPDATE holdings SET position_id = ?, opened_at_ms = ?, slot = ?, "
            "tokens = ?, entry_quote_units = ?, symbol = ? WHERE id = ?",
            str(opened.position_id),
            opened.opened_at_ms,
            opened.slot,
            str(opened.tokens),
            str(opened.entry_quote_units),
            opened.token_symbol,
            record.id,
        )
        return attrs.evolve(record, opened=opened)

    def close_holding(self, holding_id: int, reason: str | None) -> None:
        """Write down that a position is over."""
        self._write(
            "UPDATE holdings SET closed_ms = ?, close_reason = ? WHERE id = ?",
            self._now_ms(),
            reason,
            holding_id,
        )

    def reopen_holding(self, holding_id: int) -> None:
        """Write down that a position is not over after all."""
        self._write(
            "UPDATE holdings SET closed_ms = NULL, close_reason = NULL WHERE id = ?",
            holding_id,
        )

    def mark_sold(self, holding_id: int, slot: int | None) -> None:
        """Write down in which slot all of a position was sold; None takes it back."""
        self._write("UPDATE holdings SET sold_slot = ? WHERE id = ?", slot, holding_id)

    # Sales

    def sales_of(self, holding_id: int) -> list[SaleRecord]:
        """Return the sales of a holding, the latest of each level, oldest first."""
        rows = self._read(
            "SELECT * FROM latest_sales WHERE id IN (SELECT max(id) FROM sales "
            "WHERE holding_id = ? GROUP BY level) ORDER BY id",
            holding_id,
        )
        return [_sale(row) for row in rows]

    def begin_sale(self, holding_id: int, level: int | None) -> int:
        """Write down a sale that is to happen; return its id."""
        return self._write(
            "INSERT INTO sales (holding_id, level, begun_ms) VALUES (?, ?, ?)",
            holding_id,
            level,
            self._now_ms(),
        )

    def end_sale(
        self, sale_id: int, outcome: SaleOutcome, detail: str | None = None
    ) -> None:
        """Write down what became of a sale."""
        self._write(
            "UPDATE sales SET ended_ms = ?, outcome = ?, detail = ? WHERE id = ?",
            self._now_ms(),
            outcome,
            _cut(detail),
            sale_id,
        )

    def reopen_sale(self, sale_id: int) -> None:
        """Write down that a sale is to be tried again."""
        self._write(
            "UPDATE sales SET ended_ms = NULL, outcome = NULL WHERE id = ?", sale_id
        )

    def profit_since(self, since_ms: int, quote: str) -> int:
        """Return what sales that were sold since then earned in a quote asset."""
        rows = self._read(
            "SELECT profit_units FROM sales WHERE outcome = 'sold' AND ended_ms >= ? "
            "AND quote = ?",
            since_ms,
            quote,
        )
        return sum(int(row["profit_units"]) for row in rows)

    # Signals and attempts

    def add_signal(self, signal: SignalRecord) -> int:
        """Write down a transaction that was offered; return its id."""
        return self._write(
            "INSERT INTO signals (sale_id, at_ms, born_ms, source, reason, slippage_bps, "
            "sell_tokens) VALUES (?, ?, ?, ?, ?, ?, ?)",
            signal.sale_id,
            self._now_ms(),
            signal.born_ms,
            signal.source,
            signal.reason,
            signal.slippage_bps,
            _text(signal.sell_tokens),
        )

    def decide(self, signal_id: int, decision: str) -> None:
        """Write down what was done with a signal, or why nothing was."""
        self._write(
            "UPDATE signals SET decision = ? WHERE id = ?", _cut(decision), signal_id
        )

    def begin_attempt(
        self,
        sale_id: int,
        signal_id: int,
        signed: SignedTransaction,
        *,
        quote: str,
        profit_units: int,
    ) -> int:
        """
        Write down a signed transaction, and return its id once that is on the disk.

        Call it before the transaction is first submitted.

        Args:
            sale_id: What it is to sell.
            signal_id: What it came with.
            signed: The transaction.
            quote: What it is sold for, such as ``SOL``.
            profit_units: What it is thought to earn, in units of that.

        Raises:
            DuplicateAttempt: This very transaction may have been submitted before.
        """
        with _named_duplicates(), self._durably():
            self.decide(signal_id, "submitted")
            self._write(
                "UPDATE sales SET quote = ?, profit_units = ? WHERE id = ?",
                quote,
                str(profit_units),
                sale_id,
            )
            return self._write(
                "INSERT INTO attempts (sale_id, signal_id, signature, wallet, blockhash, "
                "tip_lamports, raw, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                sale_id,
                signal_id,
                signed.signature,
                signed.wallet,
                signed.blockhash,
                _text(signed.tip_lamports),
                signed.raw,
                self._now_ms(),
            )

    def add_send(
        self, attempt_id: int, taken_by: str | None, problem: str | None
    ) -> None:
        """Write down that an attempt was submitted, and who took it or why nobody did."""
        self._write(
            "INSERT INTO sends (attempt_id, at_ms, taken_by, problem) "
            "VALUES (?, ?, ?, ?)",
            attempt_id,
            self._now_ms(),
            taken_by,
            _cut(problem),
        )

    def end_attempt(
        self,
        attempt_id: int,
        outcome: AttemptOutcome,
        *,
        slot: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Write down what became of an attempt."""
        self._write(
            "UPDATE attempts SET ended_ms = ?, outcome = ?, slot = ?, detail = ? "
            "WHERE id = ?",
            self._now_ms(),
            outcome,
            slot,
            _cut(detail),
            attempt_id,
        )

    def open_attempts(self) -> list[AttemptRecord]:
        """Return the attempts of which it is not known what became, oldest first."""
        rows = self._read(
            "SELECT a.*, s.born_ms FROM attempts a JOIN signals s ON s.id = a.signal_id "
            "WHERE a.outcome IS NULL ORDER BY a.id"
        )
        return [self._attempt(row) for row in rows]

    def _attempt(self, row: sqlite3.Row) -> AttemptRecord:
        sale = _sale(
            self._read("SELECT * FROM latest_sales WHERE id = ?", row["sale_id"])[0]
        )
        holding = _holding(
            self._read("SELECT * FROM holdings WHERE id = ?", sale.holding_id)[0]
        )
        return AttemptRecord(
            id=row["id"],
            sale=sale,
            holding=holding,
            signed=_signed(row),
            born_ms=row["born_ms"],
            begun_ms=row["at_ms"],
        )

    # Buys

    def refuse_buy(self, signal: MirrorBuySignal, why: str) -> None:
        """Write down that a mirror buy was not submitted."""
        row = self._begin_buy(signal, None)
        self.end_buy(row, "refused", detail=why)

    def begin_buy(self, signal: MirrorBuySignal, signature: str) -> int:
        """
        Write down a signed mirror buy, and return its id once that is on the disk.

        Raises:
            DuplicateAttempt: This very transaction was written down before.
        """
        with _named_duplicates(), self._durably():
            return self._begin_buy(signal, signature)

    def _begin_buy(self, signal: MirrorBuySignal, signature: str | None) -> int:
        return self._write(
            "INSERT INTO buys (watched_wallet, wallet, mint, quote, quote_units, "
            "signature, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            signal.watched_wallet,
            signal.user_wallet,
            signal.mint,
            signal.input,
            str(signal.amount_quote_units),
            signature,
            self._now_ms(),
        )

    def end_buy(
        self,
        buy_id: int,
        outcome: BuyOutcome,
        *,
        slot: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Write down what became of a mirror buy."""
        self._write(
            "UPDATE buys SET ended_ms = ?, outcome = ?, slot = ?, detail = ? "
            "WHERE id = ?",
            self._now_ms(),
            outcome,
            slot,
            _cut(detail),
            buy_id,
        )

    def open_buys(self) -> list[tuple[int, str]]:
        """Return id and signature of the buys of which it is not known what became."""
        rows = self._read(
            "SELECT id, signature FROM buys WHERE outcome IS NULL ORDER BY id"
        )
        return [(row["id"], row["signature"]) for row in rows]

    def _now_ms(self) -> int:
        return self._clock.wall_ms()

    # The end

    def close(self) -> None:
        """Close the file; again does no harm."""
        with self._lock:
            self._db.close()
            self._release_file()

    def __enter__(self) -> Journal:
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


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _number(value: str | None) -> int | None:
    return None if value is None else int(value)


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:_RECORD_LIMIT]


def _holding(row: sqlite3.Row) -> HoldingRecord:
    opened = PositionOpened(
        position_id=int(row["position_id"]),
        wallet_pubkey=row["wallet"],
        mint=row["mint"],
        token_account=row["token_account"],
        tokens=int(row["tokens"]),
        entry_quote_units=int(row["entry_quote_units"]),
        token_symbol=row["symbol"],
        opened_at_ms=row["opened_at_ms"],
        slot=row["slot"],
    )
    return HoldingRecord(
        id=row["id"],
        opened=opened,
        closed_ms=row["closed_ms"],
        sold_slot=row["sold_slot"],
    )


def _sale(row: sqlite3.Row) -> SaleRecord:
    return SaleRecord(
        id=row["id"],
        holding_id=row["holding_id"],
        level=row["level"],
        outcome=row["outcome"],
        sell_tokens=_number(row["sell_tokens"]),
    )


def _signed(row: sqlite3.Row) -> SignedTransaction:
    return SignedTransaction(
        raw=row["raw"],
        signature=row["signature"],
        wallet=row["wallet"],
        blockhash=row["blockhash"],
        tip_lamports=_number(row["tip_lamports"]),
    )
