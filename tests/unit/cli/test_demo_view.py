from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from lasersell.cli.demo_record import ExitSeen, Record
from lasersell.cli.demo_scenario import ROLES
from lasersell.cli.demo_seller import Sold
from lasersell.cli.demo_view import JsonView, LiveView, PlainView, View
from lasersell.protocol.market import MarketContext
from lasersell.protocol.server import PositionOpened
from lasersell.session.positions import PositionHandle


@pytest.fixture
def record() -> Record:
    """Return a record with one position that left at a profit, and one missing."""
    record = Record()
    record.expect("mint-1", ROLES[0])
    record.expect("mint-2", ROLES[1])
    row = record.rows["mint-1"]
    row.handle = PositionHandle(
        PositionOpened(
            position_id=1,
            wallet_pubkey=ROLES[0].wallet,
            mint="mint-1",
            token_account="account",
            tokens=1000,
            entry_quote_units=2_000_000_000,
            token_symbol="SIM1",
            market_context=MarketContext(market_type="pump_swap"),
            slot=1,
        ),
        now=0.0,
    )
    row.profits_pct.extend([5.0, 27.0])
    row.exit = ExitSeen("target_profit", 540_000_000, 27.0, latency_ms=3)
    row.sold = Sold("5igNaTuRe", slot=7, took_ms=2.0)
    row.booked = "5igNaTuRe"
    row.closed, row.closed_slot = "target_profit", 7
    return record


def _console(output: io.StringIO, *, terminal: bool = False) -> Console:
    return Console(file=output, width=80, force_terminal=terminal)


def _shown(view: View, record: Record) -> None:
    with view:
        view.say("something happened")
        view.show(record)
        view.conclude(record)


def test_the_summary_can_be_checked_by_a_person(record: Record) -> None:
    """Each exit has position, reason, profit in SOL and percent, and latency."""
    output = io.StringIO()
    _shown(PlainView(_console(output)), record)
    line = next(line for line in output.getvalue().splitlines() if " ok" in line)
    for part in ("SIM1", "target_profit", "+0.5400 SOL", "+27.0 %", "3 ms", "5igNaTuR"):
        assert part in line


def test_the_summary_names_what_is_missing(record: Record) -> None:
    """An exit that did not arrive has its line too."""
    output = io.StringIO()
    _shown(PlainView(_console(output)), record)
    lines = output.getvalue().splitlines()
    assert any("stop-loss" in line and "missing" in line for line in lines)
    assert any(line.startswith("1 of 2 expected exits") for line in lines)


def test_plain_lines_have_no_control_characters(record: Record) -> None:
    """What goes into a file or a pipe is text."""
    output = io.StringIO()
    _shown(PlainView(_console(output)), record)
    assert "\x1b" not in output.getvalue()
    assert "something happened" in output.getvalue()


def test_the_live_table_fits_a_small_terminal(record: Record) -> None:
    """At 80 columns nothing of the table is cut or wrapped."""
    output = io.StringIO()
    _shown(LiveView(_console(output, terminal=True)), record)
    assert "…" not in output.getvalue().replace(f"{ROLES[0].wallet[:5]}…", "")
    assert "something happened" in output.getvalue()


def test_the_live_table_gives_the_cursor_back(record: Record) -> None:
    """The terminal is as it was, also when the demonstration fails."""
    output = io.StringIO()
    with pytest.raises(KeyboardInterrupt), LiveView(_console(output, terminal=True)):
        raise KeyboardInterrupt
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert output.getvalue().rfind(show) > output.getvalue().rfind(hide) >= 0


def test_json_is_one_document(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    """Machines get one JSON document and nothing else."""
    _shown(JsonView(), record)
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [row["ok"] for row in document["exits"]] == [True, False]
    assert document["exits"][0]["profit_units"] == 540_000_000
