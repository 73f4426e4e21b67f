"""Where a token trades: the market context that comes with positions and signals."""

from __future__ import annotations

from attrs import frozen

from lasersell.protocol.wire import ServerObject, defaults_on_class

__all__ = ["KNOWN_MARKET_TYPES", "MarketContext", "Venue", "normalise_market_type"]


@defaults_on_class
@frozen(kw_only=True, slots=False)
class Venue(ServerObject):
    """
    The accounts of one market; which of them are set depends on the market type.

    Attributes not listed here, of markets yet to come, are in ``extra``.
    """

    pool: str | None = None
    """Pool account; base58. All types but ``pump_fun`` have it."""

    global_config: str | None = None
    """Global configuration account; base58. ``pump_swap``, optional."""

    config: str | None = None
    """Configuration account; base58. ``meteora_dbc`` and both Raydium types."""

    platform: str | None = None
    """Platform account; base58. ``raydium_launchpad``."""

    quote_mint: str | None = None
    """Mint of the quote asset; base58. ``meteora_dbc`` and both Raydium types."""

    user_quote_account: str | None = None
    """The wallet's token account of the quote asset; base58. Both Raydium types."""


# Market type to the key its venue has on the wire; the two Pump keys lack the underscore.
_VENUE_KEYS = {
    "pump_fun": "pumpfun",
    "pump_swap": "pumpswap",
    "meteora_dbc": "meteora_dbc",
    "meteora_damm_v2": "meteora_damm_v2",
    "raydium_launchpad": "raydium_launchpad",
    "raydium_cpmm": "raydium_cpmm",
}
_SPELLINGS = {"pumpfun": "pump_fun", "pumpswap": "pump_swap"}

KNOWN_MARKET_TYPES = frozenset(_VENUE_KEYS)
"""The market types of protocol 1.2.0; the service says that more will come."""


def normalise_market_type(market_type: str) -> str:
    """
    Return the stream's spelling of a market type: ``pumpfun`` is ``pump_fun`` here.

    The REST API and some documents use the other spelling. Unknown types are
    returned as they are.
    """
    return _SPELLINGS.get(market_type, market_type)


@defaults_on_class
@frozen(kw_only=True, slots=False)
class MarketContext(ServerObject):
    """
    The market a position trades on.

    An unknown market type is accepted; its venue is in ``extra``, as decoded JSON.
    """

    market_type: str
    """Kind of market, such as ``pump_swap``; an open set."""

    pumpfun: Venue | None = None
    """Venue of ``pump_fun``; empty on the wire."""

    pumpswap: Venue | None = None
    """Venue of ``pump_swap``."""

    meteora_dbc: Venue | None = None
    """Venue of ``meteora_dbc``."""

    meteora_damm_v2: Venue | None = None
    """Venue of ``meteora_damm_v2``."""

    raydium_launchpad: Venue | None = None
    """Venue of ``raydium_launchpad``."""

    raydium_cpmm: Venue | None = None
    """Venue of ``raydium_cpmm``."""

    def __attrs_post_init__(self) -> None:
        # No converter does this: msgspec runs none.
        normal = normalise_market_type(self.market_type)
        object.__setattr__(self, "market_type", normal)

    @property
    def venue(self) -> Venue | None:
        """The venue that matches the market type; None if unknown or not sent."""
        key = _VENUE_KEYS.get(self.market_type)
        venue: Venue | None = getattr(self, key) if key is not None else None
        return venue
