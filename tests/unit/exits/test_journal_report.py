from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.exits.journal import Journal, SignalRecord
from lasersell.exits.journal_report import Filter, JournalReader, to_csv, to_json
from tests.clock import FakeClock
from tests.unit.exits.test_journal import BUY, OPENED, SIGNED

HUGE = 2**64 - 1


@pytest.fixture
def path(tmp_path: Path, clock: FakeClock) -> Path:
    """Write a journal: one exit that failed and then landed, one with no attempt, two buys."""
    path = tmp_path / "journal.db"
    with Journal(path, clock=clock) as journal:
        holding = journal.add_holding(OPENED)
        sale = journal.begin_sale(holding.id, None)
        for number, outcome in enumerate(["failed", "landed"]):
            clock.advance(1)
            row = journal.add_signal(
                SignalRecord(
                    sale_id=sale,
                    born_ms=clock.wall_ms(),
                    source="stream",
                    reason="stop_loss",
                    slippage_bps=number * 100 or None,
                    sell_tokens=HUGE,
                )
            )
            signed = attrs.evolve(SIGNED, signature=f"signature-{number}")
            attempt = journal.begin_attempt(
                sale, row, signed, quote="SOL", profit_units=-HUGE
            )
            journal.add_send(attempt, "rpc", None)
            journal.end_attempt(attempt, outcome, slot=number, detail="told")  # type: ignore[arg-type]
        journal.end_sale(sale, "sold")
        clock.advance(1)
        other = journal.add_holding(
            attrs.evolve(OPENED, mint="other", wallet_pubkey="b")
        )
        journal.begin_sale(other.id, 3)
        journal.refuse_buy(BUY, "too great a loss")
        journal.end_buy(journal.begin_buy(BUY, "bought"), "landed", slot=9)
    return path


def test_a_sale_has_all_that_happened_to_it(path: Path, clock: FakeClock) -> None:
    """Signals, attempts and submissions are there in their order, with exact amounts."""
    with JournalReader(path) as reader:
        sale, other = reader.sales()
    assert (sale.outcome, sale.quote, sale.profit_units) == ("sold", "SOL", -HUGE)
    assert [signal.slippage_bps for signal in sale.signals] == [None, 100]
    assert [signal.sell_tokens for signal in sale.signals] == [HUGE, HUGE]
    assert [attempt.outcome for attempt in sale.attempts] == ["failed", "landed"]
    assert [send.taken_by for send in sale.attempts[1].sends] == ["rpc"]
    assert (other.level, other.outcome, other.attempts) == (3, None, ())


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [1, 2]),
        (Filter(wallet="b"), [2]),
        (Filter(mint="mint"), [1]),
        (Filter(outcome="sold"), [1]),
        (Filter(limit=1), [2]),
        (Filter(since_ms=1_700_000_003_000), [2]),
        (Filter(wallet="b", outcome="sold"), []),
    ],
)
def test_a_filter_leaves_what_is_wanted(
    path: Path, wanted: Filter, expected: list[int]
) -> None:
    """Each field narrows what is shown; the newest come last."""
    with JournalReader(path) as reader:
        assert [sale.id for sale in reader.sales(wanted)] == expected


def test_buys_are_read(path: Path) -> None:
    """A refused buy has its reason, one that landed its slot."""
    with JournalReader(path) as reader:
        refused, landed = reader.buys()
        assert reader.buys(Filter(outcome="refused")) == [refused]
    assert (refused.outcome, refused.detail) == ("refused", "too great a loss")
    assert (landed.signature, landed.slot, landed.quote_units) == ("bought", 9, HUGE)


def test_json_has_everything_but_the_transactions(path: Path) -> None:
    """The export holds each field, nested, and no signed transaction."""
    with JournalReader(path) as reader:
        text = to_json(reader.sales())
    sale, other = json.loads(text)
    assert sale["attempts"][1]["signature"] == "signature-1"
    assert sale["profit_units"] == -HUGE
    assert other["attempts"] == []
    assert "raw" not in text


def test_csv_has_a_line_for_each_attempt(path: Path) -> None:
    """A sale with two attempts has two lines, one with none has one."""
    with JournalReader(path) as reader:
        lines = list(csv.DictReader(io.StringIO(to_csv(reader.sales()))))
    assert [line["id"] for line in lines] == ["1", "1", "2"]
    assert [line["attempt_outcome"] for line in lines] == ["failed", "landed", ""]
    assert lines[0]["profit_units"] == str(-HUGE)


def test_csv_of_buys_has_a_line_for_each(path: Path) -> None:
    """Buys have no attempts."""
    with JournalReader(path) as reader:
        lines = list(csv.DictReader(io.StringIO(to_csv(reader.buys()))))
    assert [line["outcome"] for line in lines] == ["refused", "landed"]


def test_nothing_is_a_header(path: Path) -> None:
    """An export of nothing is valid all the same."""
    assert to_csv([]).startswith("id,wallet,mint")
    assert json.loads(to_json([])) == []


def test_a_broken_journal_is_an_error(path: Path, tmp_path: Path) -> None:
    """A file that is damaged inside is named, not shown in part."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 60_000)
    with (
        pytest.raises(ConfigurationError, match=r"cannot be (read|opened)|cannot open"),
        JournalReader(path) as reader,
    ):
        reader.sales()
