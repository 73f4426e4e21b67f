"""
What an auto-exit has done, in one SQLite file that outlives it.

An attempt is written, and on the disk, before its transaction is first submitted:
whatever happens after that, the next run knows the signature and asks the chain what
became of it. Everything else is written as it happens, and survives a killed process.

Amounts are decimal texts, for SQLite's integers are signed and the wire's are not.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock
from lasersell.exits.journal_file import IN_MEMORY, JournalFile
from lasersell.exits.journal_records import (
    AttemptOutcome,
    AttemptRecord,
    BuyOutcome,
    HoldingRecord,
    SaleOutcome,
    SaleRecord,
    SignalRecord,
    Source,
    holding_of,
    sale_of,
    shortened,
    signed_of,
    text_of,
)
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.server import MirrorBuySignal, PositionOpened

__all__ = [
    "IN_MEMORY",
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
]


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


class Journal(JournalFile):
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
        super().__init__(path, clock)

    # Holdings

    def latest_holding(self, token_account: str) -> HoldingRecord | None:
        """Return the last opening of an account that is known."""
        rows = self._read(
            "SELECT * FROM holdings WHERE token_account = ? ORDER BY id DESC LIMIT 1",
            token_account,
        )
        return holding_of(rows[0]) if rows else None

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
        return [sale_of(row) for row in rows]

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
            shortened(detail),
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
            text_of(signal.sell_tokens),
        )

    def decide(self, signal_id: int, decision: str) -> None:
        """Write down what was done with a signal, or why nothing was."""
        self._write(
            "UPDATE signals SET decision = ? WHERE id = ?",
            shortened(decision),
            signal_id,
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
                text_of(signed.tip_lamports),
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
            shortened(problem),
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
            shortened(detail),
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
        sale = sale_of(
            self._read("SELECT * FROM latest_sales WHERE id = ?", row["sale_id"])[0]
        )
        holding = holding_of(
            self._read("SELECT * FROM holdings WHERE id = ?", sale.holding_id)[0]
        )
        return AttemptRecord(
            id=row["id"],
            sale=sale,
            holding=holding,
            signed=signed_of(row),
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
            shortened(detail),
            buy_id,
        )

    def open_buys(self) -> list[tuple[int, str]]:
        """Return id and signature of the buys of which it is not known what became."""
        rows = self._read(
            "SELECT id, signature FROM buys WHERE outcome IS NULL ORDER BY id"
        )
        return [(row["id"], row["signature"]) for row in rows]
