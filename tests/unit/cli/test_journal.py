from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from lasersell.cli.group import group
from lasersell.exits.journal import Journal, SignalRecord
from tests.clock import FakeClock
from tests.unit.exits.test_journal import BUY, OPENED, SIGNED


@pytest.fixture
def path(tmp_path: Path, clock: FakeClock) -> Path:
    """Write a journal of one sale that lost, one under way, and two buys."""
    path = tmp_path / "journal.db"
    with Journal(path, clock=clock) as journal:
        holding = journal.add_holding(OPENED)
        sale = journal.begin_sale(holding.id, None)
        row = journal.add_signal(SignalRecord(sale_id=sale, born_ms=0, source="stream"))
        journal.begin_attempt(
            sale, row, SIGNED, quote="SOL", profit_units=-1_500_000_000
        )
        journal.end_sale(sale, "sold")
        clock.advance(24 * 3600)
        other = journal.add_holding(attrs.evolve(OPENED, token_symbol=None))
        journal.begin_sale(other.id, 3)
        journal.refuse_buy(attrs.evolve(BUY, amount_quote_units=10**9), "too much")
        journal.begin_buy(BUY, "bought")
    return path


def run(*arguments: str, code: int = 0) -> str:
    """Return what ``lasersell journal`` prints."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(group, ["journal", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_table_has_a_line_for_each_exit(path: Path) -> None:
    """Time, token, level, outcome, profit and signature, oldest first."""
    header, first, second = run(str(path)).splitlines()
    assert header.split() == [
        "UTC",
        "token",
        "level",
        "outcome",
        "tries",
        "profit",
        "signature",
    ]
    assert first.split() == [
        "11-14",
        "22:13:20",
        "SYM",
        "all",
        "sold",
        "1",
        "-1.5000",
        "SOL",
        "signature",
    ]
    assert second.split() == ["11-15", "22:13:20", "mint", "3", "under", "way", "0"]


def test_a_table_of_buys(path: Path) -> None:
    """What was spent, and why one was refused."""
    _, refused, under_way = run(str(path), "--buys").splitlines()
    assert "+1.0000 SOL" in refused
    assert "too much" in refused
    assert "under way" in under_way


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([], 2),
        (["--limit", "1"], 1),
        (["--outcome", "sold"], 1),
        (["--mint", "mint"], 2),
        (["--wallet", "another"], 0),
        (["--since", "2023-11-15"], 1),
        (["--since", "2023-11-15T23:00:00"], 0),
    ],
)
def test_what_is_wanted_is_exported(
    path: Path, arguments: list[str], count: int
) -> None:
    """The options narrow what is printed, as JSON and as CSV."""
    assert len(json.loads(run(str(path), "--format", "json", *arguments))) == count
    text = run(str(path), "--format", "csv", *arguments)
    assert len(list(csv.DictReader(io.StringIO(text)))) == count


def test_an_export_goes_to_a_file(path: Path, tmp_path: Path) -> None:
    """Nothing is printed then."""
    target = tmp_path / "out.json"
    assert run(str(path), "--format", "json", "-o", str(target)) == ""
    assert len(json.loads(target.read_text())) == 2


def test_the_journal_of_the_environment_is_the_default(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a path it is that of the daemon."""
    monkeypatch.setenv("LASERSELL_JOURNAL", str(path))
    assert "SYM" in run()


def test_no_journal_is_one_line(tmp_path: Path) -> None:
    """A file that is not there is named, with exit code 2."""
    told = run(str(tmp_path / "none.db"), code=2)
    assert "cannot open the journal" in told
    assert told.count("\n") == 1
