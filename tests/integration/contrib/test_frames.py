from __future__ import annotations

from pathlib import Path

import pytest

from lasersell.contrib.frames import (
    HISTORY_DTYPES,
    POSITION_DTYPES,
    history_frame,
    positions_frame,
)
from lasersell.contrib.recorder import PnlRecorder
from lasersell.errors import ConfigurationError
from lasersell.exits.journal import IN_MEMORY, Journal, SignalRecord
from lasersell.exits.journal_report import JournalReader
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import SimServer
from tests.clock import FakeClock
from tests.integration.session.helpers import WALLET, open_session, until
from tests.unit.exits.test_journal import OPENED, SIGNED


def test_positions_have_a_row_each(sim: SimServer) -> None:
    """Amounts are exact integers, shares percent, times UTC."""
    first, second = sim.buy(WALLET, profits_pct=[2.5]), sim.buy(WALLET)
    with open_session(sim, deadline=30.0) as session:
        for _ in range(3):
            until(session, "pnl_update")
        frame = positions_frame(session)
    assert dict(frame.dtypes.astype(str)) == dict(POSITION_DTYPES)
    assert list(frame["token_account"]) == [first.token_account, second.token_account]
    row = frame.iloc[0]
    assert row["entry_quote_units"] == first.entry_quote_units
    assert row["profit_units"] == first.entry_quote_units * 25 // 1000
    assert row["pnl_pct"] == 2.5
    assert 0 < row["deadline_sec"] <= 30
    assert row["opened_at"].tzinfo is not None
    assert frame.attrs["units"]["profit_units"] == "atomic units of the quote asset"


def test_no_positions_are_an_empty_frame(sim: SimServer) -> None:
    """With the same columns and dtypes, so that code need not ask."""
    with open_session(sim) as session:
        frame = positions_frame(session)
        history = history_frame(PnlRecorder(session))
    assert frame.empty
    assert dict(frame.dtypes.astype(str)) == dict(POSITION_DTYPES)
    assert dict(history.dtypes.astype(str)) == dict(HISTORY_DTYPES)


def test_a_recorder_becomes_a_history(sim: SimServer) -> None:
    """In the order of time, profits and moments together."""
    strategy = StrategyConfig(target_profit_pct=5.0)
    with open_session(sim, strategy=strategy) as session:
        recorder = PnlRecorder(session)
        sim.buy(WALLET, profits_pct=[0, 1, 6])
        until(session, "exit_signal_with_tx")
    frame = history_frame(recorder)
    assert dict(frame.dtypes.astype(str)) == dict(HISTORY_DTYPES)
    assert frame["at"].is_monotonic_increasing
    assert list(frame["what"].cat.categories[:3]) == ["opened", "reopened", "pnl"]
    assert frame["what"].iloc[0] == "opened"
    (signal,) = frame[frame["what"] == "exit_signal"].itertuples()
    assert (signal.reason, signal.exit_attempt) == ("target_profit", 1)
    assert signal.pnl_pct == pytest.approx(6.0)
    profits = frame.loc[frame["what"] == "pnl", "pnl_pct"]
    assert list(profits)[:2] == [0.0, 1.0]


def test_amounts_beyond_a_float_stay_exact(sim: SimServer) -> None:
    """An unsigned 64-bit number next to an unknown one would be rounded as a float."""
    sim.buy(WALLET, tokens=2**53 + 1)
    sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        until(session, "position_opened")
        assert int(positions_frame(session)["tokens"].iloc[0]) == 2**53 + 1


def test_a_journal_becomes_a_history(tmp_path: Path, clock: FakeClock) -> None:
    """Signals, transactions and how it ended, with the numbers of the sale."""
    path = tmp_path / "journal.db"
    with Journal(path, clock=clock) as journal:
        sale = journal.begin_sale(journal.add_holding(OPENED).id, None)
        signal = SignalRecord(
            sale_id=sale,
            born_ms=clock.wall_ms() - 30,
            source="stream",
            reason="stop_loss",
            slippage_bps=None,
            sell_tokens=2**64 - 1,
        )
        row = journal.add_signal(signal)
        clock.advance(1)
        attempt = journal.begin_attempt(
            sale, row, SIGNED, quote="SOL", profit_units=-500
        )
        journal.end_attempt(attempt, "landed", slot=1)
        clock.advance(1)
        journal.end_sale(sale, "sold")
        frame = history_frame(journal)
    assert dict(frame.dtypes.astype(str)) == dict(HISTORY_DTYPES)
    assert list(frame["what"]) == ["exit_signal", "attempt", "sold"]
    assert frame["outcome"].tolist()[1:] == ["landed", "sold"]
    first, signed, last = frame.itertuples()
    assert (first.age_ms, first.reason) == (30.0, "stop_loss")
    assert first.sell_tokens == 2**64 - 1
    assert signed.signature == SIGNED.signature
    assert last.profit_units == -500


def test_an_empty_journal_becomes_an_empty_history(tmp_path: Path) -> None:
    """By its path, by what reads it, or by what writes it."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        assert history_frame(journal).empty
    assert history_frame(path).empty
    assert history_frame(str(path)).empty
    with JournalReader(path) as reader:
        assert dict(history_frame(reader).dtypes.astype(str)) == dict(HISTORY_DTYPES)


def test_a_journal_in_memory_cannot_be_read_by_others() -> None:
    """It has no path; that is said."""
    with (
        Journal(IN_MEMORY) as journal,
        pytest.raises(ConfigurationError, match="journal"),
    ):
        history_frame(journal)


def test_only_recorders_and_journals_have_a_history() -> None:
    """A session does not keep one."""
    with pytest.raises(ConfigurationError, match="not of a int"):
        history_frame(3)  # type: ignore[arg-type]
