"""
What a stream is given once and never changes.
"""

from __future__ import annotations

import base64
import math
import os
import ssl
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.mirror import MirrorConfig, WatchWallet
from lasersell.protocol.pubkey import check_pubkey
from lasersell.protocol.strategy import StrategyConfig, validate_strategy

__all__ = [
    "LOCAL_STREAM_ENDPOINT",
    "STREAM_ENDPOINT",
    "Secret",
    "StreamConfigure",
    "StreamOptions",
    "check_seconds",
]

STREAM_ENDPOINT = "wss://stream.lasersell.io/v1/ws"
LOCAL_STREAM_ENDPOINT = "ws://localhost:8082/v1/ws"


class Secret:
    """A text that shows itself in no ``repr``, log line or pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError(
            "a secret is not pickled; give the API key to each process anew"
        )


def _tuple_of_keys(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(
            f"wallet_pubkeys must be a list of public keys, not {type(value).__name__}"
        )
    return tuple(value)


def _tuple_of_wallets(value: Iterable[WatchWallet]) -> tuple[WatchWallet, ...]:
    return tuple(value)


@attrs.frozen
class StreamConfigure:
    """
    What to watch and when to exit; the ``configure`` of the wire plus the deadline.

    Raises:
        ConfigurationError: A public key is not base58 of 32 bytes, no wallet is
            named, or the strategy is not valid.
    """

    wallet_pubkeys: tuple[str, ...] = attrs.field(converter=_tuple_of_keys)
    """Your own wallets, base58; each must be registered with the service."""
    strategy: StrategyConfig
    deadline_timeout_sec: float = 0.0
    """Longest time to hold a position, in seconds; 0 is off. Never on the wire."""
    send_mode: str | None = None
    """How you will submit: ``rpc``, ``helius_sender`` or ``astralane``."""
    tip_lamports: int | None = None
    """Tip built into each transaction, in lamports."""
    watch_wallets: tuple[WatchWallet, ...] = attrs.field(
        default=(), converter=_tuple_of_wallets
    )
    """Other people's wallets to watch or copy."""
    mirror_config: MirrorConfig | None = None
    """Guards of mirror trading."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.strategy, StrategyConfig):
            raise ConfigurationError(
                f"strategy must be a StrategyConfig, not {type(self.strategy).__name__}"
            )
        validate_strategy(self.strategy, self.deadline_timeout_sec)
        check_wallets(self.wallet_pubkeys)
        check_watch_wallets(self.watch_wallets)
        tip = self.tip_lamports
        if tip is not None and (type(tip) is not int or not 0 <= tip < 2**64):
            raise ConfigurationError(
                f"tip_lamports must be a whole number from 0, not {tip!r}"
            )


def check_wallets(wallet_pubkeys: tuple[str, ...]) -> None:
    """
    Refuse an empty list of wallets, or one with a malformed key.

    Raises:
        ConfigurationError: Naming the wallet.
    """
    if not wallet_pubkeys:
        raise ConfigurationError(
            "wallet_pubkeys is empty; name at least one wallet to watch"
        )
    for index, key in enumerate(wallet_pubkeys):
        check_pubkey(key, f"wallet_pubkeys[{index}]")


def check_watch_wallets(watch_wallets: tuple[WatchWallet, ...]) -> None:
    """
    Refuse watched wallets with a malformed key.

    Raises:
        ConfigurationError: Naming the wallet.
    """
    for index, wallet in enumerate(watch_wallets):
        check_pubkey(wallet.pubkey, f"watch_wallets[{index}].pubkey")
        if wallet.auto_buy is not None:
            check_pubkey(
                wallet.auto_buy.wallet_pubkey,
                f"watch_wallets[{index}].auto_buy.wallet_pubkey",
            )


def check_seconds(name: str, value: Any, minimum: float = 0.0) -> float:
    """
    Return a time in seconds if it is a number of at least ``minimum``.

    Raises:
        ConfigurationError: It is not.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < minimum:
        raise ConfigurationError(
            f"{name} must be a number of at least {minimum:g}, not {value!r}"
        )
    return float(value)


def _seconds(minimum: float) -> Callable[[object, attrs.Attribute[float], Any], None]:
    def check(_: object, attribute: attrs.Attribute[float], value: Any) -> None:
        check_seconds(attribute.name, value, minimum)

    return check


def _count(_: object, attribute: attrs.Attribute[int], value: Any) -> None:
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"{attribute.name} must be a whole number from 1, not {value!r}"
        )


def _resolve_key(key: Any) -> Secret:
    if isinstance(key, Secret):
        return key
    text = key if key is not None else os.environ.get("LASERSELL_API_KEY", "")
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(
            "no API key: pass api_key=... or set LASERSELL_API_KEY "
            "(keys are made at app.lasersell.io, Settings > API Keys)"
        )
    if text != text.strip() or not text.isascii() or not text.isprintable():
        raise ConfigurationError(
            "the API key has white space or a character that no HTTP header can carry; "
            "copy it again"
        )
    return Secret(text)


def _resolve_endpoint(endpoint: str | None) -> str:
    return endpoint or os.environ.get("LASERSELL_STREAM_ENDPOINT") or STREAM_ENDPOINT


def _pins(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise ConfigurationError("spki_pins must be a list of base64 SHA-256 hashes")
    return frozenset(value)


@attrs.frozen(kw_only=True)
class StreamOptions:
    """
    The checked settings of a :class:`~lasersell.stream.client.StreamClient`.

    Times are in seconds. See the client for what each one means.
    """

    api_key: Secret = attrs.field(converter=_resolve_key, repr=False)
    endpoint: str = attrs.field(converter=_resolve_endpoint)
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    spki_pins: frozenset[str] | None = attrs.field(default=None, converter=_pins)
    proxy: str | None = attrs.field(default=None, repr=False)
    trust_env: bool = False
    allow_insecure: bool = False
    hello_grace: float = attrs.field(default=0.5, validator=_seconds(0))
    ping_interval: float = attrs.field(default=30.0, validator=_seconds(0.05))
    stale_after: float = attrs.field(default=30.0, validator=_seconds(0.05))
    rejoin_timeout: float = attrs.field(default=900.0, validator=_seconds(0))
    jitter: float = attrs.field(default=0.0, validator=_seconds(0))
    high_capacity: int = attrs.field(default=16384, validator=_count)
    max_message_bytes: int = attrs.field(default=1_048_576, validator=_count)

    def __attrs_post_init__(self) -> None:
        url = self.url
        if url.scheme not in ("ws", "wss") or not url.hostname:
            raise ConfigurationError(
                f"the endpoint must be a ws:// or wss:// URL with a host, not {self.endpoint!r}"
            )
        if url.username or url.password:
            raise ConfigurationError(
                "the endpoint must not carry a user name or password"
            )
        if (
            url.scheme == "ws"
            and not self.allow_insecure
            and not _is_loopback(url.hostname)
        ):
            raise ConfigurationError(
                f"{self.endpoint} would send the API key unencrypted; use wss://, or pass "
                "allow_insecure=True if the network is yours"
            )
        if self.spki_pins is not None:
            self._check_pins()
        context = self.ssl_context
        if context is not None and context.verify_mode != ssl.CERT_REQUIRED:
            raise ConfigurationError("ssl_context does not verify certificates")
        if self.proxy is not None:
            check_proxy(self.proxy)

    @property
    def url(self) -> SplitResult:
        """The endpoint in parts."""
        try:
            url = urlsplit(self.endpoint)
            _ = url.port
        except ValueError as error:
            raise ConfigurationError(
                f"the endpoint {self.endpoint!r} is no URL: {error}"
            ) from error
        return url

    def _check_pins(self) -> None:
        if not self.spki_pins:
            raise ConfigurationError("spki_pins is empty; nothing could ever match it")
        if self.url.scheme != "wss":
            raise ConfigurationError("spki_pins needs a wss:// endpoint")
        for pin in self.spki_pins:
            try:
                raw = base64.b64decode(pin, validate=True)
            except (ValueError, TypeError):
                raw = b""
            if len(raw) != 32:
                raise ConfigurationError(
                    f"the pin {pin!r} is not a base64 SHA-256 hash"
                )


def check_proxy(proxy: str) -> SplitResult:
    """
    Return a proxy URL in parts.

    Raises:
        ConfigurationError: It is not an HTTP proxy; SOCKS is not supported.
    """
    try:
        url = urlsplit(proxy)
        _ = url.port
    except ValueError:
        url = urlsplit("")
    if url.scheme.startswith("socks"):
        raise ConfigurationError(
            f"{url.scheme} proxies are not supported; use an HTTP proxy that allows CONNECT"
        )
    if url.scheme != "http" or not url.hostname:
        raise ConfigurationError("proxy must be an http://host:port URL")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
