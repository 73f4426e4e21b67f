"""
What a stream is given once and never changes.
"""

from __future__ import annotations

import base64
import math
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import Configure
from lasersell.protocol.codec import encode_client_message
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.pubkey import check_pubkey
from lasersell.protocol.strategy import StrategyConfig, validate_strategy

__all__ = [
    "LOCAL_STREAM_ENDPOINT",
    "STREAM_ENDPOINT",
    "Secret",
    "StreamConfigure",
    "StreamOptions",
    "check_count",
    "check_proxy",
    "check_seconds",
    "check_strategy",
    "check_wallets",
    "check_watch_wallets",
    "count",
    "seconds",
    "switch",
]

STREAM_ENDPOINT = "wss://stream.lasersell.io/v1/ws"
LOCAL_STREAM_ENDPOINT = "ws://localhost:8082/v1/ws"

_WANTED_ENDPOINT = (
    f"the endpoint must be a ws:// or wss:// URL with a host, such as {STREAM_ENDPOINT}"
)


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


def check_wallets(wallet_pubkeys: Iterable[str]) -> tuple[str, ...]:
    """
    Return own wallets as a tuple; one text stands for a list of one.

    Raises:
        ConfigurationError: There is none, or a key is malformed; names the wallet.
    """
    wallets = (
        (wallet_pubkeys,)
        if isinstance(wallet_pubkeys, str)
        else _as_tuple("wallet_pubkeys", wallet_pubkeys)
    )
    if not wallets:
        raise ConfigurationError(
            "wallet_pubkeys is empty; name at least one wallet to watch"
        )
    for index, key in enumerate(wallets):
        check_pubkey(key, f"wallet_pubkeys[{index}]")
    return wallets


def check_watch_wallets(
    watch_wallets: Iterable[WatchWallet],
) -> tuple[WatchWallet, ...]:
    """
    Return watched wallets as a tuple.

    Raises:
        ConfigurationError: A key is malformed; names the wallet.
    """
    wallets = _as_tuple("watch_wallets", watch_wallets)
    for index, wallet in enumerate(wallets):
        where = f"watch_wallets[{index}]"
        if not isinstance(wallet, WatchWallet):
            raise ConfigurationError(
                f"{where} must be a WatchWallet, not {type(wallet).__name__}"
            )
        check_pubkey(wallet.pubkey, f"{where}.pubkey")
        if isinstance(wallet.auto_buy, AutoBuy):
            check_pubkey(
                wallet.auto_buy.wallet_pubkey, f"{where}.auto_buy.wallet_pubkey"
            )
    return wallets


def check_strategy(strategy: StrategyConfig, deadline_timeout_sec: float = 0.0) -> None:
    """
    Refuse what is no strategy, or no sound one.

    Raises:
        ConfigurationError: Naming the field.
    """
    kind: type = type(strategy)
    if not issubclass(kind, StrategyConfig):
        raise ConfigurationError(
            f"strategy must be a StrategyConfig, not {kind.__name__}"
        )
    validate_strategy(strategy, deadline_timeout_sec)


def _as_tuple(name: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name} must be a list, not {type(value).__name__}")
    return tuple(value)


@attrs.frozen
class StreamConfigure:
    """
    What to watch and when to exit; the ``configure`` of the wire plus the deadline.

    Raises:
        ConfigurationError: A public key is not base58 of 32 bytes, no wallet is
            named, the strategy is not valid, or a value does not fit the wire.
    """

    wallet_pubkeys: tuple[str, ...] = attrs.field(converter=check_wallets)
    """Your own wallets, base58; each must be registered with the service."""
    strategy: StrategyConfig
    deadline_timeout_sec: float = 0.0
    """Longest time to hold a position, in seconds; 0 is off. Never on the wire."""
    send_mode: str | None = None
    """How you will submit: ``rpc``, ``helius_sender`` or ``astralane``."""
    tip_lamports: int | None = None
    """Tip built into each transaction, in lamports."""
    watch_wallets: tuple[WatchWallet, ...] = attrs.field(
        default=(), converter=check_watch_wallets
    )
    """Other people's wallets to watch or copy."""
    mirror_config: MirrorConfig | None = None
    """Guards of mirror trading."""

    def __attrs_post_init__(self) -> None:
        check_strategy(self.strategy, self.deadline_timeout_sec)
        # What the wire cannot carry is refused here, not in the middle of a connect.
        encode_client_message(self.message())

    def message(self) -> Configure:
        """Return the message that says this to the server."""
        return Configure(
            wallet_pubkeys=self.wallet_pubkeys,
            strategy=self.strategy,
            send_mode=self.send_mode,
            tip_lamports=self.tip_lamports,
            watch_wallets=self.watch_wallets,
            mirror_config=self.mirror_config,
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


def seconds(minimum: float) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Return a validator of a field that is a time of at least ``minimum`` seconds."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        check_seconds(attribute.name, value, minimum)

    return check


def check_count(name: str, value: Any, minimum: int = 1) -> int:
    """
    Return a number of things if it is a whole number of at least ``minimum``.

    Raises:
        ConfigurationError: It is not.
    """
    if type(value) is not int or value < minimum:
        raise ConfigurationError(
            f"{name} must be a whole number from {minimum}, not {value!r}"
        )
    return value


def count(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Validate a field that is a whole number from 1."""
    check_count(attribute.name, value)


def _share(_: object, attribute: attrs.Attribute[float], value: Any) -> None:
    if check_seconds(attribute.name, value) > 1:
        raise ConfigurationError(
            f"{attribute.name} must be a share from 0 to 1, not {value!r}"
        )


def switch(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Validate a field that is True or False."""
    # A text such as "false" would count as true, and let the key out.
    if type(value) is not bool:
        raise ConfigurationError(
            f"{attribute.name} must be True or False, not {value!r}"
        )


def resolve_api_key(key: Any) -> Secret:
    """
    Return the API key that was given, else the one of ``LASERSELL_API_KEY``.

    Raises:
        ConfigurationError: There is none, or no HTTP header can carry it.
    """
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


def _resolve_endpoint(endpoint: Any) -> str:
    if endpoint is None:
        endpoint = os.environ.get("LASERSELL_STREAM_ENDPOINT") or STREAM_ENDPOINT
    if not isinstance(endpoint, str):
        raise ConfigurationError(_WANTED_ENDPOINT)
    if any(c.isspace() or not c.isprintable() for c in endpoint):
        raise ConfigurationError(
            "the endpoint has white space or control characters; copy it again"
        )
    return endpoint


def _pins(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    pins = _as_tuple("spki_pins", value)
    try:
        return frozenset(pins)
    except TypeError:
        raise ConfigurationError("a pin is not a base64 SHA-256 hash") from None


@attrs.frozen(kw_only=True)
class StreamOptions:
    """
    The checked settings of a :class:`~lasersell.stream.client.StreamClient`.

    Times are in seconds. See the client for what each one means.
    """

    api_key: Secret = attrs.field(converter=resolve_api_key, repr=False)
    endpoint: str = attrs.field(converter=_resolve_endpoint)
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    spki_pins: frozenset[str] | None = attrs.field(default=None, converter=_pins)
    proxy: str | None = attrs.field(default=None, repr=False)
    trust_env: bool = attrs.field(default=False, validator=switch)
    allow_insecure: bool = attrs.field(default=False, validator=switch)
    hello_grace: float = attrs.field(default=0.5, validator=seconds(0))
    ping_interval: float = attrs.field(default=30.0, validator=seconds(0.05))
    stale_after: float = attrs.field(default=30.0, validator=seconds(0.05))
    rejoin_timeout: float = attrs.field(default=900.0, validator=seconds(0))
    jitter: float = attrs.field(default=0.0, validator=_share)
    high_capacity: int = attrs.field(default=16384, validator=count)
    max_message_bytes: int = attrs.field(default=1_048_576, validator=count)

    def __attrs_post_init__(self) -> None:
        self._check_endpoint()
        if self.spki_pins is not None:
            self._check_pins()
        if self.ssl_context is not None:
            _check_context(self.ssl_context)
        if self.proxy is not None:
            check_proxy(self.proxy)

    @property
    def url(self) -> SplitResult:
        """The endpoint in parts."""
        try:
            url = urlsplit(self.endpoint)
            _ = url.port
        except ValueError:
            # Neither it nor the cause is repeated: a password may be in it.
            raise ConfigurationError(
                "the endpoint is no URL: its host or port is malformed"
            ) from None
        return url

    def _check_endpoint(self) -> None:
        url = self.url
        if url.username or url.password:
            raise ConfigurationError(
                "the endpoint must not carry a user name or password"
            )
        host = url.hostname
        if url.scheme not in ("ws", "wss") or not host:
            raise ConfigurationError(_WANTED_ENDPOINT)
        if url.scheme == "ws" and not self.allow_insecure and not is_loopback(host):
            raise ConfigurationError(
                f"{self.endpoint} would send the API key unencrypted; use wss://, or pass "
                "allow_insecure=True if the network is yours"
            )

    def _check_pins(self) -> None:
        if not self.spki_pins:
            raise ConfigurationError("spki_pins is empty; nothing could ever match it")
        if self.url.scheme != "wss":
            raise ConfigurationError("spki_pins needs a wss:// endpoint")
        for pin in self.spki_pins:
            if not _is_pin(pin):
                raise ConfigurationError(
                    f"the pin {pin!r} is not a base64 SHA-256 hash"
                )


def _is_pin(pin: Any) -> bool:
    try:
        raw = base64.b64decode(pin, validate=True)
    except (ValueError, TypeError):
        return False
    # Written in any other way it would never be equal to one of the server's.
    return len(raw) == 32 and base64.b64encode(raw).decode() == pin


def _check_context(context: Any) -> None:
    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(
            f"ssl_context must be an SSLContext, not {type(context).__name__}"
        )
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigurationError(
            "ssl_context does not verify certificates and host names; the key would go "
            "to anybody"
        )


def check_proxy(proxy: Any) -> SplitResult:
    """
    Return a proxy URL in parts.

    Raises:
        ConfigurationError: It is not an HTTP proxy; SOCKS is not supported.
    """
    try:
        url = urlsplit(proxy if isinstance(proxy, str) else "")
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


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
