from __future__ import annotations

import attrs

from lasersell.contrib.jupyter.views import (
    event_html,
    event_line,
    position_html,
    position_row,
    positions_html,
    stats_html,
)
from lasersell.protocol.server import PnlUpdate
from lasersell.session.events import Arrival, EventFacts, StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.stream.lanes import LaneStats
from lasersell.stream.lifecycle import Disconnected
from lasersell.stream.stats import StreamStats
from tests.unit.session.frames import exit_signal, opened

_COST = opened(1).entry_quote_units
_ARRIVAL = Arrival(0.0, 1_700_000_000_123.0)


def _handle(symbol: str | None = "WIF", profit: int | None = None) -> PositionHandle:
    handle = PositionHandle(attrs.evolve(opened(1), token_symbol=symbol), 0.0)
    if profit is not None:
        handle.pnl = PnlUpdate(
            position_id=1, profit_units=profit, proceeds_units=0, server_time_ms=0
        )
    return handle


def test_a_position_shows_its_profit_and_deadline() -> None:
    """In percent of its cost too, green or red; what is not known is left out."""
    handle = _handle(profit=-_COST // 2)
    row = position_row(handle, [0.0, -50.0], 12.34)
    assert "<b>WIF</b>" in row
    assert '<td class="loss">-50.00</td>' in row
    assert "12.3&thinsp;s" in row
    assert "<polyline" in row
    assert "%" not in position_row(_handle(), [], None)


def test_the_name_of_a_token_is_only_text() -> None:
    """Anybody can name a token."""
    handle = _handle(symbol="<img src=x>")
    event = StreamEvent(opened(1), handle, _ARRIVAL)
    for html in (position_html(handle), positions_html([handle]), event_line(event)):
        assert "<img" not in html
        assert "&lt;img" in html


def test_a_token_without_a_symbol_has_a_short_mint() -> None:
    """A whole mint would be as wide as the table."""
    mint = "9UN3nhxnLxxyHhgzkF8nqaAW4KT8LqMBLsvGDVDDFzWh"
    handle = PositionHandle(attrs.evolve(opened(1), mint=mint), 0.0)
    html = positions_html([handle])
    assert "9UN3…FzWh" in html
    assert mint not in html


def test_no_positions_are_said_to_be_none() -> None:
    """An empty table would look like a mistake."""
    assert "no open positions" in positions_html([])


def test_an_event_is_a_line() -> None:
    """With its time, its position and why."""
    facts = EventFacts(exit_attempt=2)
    line = event_line(StreamEvent(exit_signal(1), _handle(), _ARRIVAL, facts))
    assert "<time>22:13:20.1</time>" in line
    assert "<b>WIF</b>" in line
    assert "attempt 2" in line


def test_an_alarming_event_has_a_colour() -> None:
    """So that it is seen among the others."""
    event = StreamEvent(Disconnected(cause="gone"), None, _ARRIVAL)
    assert '<span class="warn">disconnected</span>' in event_line(event)
    assert "gone" in event_line(event)


def test_an_event_lists_its_fields() -> None:
    """Long ones are cut, empty ones left out."""
    long = attrs.evolve(exit_signal(1), unsigned_tx_b64="A" * 500)
    html = event_html(StreamEvent(long, _handle(), _ARRIVAL))
    assert "unsigned_tx_b64" in html
    assert "A" * 100 not in html
    assert "decode_notes" not in html


def test_counters_are_shown_by_lane() -> None:
    """And what is not known yet is left out."""
    lane = LaneStats(delivered=1_234, waiting=0, dropped=5, high_water=9)
    stats = StreamStats(
        state="live",
        frames_in=5_678,
        bytes_in=1,
        high=lane,
        low=lane,
        is_held_back=False,
        reconnects=0,
        round_trip=0.0123,
        clock_offset_ms=None,
        last_message_age=None,
    )
    html = stats_html(stats)
    assert "1,234" in html
    assert "5,678" in html
    assert "12.3 ms" in html
    assert "clock offset" not in html
