from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ApiError, ConfigurationError
from lasersell.exits import api as api_module
from lasersell.exits.api import EXIT_API_BASE_URL, ExitApiClient
from lasersell.exits.ownership import prove_ownership
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.protocol.market import MarketContext, Venue
from tests.clock import FakeClock
from tests.integration.exits.server import Answer, Request, Server, running
from tests.unit.exits.test_requests import position
from tests.unit.exits.trades import MINT, OWN, WALLET, made_up

KEY = "api-key-0123456789"
SELL = BuildSellTxRequest(
    mint=MINT, user_pubkey=WALLET, amount_tokens=1_000, slippage_bps=100
)
BUY = BuildBuyTxRequest(mint=MINT, user_pubkey=WALLET, amount=0.1, slippage_bps=100)
BUILT = Answer({"status": "ok", "tx": "AQ=="})


def client(server: Server, **options: Any) -> ExitApiClient:
    """Return a client of a server."""
    return ExitApiClient(KEY, base_url=server.url, **options)


def test_a_sale_is_asked_for_as_the_wire_has_it() -> None:
    """Method, path, key and body are those of the service."""
    with running(BUILT) as server, client(server) as api:
        assert api.build_sell_tx(SELL).tx == "AQ=="
        request = server.requests[0]
        assert (request.method, request.path) == ("POST", "/v1/sell")
        assert request.headers["x-api-key"] == KEY
        assert request.headers["content-type"] == "application/json"
        assert request.json == SELL.to_payload()


def test_a_buy_is_asked_for_as_the_wire_has_it() -> None:
    """The same for a buy."""
    with running(BUILT) as server, client(server) as api:
        assert api.build_buy_tx(BUY).tx == "AQ=="
        request = server.requests[0]
        assert (request.method, request.path) == ("POST", "/v1/buy")
        assert request.json == BUY.to_payload()


def test_a_part_of_a_position_is_sold_on_its_market() -> None:
    """Market, send mode and tip go along."""
    context = MarketContext(market_type="pump_swap", pumpswap=Venue(pool=made_up("p")))
    with running(BUILT) as server, client(server) as api:
        api.build_partial_sell_tx(
            position(context), 300, 250, send_mode="astralane", tip_lamports=7
        )
        assert server.requests[0].json == {
            "mint": MINT,
            "user_pubkey": WALLET,
            "amount_tokens": 300,
            "slippage_bps": 250,
            "output": "SOL",
            "send_mode": "astralane",
            "tip_lamports": 7,
            "market_context": {
                "market_type": "pump_swap",
                "pumpswap": {"pool": made_up("p")},
            },
        }


def test_a_wallet_is_registered_and_removed() -> None:
    """The proof goes as it is, the label if there is one; the answer is not ignored."""
    proof = prove_ownership(OWN)
    answers = [
        Answer({"wallet_pubkey": WALLET, "registered": True}),
        Answer({"wallet_pubkey": WALLET, "registered": False}),
        Answer({"wallet_pubkey": WALLET, "removed": True}),
    ]
    with running(*answers) as server, client(server) as api:
        assert api.register_wallet(proof, "main") is True
        assert api.register_wallet(proof) is False
        assert api.unregister_wallet(WALLET) is True
        first, second, third = server.requests
        assert (first.method, first.path) == ("POST", "/v1/wallets/register")
        assert first.json == {
            "wallet_pubkey": WALLET,
            "signature": proof.signature,
            "message": proof.message,
            "label": "main",
        }
        assert "label" not in second.json
        assert (third.method, third.path) == ("DELETE", "/v1/wallets")
        assert third.json == {"wallet_pubkey": WALLET}


def test_the_account_the_history_and_the_rest_are_read() -> None:
    """Each is a GET with its query."""

    def answer(request: Request) -> Answer:
        path = request.path.partition("?")[0]
        limits = {
            "max_wallets": 5,
            "max_positions_per_wallet": 100,
            "max_positions_per_session": 500,
        }
        return Answer(
            {
                "/v1/account": {"tier": 1, "tier_name": "tier_1", "limits": limits},
                "/v1/history": {"trades": [], "total": 0},
                "/v1/stats": {"24h": {}},
                "/v1/achievements": [{"id": 1}],
                "/v1/insights": {"capped": True},
                "/healthz": {"status": "ok"},
            }[path]
        )

    with running(script=answer) as server, client(server) as api:
        assert api.account().limits.max_wallets == 5
        assert api.history(limit=10, offset=20, mint=MINT, wallet=WALLET).total == 0
        assert api.stats() == {"24h": {}}
        assert api.achievements() == [{"id": 1}]
        assert api.insights("7d") == {"capped": True}
        assert api.health() is True
        assert [request.method for request in server.requests] == ["GET"] * 6
        assert server.requests[1].path == (
            f"/v1/history?limit=10&offset=20&mint={MINT}&wallet={WALLET}"
        )
        assert server.requests[4].path == "/v1/insights?period=7d"
        assert server.connections == 1


def test_a_service_that_is_not_well_says_so() -> None:
    """Health is what the service says, not that it answers."""
    with running(Answer({"status": "degraded"})) as server, client(server) as api:
        assert api.health() is False


def test_a_path_in_the_base_url_is_kept() -> None:
    """The API may live below a path."""
    with running(BUILT) as server:
        with ExitApiClient(KEY, base_url=f"{server.url}/lasersell/") as api:
            api.build_sell_tx(SELL)
        assert server.requests[0].path == "/lasersell/v1/sell"


# Trying again


@pytest.mark.parametrize(
    "failure", [Answer(breaks_off=True), Answer({"error": "upstream"}, 502)]
)
def test_a_failed_call_is_tried_again(failure: Answer) -> None:
    """A broken connection or an error of the server costs a try, not the call."""
    with running(failure, BUILT) as server, client(server) as api:
        assert api.build_sell_tx(SELL).tx == "AQ=="
        assert len(server.requests) == 2


def test_a_call_is_not_tried_for_ever() -> None:
    """After the last attempt its error is raised."""
    with running(Answer({"error": "busy"}, 503)) as server:
        with client(server, attempts=2) as api, pytest.raises(ApiError) as caught:
            api.build_sell_tx(SELL)
        assert len(server.requests) == 2
    assert (caught.value.status, caught.value.is_retryable) == (503, True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 302])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    """What was refused for its content is refused again."""
    with running(Answer({"error": "no"}, status), BUILT) as server:
        with client(server) as api, pytest.raises(ApiError) as caught:
            api.build_sell_tx(SELL)
        assert len(server.requests) == 1
    assert (caught.value.status, caught.value.is_retryable) == (status, False)


def test_a_removal_is_not_tried_again() -> None:
    """A second removal would say that the wallet never was there."""
    for failure in (Answer(breaks_off=True), Answer(status=502)):
        with running(failure, Answer({})) as server:
            with client(server) as api, pytest.raises(ApiError):
                api.unregister_wallet(WALLET)
            assert len(server.requests) == 1


def test_a_removal_that_was_refused_for_the_rate_is_tried_again() -> None:
    """A 429 says that nothing was done, so trying again is safe for any call."""
    answers = [
        Answer(status=429, headers={"retry-after": "0"}),
        Answer({"wallet_pubkey": WALLET, "removed": True}),
    ]
    with running(*answers) as server, client(server) as api:
        assert api.unregister_wallet(WALLET)


def test_a_removal_that_never_left_is_tried_again() -> None:
    """Where no connection was made the server cannot have done anything."""
    with running() as server:
        url = server.url
    with ExitApiClient(KEY, base_url=url) as api:
        start = SYSTEM_CLOCK.monotonic()
        with pytest.raises(ApiError, match="no answer"):
            api.unregister_wallet(WALLET)
        assert SYSTEM_CLOCK.monotonic() - start >= api_module.BACKOFF * 3


def test_a_late_answer_is_not_waited_for_twice() -> None:
    """The time-out is that of the whole call."""
    with running(Answer(hangs=True)) as server:
        with client(server, timeout=0.3) as api, pytest.raises(ApiError) as caught:
            api.build_sell_tx(SELL)
        assert len(server.requests) <= 1
    assert caught.value.is_retryable


class Waits(threading.Event):
    """An event that notes how long it is waited for, and does not wait."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        self.clock.advance(timeout)
        return False


def patient_client(server: Server, **options: Any) -> tuple[ExitApiClient, Waits]:
    """Return a client whose waits cost no time."""
    clock = FakeClock()
    api = client(server, clock=clock, **options)
    waits = Waits(clock)
    api._closed = waits
    return api, waits


def test_retry_after_is_honoured() -> None:
    """The server's word on when to come back counts, in both of its forms."""
    answers = [
        Answer(status=429, headers={"retry-after": "2"}),
        Answer(status=503, headers={"retry-after": "Tue, 14 Nov 2023 22:13:25 GMT"}),
        BUILT,
    ]
    with running(*answers) as server:
        api, waits = patient_client(server, timeout=60)
        with api:
            api.build_sell_tx(SELL)
        assert waits.seconds == [2.0, 3.0]


def test_without_retry_after_a_rate_limit_costs_a_second() -> None:
    """Sixty calls a minute are allowed; other failures are tried again sooner."""
    answers = [Answer(status=429), Answer(status=500), BUILT]
    with running(*answers) as server:
        api, waits = patient_client(server, timeout=60)
        with api:
            api.build_sell_tx(SELL)
        assert waits.seconds == [1.0, 0.1]


def test_a_wait_beyond_the_time_out_is_left_to_the_caller() -> None:
    """Who may wait no longer is told at once how long to wait."""
    with running(Answer(status=429, headers={"retry-after": "30"})) as server:
        api, waits = patient_client(server, timeout=5)
        with api, pytest.raises(ApiError) as caught:
            api.build_sell_tx(SELL)
        assert waits.seconds == []
        assert len(server.requests) == 1
    assert (caught.value.retry_after, caught.value.is_retryable) == (30.0, True)


def test_a_closed_client_says_so() -> None:
    """After close() calls are refused, also one that waits for its next attempt."""
    with running(Answer(status=429, headers={"retry-after": "4"})) as server:
        api = client(server, timeout=30)
        outcome: list[BaseException] = []

        def sell() -> None:
            try:
                api.build_sell_tx(SELL)
            except ApiError as error:
                outcome.append(error)

        thread = threading.Thread(target=sell)
        thread.start()
        server.wait_for(1)
        api.close()
        thread.join(3)
        assert not thread.is_alive()
        assert "closed" in str(outcome[0])
        with pytest.raises(ApiError, match="closed"):
            api.account()


# Settings and secrets


def test_the_base_url_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An explicit URL wins over the variable, and that over the production API."""
    monkeypatch.delenv("LASERSELL_API_URL", raising=False)
    with ExitApiClient(KEY) as api:
        assert EXIT_API_BASE_URL.endswith(api._endpoint.host)
    with running(Answer({"status": "ok"})) as server:
        monkeypatch.setenv("LASERSELL_API_URL", server.url)
        monkeypatch.setenv("LASERSELL_API_KEY", KEY)
        with ExitApiClient() as api:
            assert api.health()
        assert server.requests[0].headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://api.lasersell.io"},
        {"base_url": "api.lasersell.io"},
        {"timeout": 0},
        {"connect_timeout": -1},
        {"attempts": 0},
        {"attempts": 1.5},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_by_name(options: dict[str, Any]) -> None:
    """A setting that makes no sense, or sends the key unencrypted, is named."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ExitApiClient(KEY, **options)


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key there is no client."""
    monkeypatch.delenv("LASERSELL_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="no API key"):
        ExitApiClient()


def test_the_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a text, a log line, an error, or what the server repeats of it."""
    caplog.set_level(0)
    echo = Answer({"error": f"unknown key {KEY}", "key": KEY}, 401)
    with running(echo) as server, client(server) as api:
        with pytest.raises(ApiError) as caught:
            api.account()
        told = f"{api} {api!r} {caught.value} {caught.value!r} {vars(caught.value)}"
        assert KEY not in told
        assert "check the API key" in told
        assert KEY not in caplog.text
        with pytest.raises(TypeError):
            pickle.dumps(api)


def test_an_unknown_period_is_refused() -> None:
    """Insights exist for five periods."""
    with ExitApiClient(KEY) as api, pytest.raises(ConfigurationError, match="period"):
        api.insights("1h")
