from __future__ import annotations

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.market import KNOWN_MARKET_TYPES, MarketContext
from lasersell.sim.ledger import Quote
from lasersell.sim.solana import associated_token_account
from lasersell.sim.venues import (
    GRADUATES_TO,
    QUOTE_MINTS,
    check_market,
    market_context,
)
from tests.unit.sim.world import OTHER, WALLET


def _context(market_type: str, quote: Quote = "SOL") -> MarketContext:
    return market_context(market_type, quote, "a pool", WALLET)


@pytest.mark.parametrize(
    ("market_type", "accounts"),
    [
        ("pump_fun", set()),
        ("pump_swap", {"pool"}),
        ("meteora_dbc", {"pool", "config", "quote_mint"}),
        ("meteora_damm_v2", {"pool"}),
        (
            "raydium_launchpad",
            {"pool", "config", "platform", "quote_mint", "user_quote_account"},
        ),
        ("raydium_cpmm", {"pool", "config", "quote_mint", "user_quote_account"}),
    ],
)
def test_a_context_has_the_accounts_of_its_kind(
    market_type: str, accounts: set[str]
) -> None:
    """Each kind names the accounts of section 8, under the key the wire gives it."""
    venue = _context(market_type).venue
    assert venue is not None
    named = attrs.asdict(venue, filter=lambda _, value: isinstance(value, str))
    assert set(named) == accounts


def test_a_context_names_the_wallets_own_account() -> None:
    """Where the kind wants the wallet's quote account, it is that wallet's."""
    venue = _context("raydium_cpmm", "USD1").venue
    assert venue is not None
    assert venue.quote_mint == QUOTE_MINTS["USD1"]
    assert venue.user_quote_account == associated_token_account(
        WALLET, QUOTE_MINTS["USD1"]
    )
    other = market_context("raydium_cpmm", "USD1", "a pool", OTHER).venue
    assert other is not None
    assert other.user_quote_account != venue.user_quote_account


def test_every_launch_platform_leads_to_a_known_market() -> None:
    """Tokens graduate from three platforms to three markets, and to no other."""
    assert len({*GRADUATES_TO, *GRADUATES_TO.values()}) == 6
    assert {*GRADUATES_TO, *GRADUATES_TO.values()} == KNOWN_MARKET_TYPES


@pytest.mark.parametrize(
    ("market_type", "quote", "problem"),
    [
        ("pumpswap", "SOL", "choose one of"),
        ("pump_swap", "EUR", "choose SOL or USD1"),
        ("pump_fun", "USD1", "trades in SOL"),
    ],
)
def test_a_market_that_cannot_be_is_refused(
    market_type: str, quote: Quote, problem: str
) -> None:
    """Unknown kinds, unknown assets and pump markets in USD1 are errors."""
    with pytest.raises(ConfigurationError, match=problem):
        check_market(market_type, quote)
