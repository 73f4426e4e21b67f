"""
Read a journal: what was to be sold, what was tried, and what became of it.

The signed transactions themselves are not given out.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from lasersell.errors import ConfigurationError
from lasersell.exits.journal_file import open_for_reading

__all__ = [
    "AttemptReport",
    "BuyReport",
    "Filter",
    "JournalReader",
    "SaleReport",
    "SendReport",
    "SignalReport",
    "to_csv",
    "to_json",
]


@attrs.frozen(kw_only=True)
class SignalReport:
    """A transaction that was offered. Times are Unix epoch ms by our clock."""

    at_ms: int
    born_ms: int
    """When it was built."""
    source: str
    """``stream`` or ``api``."""
    reason: str | None
    slippage_bps: int | None
    sell_tokens: int | None
    decision: str | None
    """What was done with it; None is nothing, for a newer one came."""


@attrs.frozen(kw_only=True)
class SendReport:
    """One submission of an attempt."""

    at_ms: int
    taken_by: str | None
    problem: str | None


@attrs.frozen(kw_only=True)
class AttemptReport:
    """A signed transaction, and what became of it."""

    at_ms: int
    signature: str
    ended_ms: int | None
    outcome: str | None
    """``landed``, ``failed``, ``rejected``, ``expired``; None is not known yet."""
    slot: int | None
    detail: str | None
    sends: tuple[SendReport, ...]


@attrs.frozen(kw_only=True)
class SaleReport:
    """One exit: of a position, or of a level of its ladder."""

    id: int
    wallet: str
    mint: str
    symbol: str | None
    token_account: str
    level: int | None
    """Level of the ladder; None is the whole position."""
    begun_ms: int
    ended_ms: int | None
    outcome: str | None
    """See ``SaleOutcome``; None while it is to be done."""
    detail: str | None
    quote: str | None
    """What it was sold for."""
    profit_units: int | None
    """What it is thought to have earned, in atomic units of that."""
    signals: tuple[SignalReport, ...]
    attempts: tuple[AttemptReport, ...]


@attrs.frozen(kw_only=True)
class BuyReport:
    """One mirror buy."""

    id: int
    watched_wallet: str
    wallet: str
    mint: str
    quote: str
    quote_units: int
    signature: str | None
    at_ms: int
    ended_ms: int | None
    outcome: str | None
    slot: int | None
    detail: str | None


@attrs.frozen(kw_only=True)
class Filter:
    """Which entries are wanted; None is all."""

    wallet: str | None = None
    mint: str | None = None
    outcome: str | None = None
    since_ms: int | None = None
    limit: int | None = None
    """The newest so many."""

    def values(self) -> tuple[Any, ...]:
        """Return the values for the placeholders of a query, in their order."""
        limit = -1 if self.limit is None else self.limit
        fields = (self.wallet, self.mint, self.outcome, self.since_ms)
        return (*(value for field in fields for value in (field, field)), limit)


_SALES = """
SELECT sales.*, wallet, mint, symbol, token_account
FROM sales JOIN holdings ON holdings.id = sales.holding_id
WHERE (? IS NULL OR wallet = ?) AND (? IS NULL OR mint = ?)
AND (? IS NULL OR outcome = ?) AND (? IS NULL OR begun_ms >= ?)
ORDER BY sales.id DESC LIMIT ?
"""
_BUYS = """
SELECT * FROM buys
WHERE (? IS NULL OR wallet = ?) AND (? IS NULL OR mint = ?)
AND (? IS NULL OR outcome = ?) AND (? IS NULL OR at_ms >= ?)
ORDER BY id DESC LIMIT ?
"""


R = TypeVar("R")


class JournalReader:
    """
    Reads a journal, also while a daemon writes to it; a context manager.

    Raises:
        ConfigurationError: There is no such file, or it is no journal.
    """

    def __init__(self, path: str | Path) -> None:
        self._db = open_for_reading(path)

    def sales(self, wanted: Filter | None = None) -> list[SaleReport]:
        """Return sales, oldest first."""
        rows = self._rows(_SALES, *(wanted or Filter()).values())
        return [self._sale(row) for row in reversed(rows)]

    def buys(self, wanted: Filter | None = None) -> list[BuyReport]:
        """Return mirror buys, oldest first."""
        rows = self._rows(_BUYS, *(wanted or Filter()).values())
        return [_report(BuyReport, row) for row in reversed(rows)]

    def _sale(self, row: sqlite3.Row) -> SaleReport:
        signals = self._rows(
            "SELECT * FROM signals WHERE sale_id = ? ORDER BY id", row["id"]
        )
        attempts = self._rows(
            "SELECT * FROM attempts WHERE sale_id = ? ORDER BY id", row["id"]
        )
        return _report(
            SaleReport,
            row,
            signals=tuple(_report(SignalReport, signal) for signal in signals),
            attempts=tuple(self._attempt(attempt) for attempt in attempts),
        )

    def _attempt(self, row: sqlite3.Row) -> AttemptReport:
        sends = self._rows(
            "SELECT * FROM sends WHERE attempt_id = ? ORDER BY id", row["id"]
        )
        return _report(
            AttemptReport,
            row,
            sends=tuple(_report(SendReport, send) for send in sends),
        )

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise ConfigurationError(f"the journal cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# Decimal texts in the file, because SQLite's integers are signed.
_AMOUNTS = frozenset({"sell_tokens", "profit_units", "quote_units"})


def _report(kind: type[R], row: sqlite3.Row, **more: Any) -> R:
    """Return a report whose fields are those of a row, and ``more``."""
    names = attrs.fields_dict(kind)  # type: ignore[arg-type]  # all are attrs classes
    fields = {name: row[name] for name in names if name not in more}
    for name in _AMOUNTS.intersection(fields):
        if fields[name] is not None:
            fields[name] = int(fields[name])
    return kind(**fields, **more)


def to_json(reports: Sequence[SaleReport] | Sequence[BuyReport]) -> str:
    """Return reports as a JSON array, nested as they are."""
    return json.dumps([attrs.asdict(report) for report in reports], indent=2)


def to_csv(reports: Sequence[SaleReport] | Sequence[BuyReport]) -> str:
    """
    Return reports as CSV with a header.

    Of sales, one line for each attempt, and one for a sale that has none.
    """
    kind: Any = type(reports[0]) if reports else SaleReport
    lines = [line for report in reports for line in _lines(report)]
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(
        text, _columns(kind), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


_NESTED = ("signals", "attempts")
_ATTEMPT_COLUMNS = tuple(
    field.name for field in attrs.fields(AttemptReport) if field.name != "sends"
)


def _flat(report: Any) -> dict[str, Any]:
    return {
        field.name: getattr(report, field.name)
        for field in attrs.fields(type(report))
        if field.name not in (*_NESTED, "sends")
    }


def _columns(kind: Any) -> list[str]:
    names = [field.name for field in attrs.fields(kind) if field.name not in _NESTED]
    if kind is SaleReport:
        names += [f"attempt_{name}" for name in _ATTEMPT_COLUMNS]
    return names


def _lines(report: SaleReport | BuyReport) -> Iterator[dict[str, Any]]:
    if isinstance(report, BuyReport) or not report.attempts:
        yield _flat(report)
        return
    for attempt in report.attempts:
        yield {
            **_flat(report),
            **{f"attempt_{name}": value for name, value in _flat(attempt).items()},
        }
