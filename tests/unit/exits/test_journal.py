from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from lasersell._threads import start_thread
from lasersell.errors import ConfigurationError
from lasersell.exits.journal import (
    IN_MEMORY,
    AttemptOutcome,
    DuplicateAttempt,
    Journal,
    SignalRecord,
)
from lasersell.exits.journal_file import open_for_reading
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.server import MirrorBuySignal, PositionOpened
from tests.clock import FakeClock

OPENED = PositionOpened(
    position_id=2**64 - 1,
    wallet_pubkey="wallet",
    mint="mint",
    token_account="account",
    tokens=2**64 - 1,
    entry_quote_units=2**64 - 1,
    token_symbol="SYM",
    opened_at_ms=1_700_000_000_000,
    slot=280_000_000,
)
SIGNED = SignedTransaction(
    raw=b"\x01raw",
    signature="signature",
    wallet="wallet",
    blockhash="hash",
    tip_lamports=2**64 - 1,
)
BUY = MirrorBuySignal(
    session_id=1,
    watched_wallet="watched",
    mint="mint",
    user_wallet="wallet",
    amount_quote_units=2**64 - 1,
    input="SOL",
    unsigned_tx_b64="",
    slippage_bps=100,
)


@pytest.fixture
def journal(clock: FakeClock) -> Iterator[Journal]:
    """Open a journal that ends with the test."""
    with Journal(IN_MEMORY, clock=clock) as opened:
        yield opened


def begin(
    journal: Journal, signed: SignedTransaction = SIGNED, level: int | None = None
) -> tuple[int, int]:
    """Begin an attempt; return the ids of its sale and of itself."""
    holding = journal.add_holding(OPENED)
    sale = journal.begin_sale(holding.id, level)
    row = journal.add_signal(
        SignalRecord(sale_id=sale, born_ms=5, source="stream", sell_tokens=2**64 - 1)
    )
    attempt = journal.begin_attempt(sale, row, signed, quote="SOL", profit_units=-7)
    return sale, attempt


def test_a_holding_comes_back_as_it_was(journal: Journal) -> None:
    """What tells one opening from another survives, to the largest number of the wire."""
    journal.add_holding(OPENED)
    record = journal.latest_holding("account")
    assert record is not None
    assert record.opened == OPENED
    assert journal.latest_holding("another") is None


def test_the_latest_holding_of_an_account_counts(journal: Journal) -> None:
    """Of two openings of one account the second is found."""
    journal.add_holding(OPENED)
    second = journal.add_holding(attrs.evolve(OPENED, slot=280_000_001))
    assert journal.latest_holding("account") == second


def test_a_holding_is_renamed_closed_reopened_and_sold(journal: Journal) -> None:
    """Each change is found by the next look."""
    record = journal.add_holding(OPENED)
    later = attrs.evolve(OPENED, slot=280_000_002, tokens=5)
    record = journal.rename_holding(record, later)
    journal.close_holding(record.id, "manual")
    journal.mark_sold(record.id, 9)
    found = journal.latest_holding("account")
    assert found is not None
    assert (found.opened, found.sold_slot) == (later, 9)
    assert found.closed_ms is not None
    journal.reopen_holding(record.id)
    journal.mark_sold(record.id, None)
    assert journal.latest_holding("account") == record


def test_an_open_attempt_comes_back_as_it_was(
    journal: Journal, clock: FakeClock
) -> None:
    """An attempt whose end is not known has all that is needed to find it out."""
    sale, attempt = begin(journal, level=2)
    (record,) = journal.open_attempts()
    assert record.id == attempt
    assert record.signed == SIGNED
    assert (record.sale.id, record.sale.level) == (sale, 2)
    assert record.sale.sell_tokens == 2**64 - 1
    assert record.holding.opened == OPENED
    assert (record.born_ms, record.begun_ms) == (5, clock.wall_ms())


def test_an_attempt_that_ended_is_not_open(journal: Journal) -> None:
    """Once it is known what became of it, nobody asks again."""
    _, attempt = begin(journal)
    journal.end_attempt(attempt, "landed", slot=9)
    assert journal.open_attempts() == []


def test_the_same_transaction_is_not_begun_twice(journal: Journal) -> None:
    """It would execute no second time, and the first attempt stays as it was."""
    begin(journal)
    with pytest.raises(DuplicateAttempt):
        begin(journal)
    assert len(journal.open_attempts()) == 1


def test_what_no_target_took_may_be_begun_again(journal: Journal) -> None:
    """The same bytes are another attempt, if it is certain that they never left."""
    _, attempt = begin(journal)
    journal.end_attempt(attempt, "rejected")
    _, again = begin(journal)
    assert [record.id for record in journal.open_attempts()] == [again]


@pytest.mark.parametrize("outcome", ["landed", "failed", "expired"])
def test_what_may_have_been_executed_is_not_begun_again(
    journal: Journal, outcome: AttemptOutcome
) -> None:
    """The network executes the same bytes once."""
    _, attempt = begin(journal)
    journal.end_attempt(attempt, outcome)
    with pytest.raises(DuplicateAttempt):
        begin(journal)


def test_the_latest_sale_of_each_level_is_found(journal: Journal) -> None:
    """A level that was begun again, after something was left, counts as the later one."""
    holding = journal.add_holding(OPENED)
    first = journal.begin_sale(holding.id, None)
    journal.end_sale(first, "sold")
    level = journal.begin_sale(holding.id, 0)
    again = journal.begin_sale(holding.id, None)
    assert [sale.id for sale in journal.sales_of(holding.id)] == [level, again]


def test_a_sale_ends_and_is_reopened(journal: Journal) -> None:
    """What was given up can be tried again."""
    holding = journal.add_holding(OPENED)
    sale = journal.begin_sale(holding.id, None)
    journal.end_sale(sale, "gave_up", "x" * 10_000)
    assert journal.sales_of(holding.id)[0].outcome == "gave_up"
    journal.reopen_sale(sale)
    assert journal.sales_of(holding.id)[0].outcome is None


def test_profits_are_those_of_what_was_sold_since(
    journal: Journal, clock: FakeClock
) -> None:
    """Only sales that landed count, in their own quote asset, from the moment on."""
    sale, _ = begin(journal)
    assert journal.profit_since(0, "SOL") == 0
    journal.end_sale(sale, "sold")
    assert journal.profit_since(0, "SOL") == -7
    assert journal.profit_since(0, "USD1") == 0
    assert journal.profit_since(clock.wall_ms() + 1, "SOL") == 0


def test_buys_are_remembered(journal: Journal) -> None:
    """A buy whose end is not known is found; a refused or ended one is not."""
    journal.refuse_buy(BUY, "too great a loss")
    row = journal.begin_buy(BUY, "signature")
    assert journal.open_buys() == [(row, "signature")]
    with pytest.raises(DuplicateAttempt):
        journal.begin_buy(BUY, "signature")
    journal.end_buy(row, "landed", slot=9)
    assert journal.open_buys() == []


def test_together_is_all_or_nothing(journal: Journal) -> None:
    """What is written together, however deep, is there as a whole or not at all."""

    class _Trouble(Exception):
        pass

    def write() -> None:
        with journal.together():
            journal.add_holding(OPENED)
            with journal.together():
                journal.add_holding(OPENED)
            raise _Trouble

    with pytest.raises(_Trouble):
        write()
    assert journal.latest_holding("account") is None
    journal.add_holding(OPENED)
    assert journal.latest_holding("account") is not None


def test_many_threads_may_write(journal: Journal) -> None:
    """Nothing that ten threads write at once is lost."""

    def write() -> None:
        for _ in range(20):
            with journal.together():
                journal.end_sale(journal.begin_sale(holding, None), "sold")

    holding = journal.add_holding(OPENED).id
    threads = [start_thread(f"writer-{n}", write) for n in range(10)]
    for thread in threads:
        thread.join(20)
    journal.begin_sale(holding, 1)
    assert journal.sales_of(holding)[0].id == 200


# Files


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    """Neither the group nor the world may read it, whatever the umask says."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.add_holding(OPENED)
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_next_run_finds_everything(tmp_path: Path) -> None:
    """A journal that was closed has all that was written when it is opened again."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        begin(journal)
    with Journal(path) as journal:
        assert len(journal.open_attempts()) == 1


def test_one_process_writes(tmp_path: Path) -> None:
    """A second writer is refused, until the first has closed."""
    path = tmp_path / "journal.db"
    with Journal(path), pytest.raises(ConfigurationError, match="another process"):
        Journal(path)
    Journal(path).close()


def test_others_may_read_meanwhile(tmp_path: Path) -> None:
    """A reader sees what is written while the writer goes on."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        reader = open_for_reading(path)
        journal.add_holding(OPENED)
        assert len(reader.execute("SELECT * FROM holdings").fetchall()) == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM holdings")
        reader.close()


_KILLED = """
import os, signal, sys
from lasersell.exits.journal import Journal
sys.path.insert(0, sys.argv[2])
from tests.unit.exits.test_journal import begin
begin(Journal(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_an_attempt_survives_a_kill(tmp_path: Path) -> None:
    """What was begun before the process was killed is known to the next one."""
    path = tmp_path / "journal.db"
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(path), os.getcwd()], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with Journal(path) as journal:
        assert [record.signed for record in journal.open_attempts()] == [SIGNED]


def test_another_database_is_refused(tmp_path: Path) -> None:
    """A database of somebody else is left as it was."""
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    for opening in (Journal, open_for_reading):
        with pytest.raises(ConfigurationError, match="no journal of lasersell"):
            opening(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text is left as it was, and the error names it."""
    path = tmp_path / "notes.txt"
    path.write_text("notes, not a database\n" * 100)
    for opening in (Journal, open_for_reading):
        with pytest.raises(ConfigurationError, match=r"cannot open .*notes\.txt"):
            opening(path)
    assert path.read_text().startswith("notes")


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    """A journal of a later lasersell is not written to by this one."""
    path = tmp_path / "journal.db"
    Journal(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for opening in (Journal, open_for_reading):
        with pytest.raises(ConfigurationError, match="update lasersell"):
            opening(path)


def test_the_directory_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    """A journal in a directory that is not there makes it."""
    path = tmp_path / "state" / "journal.db"
    Journal(path).close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["file/journal.db", "."])
def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    """A directory, and a place below a file, are no journal."""
    (tmp_path / "file").touch()
    for opening in (Journal, open_for_reading):
        with pytest.raises(ConfigurationError, match="cannot open the journal"):
            opening(tmp_path / name)


def test_an_empty_file_is_no_journal_to_read(tmp_path: Path) -> None:
    """Reading does not make a journal of nothing."""
    path = tmp_path / "journal.db"
    path.touch()
    with pytest.raises(ConfigurationError, match="is empty"):
        open_for_reading(path)


def test_a_journal_shows_where_it_is(tmp_path: Path) -> None:
    """A journal shows where it is."""
    with Journal(tmp_path / "journal.db") as journal:
        assert repr(journal) == f"Journal('{tmp_path / 'journal.db'}')"


def test_a_commit_that_fails_does_not_lock_the_journal(journal: Journal) -> None:
    """What was written with it is taken back, and the next write begins anew."""

    def write_for_nobody() -> None:
        with journal.together():
            # Only the commit notices.
            journal._db.execute("PRAGMA defer_foreign_keys = ON")
            journal.begin_sale(999, None)

    with pytest.raises(sqlite3.IntegrityError):
        write_for_nobody()
    with journal.together():
        pass
