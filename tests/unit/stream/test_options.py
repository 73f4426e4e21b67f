from __future__ import annotations

import copy
import logging
import pickle
import ssl
from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import Configure
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.client import StreamClient
from lasersell.stream.options import (
    STREAM_ENDPOINT,
    Secret,
    StreamConfigure,
    StreamOptions,
    check_count,
    check_proxy,
    check_seconds,
)

_KEY = "sk-made-up-for-tests-7f3a"
_WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
_OTHER = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"
_STRATEGY = StrategyConfig(target_profit_pct=5.0)
_PIN = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
_ANY: Any = object()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LASERSELL_API_KEY", raising=False)
    monkeypatch.delenv("LASERSELL_STREAM_ENDPOINT", raising=False)


def _options(**changes: Any) -> StreamOptions:
    return StreamOptions(**{"api_key": _KEY, "endpoint": None, **changes})


def _configure(**changes: Any) -> StreamConfigure:
    return StreamConfigure(
        **{"wallet_pubkeys": [_WALLET], "strategy": _STRATEGY, **changes}
    )


# What to watch


def test_a_configuration_becomes_the_message() -> None:
    """All that was asked for is in configure, but the deadline, which is ours."""
    watched = WatchWallet(
        pubkey=_OTHER, auto_buy=AutoBuy(wallet_pubkey=_WALLET, amount_quote_units=1)
    )
    mirror = MirrorConfig(cooldown_sec=30)
    configure = _configure(
        deadline_timeout_sec=45.5,
        send_mode="rpc",
        tip_lamports=1000,
        watch_wallets=[watched],
        mirror_config=mirror,
    )
    assert configure.deadline_timeout_sec == 45.5
    assert configure.message() == Configure(
        wallet_pubkeys=(_WALLET,),
        strategy=_STRATEGY,
        send_mode="rpc",
        tip_lamports=1000,
        watch_wallets=(watched,),
        mirror_config=mirror,
    )


@pytest.mark.parametrize(
    "wallets",
    [_WALLET, [_WALLET], (_WALLET,), {_WALLET}, iter([_WALLET])],
    ids=["one text", "list", "tuple", "set", "iterator"],
)
def test_wallets_may_come_in_any_collection(wallets: Any) -> None:
    """One key or any collection of keys; it cannot change afterwards."""
    assert _configure(wallet_pubkeys=wallets).wallet_pubkeys == (_WALLET,)


def test_a_deadline_alone_is_an_exit_condition() -> None:
    """A strategy may be empty where the deadline will end the position."""
    configure = _configure(strategy=StrategyConfig(), deadline_timeout_sec=45.0)
    assert configure.message().strategy == StrategyConfig()


_BAD_CONFIGURES: list[tuple[dict[str, Any], str]] = [
    ({"wallet_pubkeys": []}, "name at least one wallet"),
    ({"wallet_pubkeys": 7}, "wallet_pubkeys must be a list"),
    ({"wallet_pubkeys": None}, "wallet_pubkeys must be a list"),
    ({"wallet_pubkeys": b"x"}, "wallet_pubkeys must be a list"),
    ({"wallet_pubkeys": {_WALLET: 1}}, "wallet_pubkeys must be a list"),
    ({"wallet_pubkeys": [_WALLET, "0OIl"]}, r"wallet_pubkeys\[1\]"),
    ({"wallet_pubkeys": [7]}, r"wallet_pubkeys\[0\]"),
    ({"strategy": None}, "strategy must be a StrategyConfig, not NoneType"),
    ({"strategy": {"target_profit_pct": 5.0}}, "strategy must be a StrategyConfig"),
    ({"strategy": StrategyConfig()}, "no exit condition"),
    ({"strategy": StrategyConfig(stop_loss_pct=float("nan"))}, "stop_loss_pct"),
    ({"deadline_timeout_sec": -1}, "deadline_timeout_sec"),
    ({"deadline_timeout_sec": float("inf")}, "deadline_timeout_sec"),
    ({"deadline_timeout_sec": "45"}, "deadline_timeout_sec"),
    ({"send_mode": 7}, "send_mode"),
    ({"tip_lamports": -1}, "tip_lamports"),
    ({"tip_lamports": 2**64}, "tip_lamports"),
    ({"tip_lamports": 0.5}, "tip_lamports"),
    ({"tip_lamports": True}, "tip_lamports"),
    ({"watch_wallets": _OTHER}, "watch_wallets must be a list"),
    ({"watch_wallets": None}, "watch_wallets must be a list"),
    ({"watch_wallets": [_OTHER]}, r"watch_wallets\[0\] must be a WatchWallet"),
    ({"watch_wallets": [WatchWallet(pubkey="x")]}, r"watch_wallets\[0\]\.pubkey"),
    (
        {
            "watch_wallets": [
                WatchWallet(
                    pubkey=_OTHER,
                    auto_buy=AutoBuy(wallet_pubkey="x", amount_quote_units=1),
                )
            ]
        },
        r"watch_wallets\[0\]\.auto_buy\.wallet_pubkey",
    ),
    (
        {
            "watch_wallets": [
                WatchWallet(
                    pubkey=_OTHER,
                    auto_buy=AutoBuy(wallet_pubkey=_WALLET, amount_quote_units=-1),
                )
            ]
        },
        "amount_quote_units",
    ),
    ({"watch_wallets": [WatchWallet(pubkey=_OTHER, auto_buy=_ANY)]}, "auto_buy"),
    ({"mirror_config": {"cooldown_sec": 1}}, "mirror_config"),
    ({"mirror_config": MirrorConfig(cooldown_sec=-1)}, "cooldown_sec"),
    ({"mirror_config": MirrorConfig(max_active_sol=float("nan"))}, "max_active_sol"),
]


@pytest.mark.parametrize(("changes", "problem"), _BAD_CONFIGURES)
def test_a_wrong_configuration_is_refused_before_connecting(
    changes: dict[str, Any], problem: str
) -> None:
    """Whatever the server would have to reject is one ConfigurationError here."""
    with pytest.raises(ConfigurationError, match=problem):
        _configure(**changes)


# The key


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is passed wins over LASERSELL_API_KEY."""
    monkeypatch.setenv("LASERSELL_API_KEY", "from-environment")
    assert _options(api_key=None).api_key.reveal() == "from-environment"
    assert _options().api_key.reveal() == _KEY
    assert _options(api_key=Secret("given")).api_key.reveal() == "given"


@pytest.mark.parametrize("key", [None, "", "  ", 7, b"key"])
def test_no_key_is_refused(key: Any) -> None:
    """The error says where keys are made."""
    with pytest.raises(ConfigurationError, match=r"app\.lasersell\.io"):
        _options(api_key=key)


@pytest.mark.parametrize(
    "key", [f" {_KEY}", f"{_KEY}\n", f"{_KEY}\r\nx: y", "schlüssel"]
)
def test_a_key_that_is_no_header_is_refused(key: str) -> None:
    """No key can break out of its HTTP header; the error does not repeat it."""
    with pytest.raises(ConfigurationError, match="copy it again") as caught:
        _options(api_key=key)
    assert key.strip() not in str(caught.value)


def test_the_key_shows_itself_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """In no repr, str, format, log line or dump of attributes."""
    client = StreamClient(_KEY, proxy="http://me:hunter2@localhost:3128")
    options = client.options
    with caplog.at_level(logging.DEBUG):
        logging.getLogger(__name__).info("%s %r %s", client, options, options.api_key)
    shown = [
        repr(client),
        repr(options),
        str(options),
        f"{options.api_key}",
        repr(attrs.asdict(options)["api_key"]),
        repr(vars(client)),
        caplog.text,
    ]
    for text in shown:
        assert _KEY not in text
        assert "hunter2" not in text


@pytest.mark.parametrize("dump", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_pickled(dump: Any) -> None:
    """A key does not travel to another process or a cache by accident."""
    for holder in (Secret(_KEY), _options()):
        if dump is copy.copy and isinstance(holder, StreamOptions):
            continue  # shares the secret, copies none
        with pytest.raises(TypeError, match="not pickled"):
            dump(holder)


# The endpoint


def test_the_endpoint_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Passed, else LASERSELL_STREAM_ENDPOINT, else production."""
    assert _options().endpoint == STREAM_ENDPOINT
    monkeypatch.setenv("LASERSELL_STREAM_ENDPOINT", "")
    assert _options().endpoint == STREAM_ENDPOINT
    monkeypatch.setenv("LASERSELL_STREAM_ENDPOINT", "wss://example.com/ws")
    assert _options().endpoint == "wss://example.com/ws"
    assert _options(endpoint="wss://example.org/").endpoint == "wss://example.org/"


@pytest.mark.parametrize(
    "endpoint",
    [
        "ws://localhost:8082/v1/ws",
        "ws://LOCALHOST:8082/v1/ws",
        "ws://sim.localhost/",
        "ws://127.0.0.1:1/",
        "ws://127.9.9.9/",
        "ws://[::1]:8082/",
        "wss://example.com",
        "wss://example.com:8443/v1/ws?region=eu",
    ],
)
def test_tls_or_this_machine_is_fine(endpoint: str) -> None:
    """The key goes out encrypted, or stays on this machine."""
    assert _options(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("", "must be a ws:// or wss:// URL"),
        (7, "must be a ws:// or wss:// URL"),
        ("stream.lasersell.io", "must be a ws:// or wss:// URL"),
        ("https://stream.lasersell.io/", "must be a ws:// or wss:// URL"),
        ("wss://", "must be a ws:// or wss:// URL"),
        ("wss:///v1/ws", "must be a ws:// or wss:// URL"),
        ("wss://example.com:99999/", "is no URL"),
        ("wss://[::1/", "is no URL"),
        ("wss://example.com/a b", "white space"),
        ("wss://example.com/\r\nx: y", "white space"),
        ("ws://example.com/", "unencrypted"),
        ("ws://10.0.0.1/", "unencrypted"),
        ("ws://localhost.example.com/", "unencrypted"),
        ("ws://127.0.0.1.example.com/", "unencrypted"),
        ("wss://me:hunter2@example.com/", "user name or password"),
        ("https://me:hunter2@example.com/", "user name or password"),
        ("wss://me:hunter2@example.com:99999/", "is no URL"),
    ],
)
def test_a_wrong_endpoint_is_refused(endpoint: Any, problem: str) -> None:
    """One error says what is wrong, and repeats no password."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        _options(endpoint=endpoint)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)


def test_an_insecure_network_can_be_allowed() -> None:
    """Who owns the network may say so."""
    options = _options(endpoint="ws://10.0.0.1/", allow_insecure=True)
    assert options.url.hostname == "10.0.0.1"


# TLS and proxies


def test_pins_are_taken_with_tls() -> None:
    """Any collection of base64 SHA-256 hashes."""
    for pins in ([_PIN], (_PIN,), {_PIN}):
        assert _options(spki_pins=pins).spki_pins == frozenset([_PIN])


@pytest.mark.parametrize(
    ("pins", "problem"),
    [
        ([], "is empty"),
        (_PIN, "must be a list"),
        (7, "must be a list"),
        (["c2hvcnQ="], "not a base64 SHA-256 hash"),
        (["no base64!"], "not a base64 SHA-256 hash"),
        ([f"sha256/{_PIN}"], "not a base64 SHA-256 hash"),
        ([_PIN.replace("FU=", "FV=")], "not a base64 SHA-256 hash"),
        ([_PIN.encode()], "not a base64 SHA-256 hash"),
        ([7], "not a base64 SHA-256 hash"),
        ([[_PIN]], "not a base64 SHA-256 hash"),
    ],
)
def test_pins_that_can_never_match_are_refused(pins: Any, problem: str) -> None:
    """A pin is compared as text, so one that is written otherwise is an error now."""
    with pytest.raises(ConfigurationError, match=problem):
        _options(spki_pins=pins)


def test_pins_need_tls() -> None:
    """Without TLS there is no certificate to match."""
    with pytest.raises(ConfigurationError, match="wss://"):
        _options(endpoint="ws://localhost/", spki_pins=[_PIN])


def test_a_context_must_verify() -> None:
    """A context that takes any certificate, or any name, is refused."""
    context = ssl.create_default_context()
    assert _options(ssl_context=context).ssl_context is context
    context.check_hostname = False
    with pytest.raises(ConfigurationError, match="does not verify"):
        _options(ssl_context=context)
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="does not verify"):
        _options(ssl_context=context)
    with pytest.raises(ConfigurationError, match="must be an SSLContext"):
        _options(ssl_context="default")


def test_a_proxy_is_an_http_url() -> None:
    """A proxy may have a port and a login."""
    url = check_proxy("http://me:pw@proxy.example:3128")
    assert (url.hostname, url.port, url.username) == ("proxy.example", 3128, "me")
    assert _options(proxy="http://proxy.example").proxy


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("socks5://localhost:1080", "socks5 proxies are not supported"),
        ("socks5h://localhost:1080", "socks5h proxies are not supported"),
        ("https://localhost:3128", "must be an http://host:port URL"),
        ("localhost:3128", "must be an http://host:port URL"),
        ("http://", "must be an http://host:port URL"),
        ("http://me:hunter2@localhost:99999", "must be an http://host:port URL"),
        ("", "must be an http://host:port URL"),
        (7, "must be an http://host:port URL"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(proxy: Any, problem: str) -> None:
    """SOCKS is refused by its name; no password is repeated."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        _options(proxy=proxy)
    assert "hunter2" not in str(caught.value)


# Numbers and switches


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hello_grace", -0.1),
        ("hello_grace", float("nan")),
        ("ping_interval", 0.01),
        ("ping_interval", float("inf")),
        ("stale_after", 0),
        ("stale_after", "30"),
        ("rejoin_timeout", -1),
        ("rejoin_timeout", True),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", None),
        ("high_capacity", 0),
        ("high_capacity", 1.0),
        ("high_capacity", True),
        ("max_message_bytes", 0),
        ("max_message_bytes", "1"),
        ("trust_env", 1),
        ("trust_env", "no"),
        ("allow_insecure", "false"),
        ("allow_insecure", None),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name: str, value: Any) -> None:
    """A setting of the wrong kind or out of range is an error that names it."""
    with pytest.raises(ConfigurationError, match=name):
        _options(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("hello_grace", 0), ("rejoin_timeout", 0), ("jitter", 1), ("high_capacity", 1)],
)
def test_the_ends_of_a_range_belong_to_it(name: str, value: Any) -> None:
    """The smallest and the largest allowed value are allowed."""
    assert getattr(_options(**{name: value}), name) == value


def test_checked_numbers_are_handed_back() -> None:
    """A time becomes a float; a count stays what it is."""
    assert check_seconds("timeout", 7) == 7.0
    assert check_count("capacity", 7) == 7
    with pytest.raises(
        ConfigurationError, match="timeout must be a number of at least 1"
    ):
        check_seconds("timeout", 0.5, 1.0)
    with pytest.raises(ConfigurationError, match="capacity must be a whole number"):
        check_count("capacity", -1, 0)
