"""
What the REST API answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
import msgspec

from lasersell._clock import Clock
from lasersell._decode import decode_json
from lasersell.errors import ApiError
from lasersell.exits.http import HttpFailure, HttpResponse

__all__ = [
    "Account",
    "AccountLimits",
    "BuildTxResponse",
    "History",
    "HistoryTrade",
    "Registered",
    "Removed",
    "failure_of",
    "read_build_tx",
    "read_document",
    "read_object",
    "refusal_of",
]

T = TypeVar("T")

RETRYABLE_STATUSES = frozenset({408, 425, 429})
NOT_INDEXED = "not_indexed"
"""The reason of a mint so new that the service does not know it yet."""

_BODY_LIMIT = 4096
_CODE = re.compile(r"[a-z0-9_]{1,64}")


@attrs.frozen
class BuildTxResponse:
    """An unsigned transaction, ready to be checked and signed."""

    tx: str = attrs.field(repr=False)
    """The unsigned Solana ``VersionedTransaction``, in base64."""
    route: Mapping[str, Any] | None = None
    """Where it trades, as decoded JSON: ``market_type``, ``pool_id``."""
    debug: Any = attrs.field(default=None, repr=False)
    """Whatever else the service told, as decoded JSON."""


@attrs.frozen(kw_only=True)
class AccountLimits:
    """What the tier of the account allows."""

    max_wallets: int
    """Wallets per session."""
    max_positions_per_wallet: int
    """Positions tracked at once in one wallet."""
    max_positions_per_session: int
    """Positions tracked at once."""


@attrs.frozen(kw_only=True)
class Account:
    """The account of the API key."""

    tier: int
    """0 is Personal, 1 Professional, 2 Advanced."""
    tier_name: str
    """Such as ``tier_1``."""
    limits: AccountLimits
    """What it allows."""


@attrs.frozen(kw_only=True)
class HistoryTrade:
    """One position of the past, or one still open."""

    id: int | str
    """The trade."""
    session_id: int | str
    """The session it was opened in."""
    position_id: int | str
    """The position's id in that session."""
    wallet_pubkey: str
    """The wallet; base58."""
    mint: str
    """The token; base58."""
    entry_quote_units: int
    """What it cost, in atomic units of the quote asset."""
    tokens: int
    """Its size, in token atomic units."""
    opened_at: str
    """When it was opened, in ISO 8601."""
    exit_quote_units: int | None = None
    """What it brought, in atomic units of the quote asset."""
    profit_quote_units: int | None = None
    """What was earned; negative is a loss."""
    exit_reason: str | None = None
    """Why it was sold."""
    market_kind: str | None = None
    """Where it traded, such as ``PumpFun``."""
    strategy_target_profit_pct: float | None = None
    """The strategy's target then, in percent."""
    strategy_stop_loss_pct: float | None = None
    """The strategy's stop loss then, in percent."""
    strategy_trailing_stop_pct: float | None = None
    """The strategy's trailing stop then, in percentage points."""
    closed_at: str | None = None
    """When it was sold, in ISO 8601."""


@attrs.frozen(kw_only=True)
class History:
    """A page of trades, newest first."""

    trades: tuple[HistoryTrade, ...]
    """The trades of this page."""
    total: int | None = None
    """How many there are in all, if the service counted them."""


@attrs.frozen(kw_only=True)
class Registered:
    """The answer to a registration."""

    wallet_pubkey: str
    registered: bool


@attrs.frozen(kw_only=True)
class Removed:
    """The answer to the removal of a wallet."""

    wallet_pubkey: str
    removed: bool


def failure_of(failure: HttpFailure) -> ApiError:
    """Return the error of a request that got no response."""
    return ApiError(f"no answer from the API: {failure}", is_retryable=True)


def refusal_of(response: HttpResponse, clock: Clock) -> ApiError:
    """Return the error of a response whose status is not one of success."""
    status, body = response.status, _body_of(response)
    reason = _reason_in(body)
    retryable = status in RETRYABLE_STATUSES or status >= 500 or reason == NOT_INDEXED
    return ApiError(
        f"the API refused the call with HTTP {status}{_words_of(body)}{_advice(status)}",
        status=status,
        reason=reason,
        body=body,
        is_retryable=retryable,
        retry_after=response.retry_after(clock),
    )


def read_build_tx(response: HttpResponse) -> BuildTxResponse:
    """
    Return the transaction in any of the shapes in which the API gives one.

    Raises:
        ApiError: There is none, or the status in the body is not ``ok``.
    """
    body = _body_of(response)
    if not isinstance(body, dict):
        raise _not_understood(response, "it is no JSON object")
    status = body.get("status", "ok")
    if not isinstance(status, str) or status.lower() != "ok":
        reason = _reason_in(body)
        raise ApiError(
            f"the API built no transaction: status {status!r}{_words_of(body)}",
            status=response.status,
            reason=reason,
            body=body,
            is_retryable=reason == NOT_INDEXED,
        )
    tx = body.get("tx") or body.get("unsigned_tx_b64")
    if not isinstance(tx, str):
        raise _not_understood(response, "it has no tx")
    route = body.get("route")
    return BuildTxResponse(
        tx, route if isinstance(route, dict) else None, body.get("debug")
    )


def read_object(response: HttpResponse, kind: type[T]) -> T:
    """
    Return a response as an object of the given class; unknown fields are ignored.

    Raises:
        ApiError: It is none.
    """
    try:
        return decode_json(response.body, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_understood(response, str(error)) from error


def read_document(response: HttpResponse) -> Any:
    """
    Return a response whose shape is not published, as decoded JSON.

    Raises:
        ApiError: It is neither an object nor an array.
    """
    body = _body_of(response)
    if not isinstance(body, (dict, list)):
        raise _not_understood(response, "it is no JSON object")
    return body


def _not_understood(response: HttpResponse, why: str) -> ApiError:
    return ApiError(
        f"the answer of the API is not understood: {why}",
        status=response.status,
        body=_body_of(response),
    )


def _body_of(response: HttpResponse) -> Any:
    body = response.content()
    return body[:_BODY_LIMIT] if isinstance(body, str) else body


def _reason_in(body: Any) -> str | None:
    # The reason of "not_indexed" is a sentence; its code is the status.
    if not isinstance(body, dict):
        return None
    for name in ("reason", "status", "error"):
        value = body.get(name)
        if isinstance(value, str) and _CODE.fullmatch(value):
            return value
    return None


def _words_of(body: Any) -> str:
    words = body
    if isinstance(body, dict):
        found = (body.get(name) for name in ("error", "message", "reason"))
        words = next((text for text in found if isinstance(text, str)), "")
    return f": {words[:200]}" if isinstance(words, str) and words else ""


def _advice(status: int) -> str:
    if status in (301, 302, 303, 307, 308):
        return "; redirects are not followed, set base_url to the final address"
    if status == 401:
        return "; check the API key (app.lasersell.io, Settings > API Keys)"
    return ""
