from __future__ import annotations

import pytest

from lasersell.errors import ConfigurationError
from lasersell.exits.targets import ASTRALANE_REGIONS, PUBLIC_RPC_URL, SendTarget


def test_an_rpc_node_is_told_what_the_official_clients_tell_it() -> None:
    """No preflight unless asked for, no retries by the node, processed."""
    target = SendTarget.rpc("https://rpc.example")
    assert target.config == {
        "skipPreflight": True,
        "maxRetries": 0,
        "preflightCommitment": "processed",
    }
    checked = SendTarget.rpc("https://rpc.example", preflight=True)
    assert checked.config["skipPreflight"] is False
    assert target.min_tip_lamports == 0


def test_the_rpc_node_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An explicit URL wins over the variable, and that over the public node."""
    monkeypatch.delenv("LASERSELL_RPC_URL", raising=False)
    assert SendTarget.rpc().url.reveal() == PUBLIC_RPC_URL
    monkeypatch.setenv("LASERSELL_RPC_URL", "https://mine.example/key")
    assert SendTarget.rpc().url.reveal() == "https://mine.example/key"
    assert SendTarget.rpc("https://a.example").url.reveal() == "https://a.example"


def test_the_senders_want_a_tip_and_no_preflight() -> None:
    """Helius and Astralane are told neither preflight commitment nor retries."""
    for target, least in (
        (SendTarget.helius_sender(), 5_000),
        (SendTarget.astralane("key"), 10_000),
    ):
        assert target.config == {"skipPreflight": True, "maxRetries": 0}
        assert target.min_tip_lamports == least
        assert target.send_mode == target.label
    assert SendTarget.helius_sender().url.reveal() == (
        "https://sender.helius-rpc.com/fast"
    )


def test_astralane_gets_its_key_under_both_names() -> None:
    """Its documents name one header, the official SDKs send the other."""
    target = SendTarget.astralane("the key", "ams")
    assert target.url.reveal() == "https://ams.gateway.astralane.io/iris"
    revealed = {name: value.reveal() for name, value in target.headers.items()}
    assert revealed == {"api-key": "the key", "x-api-key": "the key"}
    assert "fr" in ASTRALANE_REGIONS
    with pytest.raises(ConfigurationError, match="region"):
        SendTarget.astralane("the key", "mars")


def test_no_key_is_shown() -> None:
    """URLs and headers, where providers have their keys, are in no text."""
    targets = [
        SendTarget.rpc("https://rpc.example/secret-path?api-key=secret-query"),
        SendTarget.astralane("secret-header"),
        SendTarget.custom(
            "https://x.example/secret-path", headers={"auth": "secret-header"}
        ),
    ]
    assert "secret" not in repr(targets)
    assert "secret" not in str(targets)


@pytest.mark.parametrize(
    "url",
    [
        "http://rpc.example/hidden",
        "ws://rpc.example/hidden",
        "rpc.example/hidden",
        "https://",
        "https://user:hidden@rpc.example",
        "https://rpc.example:port/hidden",
        "https://rpc.example/hid den",
        "https://rpc.example/hidden\r\nx: y",
        "https://rpc.example/hiddèn",
        "http://127.0.0.1.evil.example/hidden",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_told(url: str) -> None:
    """Nothing goes unencrypted over a network, and the error keeps the URL to itself."""
    with pytest.raises(ConfigurationError, match="'rpc'") as caught:
        SendTarget.rpc(url)
    assert "hid" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"]
)
def test_this_machine_needs_no_encryption(url: str) -> None:
    """A node on the same machine is reached without TLS."""
    assert SendTarget.rpc(url).url.reveal() == url


def test_an_address_without_tls_can_be_allowed() -> None:
    """The regional addresses of Helius have no TLS; who wants them says so."""
    url = "http://fra-sender.helius-rpc.com/fast"
    with pytest.raises(ConfigurationError, match="unencrypted"):
        SendTarget.helius_sender(url)
    assert SendTarget.helius_sender(url, allow_insecure=True).url.reveal() == url


def test_a_least_tip_must_make_sense() -> None:
    """A negative least tip is refused."""
    with pytest.raises(ConfigurationError, match="min_tip_lamports"):
        SendTarget.custom("https://x.example", min_tip_lamports=-1)
