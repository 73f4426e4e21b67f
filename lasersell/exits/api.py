"""
The REST API: transactions to order, wallets to register, the account.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.errors import ApiError, ConfigurationError
from lasersell.exits.http import Endpoint, HttpFailure, HttpResponse
from lasersell.exits.ownership import WalletProof
from lasersell.exits.requests import (
    Asset,
    BuildBuyTxRequest,
    BuildSellTxRequest,
    Mode,
    SendMode,
    check_range,
    history_query,
)
from lasersell.exits.responses import (
    RETRYABLE_STATUSES,
    Account,
    BuildTxResponse,
    History,
    Registered,
    Removed,
    failure_of,
    read_build_tx,
    read_document,
    read_object,
    refusal_of,
)
from lasersell.protocol.pubkey import check_pubkey
from lasersell.session.positions import PositionHandle
from lasersell.stream.options import check_seconds, resolve_api_key

__all__ = ["EXIT_API_BASE_URL", "LOCAL_EXIT_API_BASE_URL", "ExitApiClient"]

EXIT_API_BASE_URL = "https://api.lasersell.io"
LOCAL_EXIT_API_BASE_URL = "http://localhost:8080"

BACKOFF = 0.05
"""Seconds until a failed call is tried again; doubles each time."""
RATE_LIMIT_BACKOFF = 1.0
"""The same after a 429 without ``Retry-After``: sixty calls a minute are allowed."""

_PERIODS = ("24h", "7d", "30d", "90d", "all")


class ExitApiClient:
    """
    A client of the REST API, with its connections kept open. Any thread may use it.

    A call blocks for ``timeout`` seconds at most, with all its attempts. It is tried
    again when the network failed, the server did (5xx) or the rate limit was met (429,
    after ``Retry-After``), if that is safe: building a transaction changes nothing,
    and registering a wallet twice is as good as once. Use it in a ``with`` block.

    Args:
        api_key: The key; None takes it from ``LASERSELL_API_KEY``.
        base_url: None takes it from ``LASERSELL_API_URL``, else the production API.
            ``http://`` is refused but to a loopback address.
        connect_timeout: Seconds for name, TCP and TLS together, of one attempt.
        timeout: Seconds for a whole call.
        attempts: How often a call is tried at most.
        ssl_context: A verifying context of your own.
        allow_insecure: Whether to send the key over ``http://`` to any address.
        clock: Where time comes from.

    Raises:
        ConfigurationError: A setting is wrong, or there is no API key.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        connect_timeout: float = 2.0,
        timeout: float = 5.0,
        attempts: int = 3,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if base_url is None:
            base_url = os.environ.get("LASERSELL_API_URL") or EXIT_API_BASE_URL
        self._endpoint = Endpoint(
            base_url,
            name="base_url",
            connect_timeout=check_seconds("connect_timeout", connect_timeout, 0.001),
            secret_headers={"x-api-key": resolve_api_key(api_key)},
            ssl_context=ssl_context,
            allow_insecure=allow_insecure,
        )
        self._timeout = check_seconds("timeout", timeout, 0.001)
        self._attempts = check_range("attempts", attempts, 1, 100)
        self._clock = clock
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"ExitApiClient({self._endpoint.host!r})"

    # Transactions

    def build_sell_tx(self, request: BuildSellTxRequest) -> BuildTxResponse:
        """
        Return an unsigned transaction that sells.

        Raises:
            ApiError: There is none; ``reason`` says why where the service did, such as
                ``no_route``, or ``not_indexed`` for a token too new.
        """
        return read_build_tx(self._call("POST", "/v1/sell", request.to_payload()))

    def build_partial_sell_tx(
        self,
        position: PositionHandle,
        amount_tokens: int,
        slippage_bps: int,
        output: Asset | None = None,
        *,
        mode: Mode | None = None,
        send_mode: SendMode | None = None,
        tip_lamports: int | None = None,
    ) -> BuildTxResponse:
        """
        Return an unsigned transaction that sells a part of a position, on its market.

        See :meth:`BuildSellTxRequest.of_position` for the arguments.

        Raises:
            ConfigurationError: An argument is wrong.
            ApiError: There is no such transaction.
        """
        request = BuildSellTxRequest.of_position(
            position,
            slippage_bps=slippage_bps,
            amount_tokens=amount_tokens,
            output=output,
            mode=mode,
            send_mode=send_mode,
            tip_lamports=tip_lamports,
        )
        return self.build_sell_tx(request)

    def build_buy_tx(self, request: BuildBuyTxRequest) -> BuildTxResponse:
        """
        Return an unsigned transaction that buys.

        Connect the stream before you submit it, or the position is not tracked.

        Raises:
            ApiError: There is none.
        """
        return read_build_tx(self._call("POST", "/v1/buy", request.to_payload()))

    # Wallets

    def register_wallet(self, proof: WalletProof, label: str | None = None) -> bool:
        """
        Register a wallet, which must be done once before it is configured on a stream.

        Doing it again is safe.

        Args:
            proof: What ``prove_ownership`` returned, not older than five minutes.
            label: A name for it.

        Returns:
            Whether the service says that the wallet is registered.

        Raises:
            ApiError: The proof was refused (403), or is too old (400).
        """
        body = {
            "wallet_pubkey": proof.wallet_pubkey,
            "signature": proof.signature,
            "message": proof.message,
        }
        if label is not None:
            body["label"] = label
        response = self._call("POST", "/v1/wallets/register", body)
        return read_object(response, Registered).registered

    def unregister_wallet(self, wallet_pubkey: str) -> bool:
        """
        Remove a wallet from the account.

        Returns:
            Whether it was there.

        Raises:
            ConfigurationError: It is no public key.
            ApiError: The service refused.
        """
        body = {"wallet_pubkey": check_pubkey(wallet_pubkey, "wallet_pubkey")}
        # A second try could find it gone, and say that it never was there.
        response = self._call("DELETE", "/v1/wallets", body, is_repeatable=False)
        return read_object(response, Removed).removed

    # The account

    def account(self) -> Account:
        """
        Return the tier of the account and its limits.

        Raises:
            ApiError: The service refused.
        """
        return read_object(self._call("GET", "/v1/account"), Account)

    def history(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        mint: str | None = None,
        wallet: str | None = None,
    ) -> History:
        """
        Return past trades, newest first.

        Args:
            limit: How many at most, up to 200.
            offset: How many to leave out.
            mint: Only this token.
            wallet: Only this wallet.

        Raises:
            ConfigurationError: An argument is wrong.
            ApiError: The service refused.
        """
        query = urlencode(history_query(limit, offset, mint, wallet))
        return read_object(self._call("GET", f"/v1/history?{query}"), History)

    def stats(self) -> Any:
        """
        Return the statistics of all periods, as decoded JSON; no schema is published.

        Raises:
            ApiError: The service refused.
        """
        return read_document(self._call("GET", "/v1/stats"))

    def achievements(self) -> Any:
        """
        Return the achievements, as decoded JSON; no schema is published.

        Raises:
            ApiError: The service refused.
        """
        return read_document(self._call("GET", "/v1/achievements"))

    def insights(self, period: str = "30d") -> Any:
        """
        Return the insights of a period, as decoded JSON; no schema is published.

        Args:
            period: ``24h``, ``7d``, ``30d``, ``90d`` or ``all``.

        Raises:
            ConfigurationError: There is no such period.
            ApiError: The service refused.
        """
        if period not in _PERIODS:
            raise ConfigurationError(
                f"period must be one of {', '.join(_PERIODS)}, not {period!r}"
            )
        return read_document(self._call("GET", f"/v1/insights?period={period}"))

    def health(self) -> bool:
        """
        Tell whether the API says that it is well. Also warms the connection up.

        Raises:
            ApiError: It cannot be reached, or answers with an error.
        """
        body = self._call("GET", "/healthz").content()
        return isinstance(body, dict) and body.get("status") == "ok"

    # Calls

    def _call(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        is_repeatable: bool = True,
    ) -> HttpResponse:
        body = None if payload is None else msgspec.json.encode(payload)
        deadline = Deadline(self._timeout, self._clock)
        attempt = 0
        while True:
            attempt += 1
            outcome = self._attempt(method, path, body, deadline)
            if isinstance(outcome, HttpResponse) and outcome.is_ok:
                return outcome
            delay = self._retry_delay(outcome, attempt, is_repeatable)
            if delay is None or not self._waited(delay, deadline):
                break
        if isinstance(outcome, HttpFailure):
            raise failure_of(outcome)
        raise refusal_of(outcome, self._clock)

    def _attempt(
        self, method: str, path: str, body: bytes | None, deadline: Deadline
    ) -> HttpResponse | HttpFailure:
        if self._closed.is_set():
            raise ApiError("this client was closed; make a new one")
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            return self._endpoint.request(
                method,
                path=self._endpoint.base_path + path,
                body=body,
                headers=headers,
                timeout=deadline.remaining() or 0.0,
            )
        except HttpFailure as failure:
            return failure

    def _retry_delay(
        self, outcome: HttpResponse | HttpFailure, attempt: int, is_repeatable: bool
    ) -> float | None:
        """Return after how many seconds to try again; None is not at all."""
        if attempt >= self._attempts:
            return None
        delay = BACKOFF * 2 ** (attempt - 1)
        if isinstance(outcome, HttpFailure):
            return delay if is_repeatable or not outcome.was_sent else None
        status = outcome.status
        # What was refused for the rate was not done, so it is always safe to repeat.
        if status != 429 and not is_repeatable:
            return None
        if status not in RETRYABLE_STATUSES and status < 500:
            return None
        asked = outcome.retry_after(self._clock)
        if asked is not None:
            return asked
        return RATE_LIMIT_BACKOFF if status == 429 else delay

    def _waited(self, delay: float, deadline: Deadline) -> bool:
        left = deadline.remaining()
        if left is not None and delay >= left:
            return False
        # The wait the server asked for, or the backoff; close() ends it.
        self._closed.wait(delay)
        return True

    # The end

    def close(self) -> None:
        """Close the connections; a call that waits for its next attempt ends at once."""
        self._closed.set()
        self._endpoint.close()

    def __enter__(self) -> ExitApiClient:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
