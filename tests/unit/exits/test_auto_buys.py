from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.exits.auto_buys import LossCap
from lasersell.exits.journal import IN_MEMORY, Journal, SignalRecord
from tests.clock import FakeClock
from tests.unit.exits.test_journal import OPENED, SIGNED


@pytest.fixture
def journal(clock: FakeClock) -> Iterator[Journal]:
    """Open a journal that ends with the test."""
    with Journal(IN_MEMORY, clock=clock) as opened:
        yield opened


def sell(journal: Journal, profit_units: int, quote: str = "SOL") -> None:
    """Write down a sale that landed."""
    holding = journal.add_holding(OPENED)
    sale = journal.begin_sale(holding.id, None)
    row = journal.add_signal(SignalRecord(sale_id=sale, born_ms=0, source="stream"))
    signed = attrs.evolve(SIGNED, signature=f"signature-{sale}")
    journal.begin_attempt(sale, row, signed, quote=quote, profit_units=profit_units)
    journal.end_sale(sale, "sold")


def test_the_cap_is_reached_by_the_loss_of_an_hour(
    journal: Journal, clock: FakeClock
) -> None:
    """Losses add up to the cap, profits count against them, and an hour forgets them."""
    cap = LossCap(lamports=100)
    sell(journal, -90)
    assert cap.why_reached(journal, clock.wall_ms()) is None
    sell(journal, -10)
    assert cap.why_reached(journal, clock.wall_ms()) is not None
    sell(journal, +1)
    assert cap.why_reached(journal, clock.wall_ms()) is None
    sell(journal, -1)
    clock.advance(3601)
    assert cap.why_reached(journal, clock.wall_ms()) is None


def test_each_quote_asset_has_its_cap(journal: Journal, clock: FakeClock) -> None:
    """What was lost in one does not count in the other."""
    sell(journal, -100, "USD1")
    assert LossCap(lamports=100).why_reached(journal, clock.wall_ms()) is None
    why = LossCap(usd1_units=100).why_reached(journal, clock.wall_ms())
    assert why == "the exits of the last hour lost 100 units of USD1"


def test_without_a_cap_nothing_stops_buying(journal: Journal, clock: FakeClock) -> None:
    """No cap is never reached; a cap of 0 is by the first loss, not before."""
    assert LossCap(lamports=0).why_reached(journal, clock.wall_ms()) is None
    sell(journal, -(2**64))
    assert LossCap().why_reached(journal, clock.wall_ms()) is None
    assert LossCap(lamports=0).why_reached(journal, clock.wall_ms()) is not None


@pytest.mark.parametrize("wrong", [-1, 1.5, "1"])
def test_a_cap_is_an_amount(wrong: int) -> None:
    """Anything else is refused."""
    with pytest.raises(ConfigurationError, match="lamports"):
        LossCap(lamports=wrong)
