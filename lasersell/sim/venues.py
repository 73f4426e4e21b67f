"""
The kinds of market a token can trade on, as the wire describes them.

Which accounts each kind names is section 8 of the protocol facts, where a token
goes when it graduates 7.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lasersell.errors import ConfigurationError
from lasersell.protocol.market import KNOWN_MARKET_TYPES, MarketContext, Venue
from lasersell.sim.ledger import Quote
from lasersell.sim.solana import associated_token_account, made_up_key

__all__ = [
    "GRADUATES_TO",
    "QUOTE_MINTS",
    "check_market",
    "market_context",
    "venue_accounts",
    "wire_key",
]

GRADUATES_TO = {
    "pump_fun": "pump_swap",
    "meteora_dbc": "meteora_damm_v2",
    "raydium_launchpad": "raydium_cpmm",
}
"""Launch platforms, and the full market each one's tokens move to."""

QUOTE_MINTS: dict[Quote, str] = {
    "SOL": "So11111111111111111111111111111111111111112",
    "USD1": "USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB",
}
"""The mint of each quote asset."""

_KEYS = {"pump_fun": "pumpfun", "pump_swap": "pumpswap"}
_ACCOUNTS: dict[str, tuple[str, ...]] = {
    "pump_fun": (),
    "pump_swap": ("pool",),
    "meteora_dbc": ("pool", "config", "quote_mint"),
    "meteora_damm_v2": ("pool",),
    "raydium_launchpad": (
        "pool",
        "config",
        "platform",
        "quote_mint",
        "user_quote_account",
    ),
    "raydium_cpmm": ("pool", "config", "quote_mint", "user_quote_account"),
}
_PUMP = ("pump_fun", "pump_swap")


def check_market(market_type: str, quote: Quote) -> None:
    """
    Check that there can be such a market.

    Raises:
        ConfigurationError: If the type is unknown, or does not trade that asset.
    """
    if market_type not in KNOWN_MARKET_TYPES:
        raise ConfigurationError(
            f"no market_type {market_type!r}; "
            f"choose one of {', '.join(sorted(KNOWN_MARKET_TYPES))}"
        )
    if quote not in QUOTE_MINTS:
        raise ConfigurationError(f"no quote {quote!r}; choose SOL or USD1")
    if quote != "SOL" and market_type in _PUMP:
        raise ConfigurationError(
            f"{market_type} trades in SOL; choose a Meteora or Raydium market_type"
        )


def wire_key(market_type: str) -> str:
    """Return the name of a market's accounts on the stream, and its kind over REST."""
    return _KEYS.get(market_type, market_type)


def venue_accounts(
    market_type: str, quote: Quote, pool: str, wallet: str
) -> dict[str, str]:
    """
    Return the accounts that the wire names for a market, by their field.

    Args:
        market_type: Its kind, in the stream's spelling.
        quote: What it trades against.
        pool: Its pool account; base58.
        wallet: Whose messages; some kinds name its account of the quote asset.
    """
    accounts: dict[str, Callable[[], str]] = {
        "pool": lambda: pool,
        "config": lambda: made_up_key("config", market_type),
        "platform": lambda: made_up_key("platform", market_type),
        "quote_mint": lambda: QUOTE_MINTS[quote],
        "user_quote_account": lambda: associated_token_account(
            wallet, QUOTE_MINTS[quote]
        ),
    }
    return {name: accounts[name]() for name in _ACCOUNTS[market_type]}


def market_context(
    market_type: str, quote: Quote, pool: str, wallet: str
) -> MarketContext:
    """Return a market as a wallet's messages describe it; see :func:`venue_accounts`."""
    names: dict[str, Any] = dict(venue_accounts(market_type, quote, pool, wallet))
    venue: dict[str, Any] = {wire_key(market_type): Venue(**names)}
    return MarketContext(market_type=market_type, **venue)
