from __future__ import annotations

import pytest

from lasersell.protocol.market import (
    KNOWN_MARKET_TYPES,
    MarketContext,
    Venue,
    normalise_market_type,
)

_VENUE = Venue(pool="P")


@pytest.mark.parametrize(
    ("market_type", "key"),
    [
        ("pump_fun", "pumpfun"),
        ("pump_swap", "pumpswap"),
        ("meteora_dbc", "meteora_dbc"),
        ("meteora_damm_v2", "meteora_damm_v2"),
        ("raydium_launchpad", "raydium_launchpad"),
        ("raydium_cpmm", "raydium_cpmm"),
    ],
)
def test_the_venue_is_the_one_of_the_market_type(market_type: str, key: str) -> None:
    """Each known market type has its venue under its own key."""
    context = MarketContext(market_type=market_type, **{key: _VENUE})  # type: ignore[arg-type]
    assert context.venue is _VENUE
    assert market_type in KNOWN_MARKET_TYPES


@pytest.mark.parametrize("market_type", ["pump_swap", "orca_whirlpool", ""])
def test_a_context_may_lack_its_venue(market_type: str) -> None:
    """A venue that did not come, or of an unknown type, is None."""
    assert MarketContext(market_type=market_type, raydium_cpmm=_VENUE).venue is None


@pytest.mark.parametrize(
    ("spelling", "market_type"),
    [
        ("pumpfun", "pump_fun"),
        ("pumpswap", "pump_swap"),
        ("pump_fun", "pump_fun"),
        ("raydium_cpmm", "raydium_cpmm"),
        ("orca_whirlpool", "orca_whirlpool"),
    ],
)
def test_spellings_are_normalised(spelling: str, market_type: str) -> None:
    """The other spelling of the Pump types is understood; the rest stays."""
    assert normalise_market_type(spelling) == market_type
    assert MarketContext(market_type=spelling).market_type == market_type
