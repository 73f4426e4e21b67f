"""
JSON-RPC over a connection that stays open, and what its errors mean.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import msgspec

from lasersell.errors import TxError
from lasersell.exits.http import Endpoint, HttpFailure, HttpResponse
from lasersell.exits.targets import SendTarget

__all__ = ["RpcLink"]

PREFLIGHT_FAILED = -32002

# The node is behind, busy or has an error of its own; the next try may meet another.
_PASSING_CODES = frozenset({-32603, -32004, -32005, -32007, -32014, -32016, 429})
_PASSING_STATUSES = frozenset({408, 425, 429})


class RpcLink:
    """
    The open connections to one target. Any thread may use it.

    Args:
        target: Where to.
        connect_timeout: Seconds for name, TCP and TLS together.
        ssl_context: A verifying context of your own.
    """

    def __init__(
        self,
        target: SendTarget,
        *,
        connect_timeout: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.target = target
        self._endpoint = Endpoint(
            target.url.reveal(),
            name=f"the URL of the target {target.label!r}",
            connect_timeout=connect_timeout,
            secret_headers=target.headers,
            ssl_context=ssl_context,
            allow_insecure=target.allow_insecure,
        )

    @property
    def label(self) -> str:
        """What the target is called."""
        return self.target.label

    def call(
        self, method: str, params: list[Any], *, stage: str, timeout: float
    ) -> Any:
        """
        Call a method and return its result; blocks for ``timeout`` seconds at most.

        Args:
            method: Such as ``getSignatureStatuses``.
            params: Its parameters.
            stage: What a failure is a failure of.
            timeout: Seconds.

        Raises:
            TxError: No result came. ``is_retryable`` is whether the same call may bring
                one, which is safe only if doing it twice is.
        """
        body = msgspec.json.encode(
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        )
        try:
            response = self._endpoint.request(
                "POST",
                timeout=timeout,
                body=body,
                headers={"content-type": "application/json"},
            )
        except HttpFailure as failure:
            raise TxError(
                f"no answer from {self.label}: {failure}",
                stage=stage,
                target=self.label,
                is_retryable=True,
            ) from failure
        return self._result(response, stage)

    def _result(self, response: HttpResponse, stage: str) -> Any:
        answer = response.content()
        error = answer.get("error") if isinstance(answer, dict) else None
        if error is not None:
            raise self._error(error, stage)
        if not response.is_ok:
            status = response.status
            raise TxError(
                f"{self.label} answered with HTTP {status}",
                stage=stage,
                target=self.label,
                is_retryable=status in _PASSING_STATUSES or status >= 500,
                detail=answer,
            )
        # "error": null beside a result is no error.
        if not isinstance(answer, dict) or "result" not in answer:
            raise TxError(
                f"{self.label} answered with neither a result nor an error",
                stage=stage,
                target=self.label,
                is_retryable=True,
                detail=answer,
            )
        return answer["result"]

    def _error(self, error: Any, stage: str) -> TxError:
        code = error.get("code") if isinstance(error, Mapping) else None
        words = error.get("message") if isinstance(error, Mapping) else error
        # Simulated and not sent on: nothing happened, and these bytes will not do.
        is_preflight = code == PREFLIGHT_FAILED
        return TxError(
            f"{self.label} refused: {str(words)[:200]}",
            stage="preflight" if is_preflight else stage,
            target=self.label,
            is_retryable=is_preflight or code in _PASSING_CODES,
            detail=error,
        )

    def warm(self, timeout: float) -> bool:
        """Open a connection, or use one so that it stays open; tell whether it answered."""
        path = self.target.ping_path
        body = None if path else b'{"jsonrpc":"2.0","id":1,"method":"getHealth"}'
        try:
            self._endpoint.request(
                "GET" if path else "POST",
                timeout=timeout,
                path=path,
                body=body,
                headers={"content-type": "application/json"},
            )
        except HttpFailure:
            return False
        return True

    def close(self) -> None:
        """Close the connections that are idle."""
        self._endpoint.close()
