"""
What the REST API is asked for, checked before it is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.market import MarketContext
from lasersell.protocol.pubkey import check_pubkey
from lasersell.session.positions import PositionHandle

__all__ = [
    "MAX_PARTNER_FEE_BPS",
    "MAX_PARTNER_FEE_LAMPORTS",
    "BuildBuyTxRequest",
    "BuildSellTxRequest",
    "check_range",
]

MAX_PARTNER_FEE_BPS = 50
MAX_PARTNER_FEE_LAMPORTS = 50_000_000
MAX_SLIPPAGE_BPS = 10_000
MAX_U64 = 2**64 - 1

Asset = Literal["SOL", "USD1"]
Mode = Literal["fast", "secure"]
SendMode = Literal["helius_sender", "astralane", "rpc"]

_ASSETS = ("SOL", "USD1")
_MODES = ("fast", "secure", None)
_SEND_MODES = ("helius_sender", "astralane", "rpc", None)

_Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def check_range(name: str, value: Any, low: int, high: int) -> int:
    """
    Return a whole number if it lies between two others.

    Raises:
        ConfigurationError: It does not, or is no whole number.
    """
    if type(value) is not int or not low <= value <= high:
        raise ConfigurationError(
            f"{name} must be a whole number from {low} to {high}, not {value!r}"
        )
    return value


def _key(_: object, attribute: attrs.Attribute[str], value: Any) -> None:
    check_pubkey(value, attribute.name)


def _within(low: int, high: int) -> _Validator:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        check_range(attribute.name, value, low, high)

    return check


def _one_of(choices: Collection[str | None]) -> _Validator:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            known = ", ".join(repr(choice) for choice in choices if choice is not None)
            raise ConfigurationError(
                f"{attribute.name} must be one of {known}, not {value!r}"
            )

    return check


def _market(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, MarketContext):
        raise ConfigurationError(
            f"{attribute.name} must be a MarketContext, not {type(value).__name__}"
        )


_optional = attrs.validators.optional


@attrs.frozen(kw_only=True)
class _BuildTxRequest:
    """What buying and selling have in common."""

    mint: str = attrs.field(validator=_key)
    """The token; base58."""
    user_pubkey: str = attrs.field(validator=_key)
    """Own wallet that will sign; base58."""
    slippage_bps: int = attrs.field(validator=_within(0, MAX_SLIPPAGE_BPS))
    """How much worse than quoted the trade may come out, in basis points."""
    mode: Mode | None = attrs.field(default=None, validator=_one_of(_MODES))
    """How the route is chosen; None is ``fast``."""
    send_mode: SendMode | None = attrs.field(
        default=None, validator=_one_of(_SEND_MODES)
    )
    """How you will submit; the tip is built for it. None leaves it to the service."""
    tip_lamports: int | None = attrs.field(
        default=None, validator=_optional(_within(0, MAX_U64))
    )
    """Tip in the transaction; None leaves it to the service."""
    partner_fee_recipient: str | None = attrs.field(
        default=None, validator=_optional(_key)
    )
    """Who gets a partner fee; base58."""
    partner_fee_bps: int | None = attrs.field(
        default=None, validator=_optional(_within(0, MAX_PARTNER_FEE_BPS))
    )
    """Partner fee in basis points; or else in lamports."""
    partner_fee_lamports: int | None = attrs.field(
        default=None, validator=_optional(_within(0, MAX_PARTNER_FEE_LAMPORTS))
    )
    """Partner fee in lamports; or else in basis points."""

    def __attrs_post_init__(self) -> None:
        by_share = self.partner_fee_bps is not None
        by_amount = self.partner_fee_lamports is not None
        if by_share and by_amount:
            raise ConfigurationError(
                "give partner_fee_bps or partner_fee_lamports, not both"
            )
        if (by_share or by_amount) != (self.partner_fee_recipient is not None):
            raise ConfigurationError(
                "a partner fee needs partner_fee_recipient and one of partner_fee_bps "
                "and partner_fee_lamports"
            )

    def to_payload(self) -> dict[str, Any]:
        """Return the body of the request, without what was not given."""
        payload = attrs.asdict(self, recurse=False, filter=lambda _, v: v is not None)
        context = payload.get("market_context")
        if context is not None:
            payload["market_context"] = _market_payload(context)
        return payload


def _market_payload(context: MarketContext) -> dict[str, Any]:
    fields = attrs.asdict(
        context,
        filter=lambda field, value: (
            value is not None and field.name not in ("extra", "decode_notes")
        ),
    )
    return {**context.extra, **fields}


@attrs.frozen(kw_only=True)
class BuildSellTxRequest(_BuildTxRequest):
    """
    Ask for an unsigned transaction that sells.

    Raises:
        ConfigurationError: A field is wrong.
    """

    amount_tokens: int = attrs.field(validator=_within(0, MAX_U64))
    """How much to sell, in token atomic units; 0 is all that the wallet holds."""
    output: Asset = attrs.field(default="SOL", validator=_one_of(_ASSETS))
    """What to get for it."""
    market_context: MarketContext | None = attrs.field(
        default=None, validator=_optional(_market)
    )
    """Where it trades, which saves the service the search."""

    @classmethod
    def of_position(
        cls,
        position: PositionHandle,
        *,
        slippage_bps: int,
        amount_tokens: int | None = None,
        output: Asset | None = None,
        mode: Mode | None = None,
        send_mode: SendMode | None = None,
        tip_lamports: int | None = None,
    ) -> BuildSellTxRequest:
        """
        Return the request that sells a position, on the market it trades on.

        Args:
            position: What to sell.
            slippage_bps: How much worse than quoted it may come out, in basis points.
            amount_tokens: How much of it, in token atomic units; None is all.
            output: What to get; None is what the market pays in, else SOL.
            mode: How the route is chosen.
            send_mode: How you will submit.
            tip_lamports: Tip in the transaction.
        """
        known = position.quote if position.quote in _ASSETS else "SOL"
        return cls(
            mint=position.mint,
            user_pubkey=position.wallet_pubkey,
            amount_tokens=position.tokens if amount_tokens is None else amount_tokens,
            output=output if output is not None else known,  # type: ignore[arg-type]
            slippage_bps=slippage_bps,
            mode=mode,
            market_context=position.market_context,
            send_mode=send_mode,
            tip_lamports=tip_lamports,
        )


def _positive(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ConfigurationError(
            f"{attribute.name} must be a number over 0, not {value!r}"
        )


@attrs.frozen(kw_only=True)
class BuildBuyTxRequest(_BuildTxRequest):
    """
    Ask for an unsigned transaction that buys.

    A stream sees the position only if it was connected before the buy lands.

    Raises:
        ConfigurationError: A field is wrong.
    """

    amount_in_total: int | None = attrs.field(
        default=None, validator=_optional(_within(1, MAX_U64))
    )
    """What to spend, in atomic units of ``input``; or else ``amount``."""
    amount: float | None = attrs.field(default=None, validator=_optional(_positive))
    """What to spend, in whole units such as 0.1 SOL; or else ``amount_in_total``."""
    input: Asset = attrs.field(default="SOL", validator=_one_of(_ASSETS))
    """What to spend."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if (self.amount is None) == (self.amount_in_total is None):
            raise ConfigurationError("give exactly one of amount_in_total and amount")


def history_query(
    limit: int, offset: int, mint: str | None, wallet: str | None
) -> Mapping[str, str]:
    """
    Return the query of a look at the history.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    query = {
        "limit": str(check_range("limit", limit, 1, 200)),
        "offset": str(check_range("offset", offset, 0, MAX_U64)),
    }
    if mint is not None:
        query["mint"] = check_pubkey(mint, "mint")
    if wallet is not None:
        query["wallet"] = check_pubkey(wallet, "wallet")
    return query
