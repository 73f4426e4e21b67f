"""
Where signed transactions are submitted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from lasersell.errors import ConfigurationError
from lasersell.exits.http import check_url
from lasersell.exits.requests import MAX_U64, SendMode, check_range
from lasersell.stream.options import Secret

__all__ = [
    "ASTRALANE_REGIONS",
    "HELIUS_SENDER_URL",
    "PUBLIC_RPC_URL",
    "SendTarget",
]

PUBLIC_RPC_URL = "https://solana-rpc.publicnode.com"
"""The official SDKs' default; rate limited, so use a node of your own."""
HELIUS_SENDER_URL = "https://sender.helius-rpc.com/fast"
ASTRALANE_REGIONS = frozenset(
    {"fr", "fr2", "la", "jp", "ny", "ams", "ams2", "lim", "sg", "lit"}
)

RPC_VARIABLE = "LASERSELL_RPC_URL"

# What the providers document as their least; below it they drop the transaction.
HELIUS_MIN_TIP = 5_000
ASTRALANE_MIN_TIP = 10_000


def _secret(url: str | Secret) -> Secret:
    return url if isinstance(url, Secret) else Secret(url)


def _secrets(headers: Mapping[str, str | Secret]) -> dict[str, Secret]:
    return {name: _secret(value) for name, value in headers.items()}


@attrs.frozen(kw_only=True)
class SendTarget:
    """
    One place that takes signed transactions; make one with a class method.

    The URL and the headers, which may hold keys, are in no ``repr``.

    Raises:
        ConfigurationError: The URL is not usable.
    """

    label: str
    """What it is called in errors and logs."""
    url: Secret = attrs.field(converter=_secret, repr=False)
    """Where it is."""
    headers: Mapping[str, Secret] = attrs.field(
        factory=dict, converter=_secrets, repr=False, hash=False
    )
    """Sent with each request."""
    config: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    """What ``sendTransaction`` is told, beside the encoding."""
    send_mode: SendMode = "rpc"
    """The ``send_mode`` that transactions for it are built with."""
    min_tip_lamports: int = 0
    """The least tip it takes; less is not even submitted."""
    ping_path: str | None = None
    """What to ask for to keep the connection warm; None is ``getHealth``."""
    takes_rpc: bool = False
    """Whether it answers other RPC methods too, such as ``getSignatureStatuses``."""
    allow_insecure: bool = False
    """Whether ``http://`` to any address is allowed."""

    def __attrs_post_init__(self) -> None:
        check_url(
            self.url.reveal(),
            f"the URL of the target {self.label!r}",
            allow_insecure=self.allow_insecure,
        )
        check_range("min_tip_lamports", self.min_tip_lamports, 0, MAX_U64)

    @classmethod
    def rpc(cls, url: str | None = None, *, preflight: bool = False) -> SendTarget:
        """
        Return a Solana RPC node.

        Args:
            url: None takes it from ``LASERSELL_RPC_URL``, else a public node.
            preflight: Whether the node simulates first, which costs time and tells why.

        Raises:
            ConfigurationError: The URL is not usable.
        """
        return cls(
            label="rpc",
            url=url or os.environ.get(RPC_VARIABLE) or PUBLIC_RPC_URL,
            config={
                "skipPreflight": not preflight,
                "maxRetries": 0,
                "preflightCommitment": "processed",
            },
            takes_rpc=True,
        )

    @classmethod
    def helius_sender(
        cls,
        url: str = HELIUS_SENDER_URL,
        *,
        min_tip_lamports: int = HELIUS_MIN_TIP,
        allow_insecure: bool = False,
    ) -> SendTarget:
        """
        Return Helius Sender, which wants a tip and no preflight.

        Args:
            url: Another address of it; the regional ones have no TLS.
            min_tip_lamports: The least tip it takes; 1,000,000 gets all its routes.
            allow_insecure: Whether to use an address without TLS.

        Raises:
            ConfigurationError: The URL is not usable.
        """
        return cls(
            label="helius_sender",
            url=url,
            config={"skipPreflight": True, "maxRetries": 0},
            send_mode="helius_sender",
            min_tip_lamports=min_tip_lamports,
            ping_path="/ping",
            allow_insecure=allow_insecure,
        )

    @classmethod
    def astralane(
        cls,
        api_key: str | Secret,
        region: str = "fr",
        *,
        url: str | None = None,
        min_tip_lamports: int = ASTRALANE_MIN_TIP,
    ) -> SendTarget:
        """
        Return Astralane Iris, which wants a key, a tip and no preflight.

        The key is sent under both names: the provider documents ``api-key``, the
        official SDKs send ``x-api-key``.

        Args:
            api_key: The key.
            region: Where; one of ``ASTRALANE_REGIONS``.
            url: Another address of it.
            min_tip_lamports: The least tip it takes.

        Raises:
            ConfigurationError: There is no such region, or the URL is not usable.
        """
        if url is None:
            if region not in ASTRALANE_REGIONS:
                raise ConfigurationError(
                    f"region must be one of {', '.join(sorted(ASTRALANE_REGIONS))}, "
                    f"not {region!r}"
                )
            url = f"https://{region}.gateway.astralane.io/iris"
        return cls(
            label="astralane",
            url=url,
            headers={"api-key": api_key, "x-api-key": api_key},
            config={"skipPreflight": True, "maxRetries": 0},
            send_mode="astralane",
            min_tip_lamports=min_tip_lamports,
        )

    @classmethod
    def custom(
        cls,
        url: str,
        *,
        label: str = "custom",
        headers: Mapping[str, str | Secret] | None = None,
        config: Mapping[str, Any] | None = None,
        send_mode: SendMode = "rpc",
        min_tip_lamports: int = 0,
        takes_rpc: bool = False,
        allow_insecure: bool = False,
    ) -> SendTarget:
        """
        Return any other place that takes ``sendTransaction``.

        Args:
            url: Where it is.
            label: What to call it.
            headers: Sent with each request.
            config: What ``sendTransaction`` is told; None skips preflight and retries.
            send_mode: The ``send_mode`` that transactions for it are built with.
            min_tip_lamports: The least tip it takes.
            takes_rpc: Whether it answers other RPC methods too.
            allow_insecure: Whether ``http://`` to any address is allowed.

        Raises:
            ConfigurationError: The URL is not usable.
        """
        return cls(
            label=label,
            url=url,
            headers=headers or {},
            config=config or {"skipPreflight": True, "maxRetries": 0},
            send_mode=send_mode,
            min_tip_lamports=min_tip_lamports,
            takes_rpc=takes_rpc,
            allow_insecure=allow_insecure,
        )
