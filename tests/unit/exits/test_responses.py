from __future__ import annotations

import json
from typing import Any

import pytest

from lasersell.errors import ApiError
from lasersell.exits.http import HttpFailure, HttpResponse
from lasersell.exits.responses import (
    Account,
    AccountLimits,
    BuildTxResponse,
    History,
    failure_of,
    read_build_tx,
    read_document,
    read_object,
    refusal_of,
)
from tests.clock import FakeClock
from tests.unit.exits.trades import MINT, WALLET


def response(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    """Return a response with a JSON body, or with a text as it is."""
    text = body if isinstance(body, str) else json.dumps(body)
    return HttpResponse(status, headers, text.encode())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {
                "status": "ok",
                "tx": "AQ==",
                "route": {"market_type": "pumpswap", "pool_id": "P"},
                "debug": {"a": 1},
            },
            BuildTxResponse(
                "AQ==", {"market_type": "pumpswap", "pool_id": "P"}, {"a": 1}
            ),
        ),
        ({"status": "OK", "unsigned_tx_b64": "AQ=="}, BuildTxResponse("AQ==")),
        ({"unsigned_tx_b64": "AQ=="}, BuildTxResponse("AQ==")),
        ({"tx": "AQ==", "route": None}, BuildTxResponse("AQ==")),
    ],
)
def test_every_documented_shape_of_a_transaction_is_read(
    body: dict[str, Any], expected: BuildTxResponse
) -> None:
    """With or without a status, under the new name or the old one."""
    assert read_build_tx(response(body)) == expected


@pytest.mark.parametrize(
    "body", ["", "nonsense", "[]", "3", {}, {"tx": 5}, {"status": "ok"}, {"tx": ""}]
)
def test_an_answer_without_a_transaction_is_an_error(body: Any) -> None:
    """What has no transaction is not taken for one."""
    with pytest.raises(ApiError, match="not understood") as caught:
        read_build_tx(response(body))
    assert caught.value.status == 200
    assert not caught.value.is_retryable


def test_a_status_that_is_not_ok_is_an_error_with_its_reason() -> None:
    """A refusal may come with HTTP 200; its fields are kept."""
    body = {
        "status": "unsupported",
        "reason": "invalid_mint",
        "message": "no such mint",
    }
    with pytest.raises(ApiError, match="no such mint") as caught:
        read_build_tx(response(body))
    assert (caught.value.reason, caught.value.body) == ("invalid_mint", body)


REFUSALS: list[tuple[int, Any, str | None, bool]] = [
    (400, {"error": "bad params"}, None, False),
    (
        400,
        {"status": "unsupported", "reason": "invalid_mint", "message": "m"},
        "invalid_mint",
        False,
    ),
    (
        400,
        {
            "status": "unsupported",
            "reason": "unsupported_token_program",
            "message": "m",
        },
        "unsupported_token_program",
        False,
    ),
    (401, {"error": "missing api key"}, None, False),
    (403, {"error": "signature check failed"}, None, False),
    (
        404,
        {"status": "unsupported", "reason": "no_route", "message": "m"},
        "no_route",
        False,
    ),
    (
        404,
        {
            "status": "not_indexed",
            "mint": MINT,
            "reason": "mint not indexed yet; try again shortly",
        },
        "not_indexed",
        True,
    ),
    (404, {"error": "route not found"}, None, False),
    (422, {"error": "no viable route"}, None, False),
    (429, {"error": "rate limit exceeded"}, None, True),
    (500, {"error": "internal"}, "internal", True),
    (502, {"error": "upstream failure"}, None, True),
    (503, "<html>busy</html>", None, True),
    (302, "", None, False),
]


@pytest.mark.parametrize(("status", "body", "reason", "is_retryable"), REFUSALS)
def test_every_documented_refusal_keeps_its_fields(
    status: int, body: Any, reason: str | None, is_retryable: bool
) -> None:
    """Status, code and body are kept, and whether to try again is known."""
    error = refusal_of(response(body, status), FakeClock())
    assert (error.status, error.reason, error.body) == (status, reason, body)
    assert error.is_retryable is is_retryable
    assert f"HTTP {status}" in str(error)


def test_the_words_of_the_service_are_in_the_text() -> None:
    """Error, message and reason are tried in this order, and cut."""
    error = refusal_of(response({"error": "x" * 5000}, 400), FakeClock())
    assert 100 < len(str(error)) < 400


def test_a_body_that_is_no_json_is_kept_in_part() -> None:
    """A page of HTML does not fill the memory of whoever keeps errors."""
    error = refusal_of(response("<" * 100_000, 502), FakeClock())
    assert isinstance(error.body, str)
    assert len(error.body) == 4096


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-3", None),
    ],
)
def test_retry_after_is_understood_in_both_forms(
    value: str, seconds: float | None
) -> None:
    """Seconds or a date, as HTTP has it; nonsense is no answer."""
    answer = response("", 429, **{"retry-after": value})
    assert refusal_of(answer, FakeClock()).retry_after == seconds


def test_no_answer_is_retryable() -> None:
    """A failed network has no status and may be tried again."""
    error = failure_of(HttpFailure("no route", was_sent=False, timed_out=False))
    assert (error.status, error.is_retryable) == (None, True)
    assert "no route" in str(error)


def test_the_account_is_read() -> None:
    """The account has a tier and its limits; what is new is ignored."""
    body = {
        "tier": 1,
        "tier_name": "tier_1",
        "limits": {
            "max_wallets": 5,
            "max_positions_per_wallet": 100,
            "max_positions_per_session": 500,
            "new": 1,
        },
        "new": {},
    }
    assert read_object(response(body), Account) == Account(
        tier=1,
        tier_name="tier_1",
        limits=AccountLimits(
            max_wallets=5,
            max_positions_per_wallet=100,
            max_positions_per_session=500,
        ),
    )


def test_the_history_is_read() -> None:
    """Open trades have no end, closed ones have one; the count may be missing."""
    opened = {
        "id": 1,
        "session_id": 2,
        "position_id": 3,
        "wallet_pubkey": WALLET,
        "mint": MINT,
        "entry_quote_units": 2**60,
        "tokens": 5,
        "opened_at": "2026-03-24T10:00:00Z",
        "exit_quote_units": None,
    }
    closed = {
        **opened,
        "id": "abc",
        "exit_quote_units": 7,
        "profit_quote_units": -3,
        "exit_reason": "stop_loss",
        "market_kind": "PumpFun",
        "strategy_target_profit_pct": 5,
        "closed_at": "2026-03-24T11:00:00Z",
    }
    history = read_object(
        response({"trades": [opened, closed], "total": None}), History
    )
    assert [trade.exit_quote_units for trade in history.trades] == [None, 7]
    assert history.trades[0].entry_quote_units == 2**60
    assert history.trades[1].strategy_target_profit_pct == 5.0
    assert history.total is None


@pytest.mark.parametrize(
    "body", [{"trades": "none"}, {}, "nonsense", {"trades": [{"id": 1}]}, b"\xff".hex()]
)
def test_a_history_that_is_none_is_an_error(body: Any) -> None:
    """A malformed answer is an error that says so, never half an answer."""
    with pytest.raises(ApiError, match="not understood"):
        read_object(response(body), History)


def test_a_document_is_any_json() -> None:
    """What has no published schema is returned as it came, if it is JSON at all."""
    assert read_document(response({"a": [1]})) == {"a": [1]}
    with pytest.raises(ApiError, match="not understood"):
        read_document(response("nonsense"))
