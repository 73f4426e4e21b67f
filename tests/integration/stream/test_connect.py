"""The first connect: live, or one clear error and nothing left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    LaserSellError,
)
from lasersell.protocol.client import Configure
from lasersell.protocol.mirror import MirrorConfig, WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import DEFAULT_LIMITS, SimServer
from lasersell.stream import client as client_module
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import error_frame, event, hello_frame
from tests.integration.stream.streams import (
    KEY,
    OTHER_WALLET,
    STRATEGY,
    WALLET,
    client,
    connect,
    kinds,
    receive_until,
    wait_for,
)
from tests.patience import PATIENCE

_CONFIGURE = StreamConfigure(wallet_pubkeys=[WALLET], strategy=STRATEGY)


# Both orders


@pytest.mark.parametrize("order", ["first", "after_configure"])
def test_both_orders_of_the_handshake_become_live(order: Any) -> None:
    """Whether hello_ok comes at once or only after configure, the stream is live."""
    with SimServer(hello=order) as sim, connect(sim.url, hello_grace=0.1) as connection:
        assert connection.state == "live"
        messages = receive_until(connection, "hello_ok")
        assert kinds(messages) == ["connected", "hello_ok"]
        assert (messages[0].number, messages[0].attempts) == (1, 1)
        assert connection.session_id == messages[1].session_id
        assert connection.limits == DEFAULT_LIMITS
        assert connection.error is None


def test_a_reconnect_remembers_the_order() -> None:
    """A server that holds hello_ok back costs the grace once, not at every reconnect."""
    grace = 1.5
    with (
        SimServer(hello="after_configure") as sim,
        connect(sim.url, hello_grace=grace) as connection,
    ):
        sim.drop()
        wait_for(connection, "disconnected")
        wait_for(connection, "connected")
        waits = [
            told.at - upgraded.at
            for upgraded, told in zip(
                sim.upgrades.entries(), sim.received.entries(Configure), strict=True
            )
        ]
    assert waits[0] > 0.9 * grace
    assert waits[1] < 0.5 * grace


def test_all_that_was_asked_for_is_told(sim: SimServer) -> None:
    """Everything but the deadline, which is ours, is in configure."""
    configure = StreamConfigure(
        wallet_pubkeys=[WALLET],
        strategy=STRATEGY,
        send_mode="helius_sender",
        tip_lamports=1000,
        watch_wallets=[WatchWallet(pubkey=OTHER_WALLET)],
        mirror_config=MirrorConfig(cooldown_sec=30),
        deadline_timeout_sec=45.0,
    )
    with connect(sim.url, configure):
        assert sim.received.wait_for(Configure) == configure.message()


def test_what_comes_ahead_of_hello_is_delivered_behind_it() -> None:
    """A message that was faster than hello_ok is not lost; connected still comes first."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(event(7), hello_frame())
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        messages = receive_until(connection, "pong")
    assert kinds(messages) == ["connected", "hello_ok", "pong"]


def test_holdings_are_named_after_the_connect(sim: SimServer) -> None:
    """What the wallet holds already comes as balance and position."""
    holding = sim.buy(WALLET)
    with connect(sim.url) as connection:
        opened = wait_for(connection, "position_opened")
        assert opened.token_account == holding.token_account


# One clear error


@attrs.frozen
class _Failure:
    """A way to fail: against which server, with what error."""

    server: Callable[[], Any]
    error: type[LaserSellError]
    words: str
    configure: StreamConfigure = _CONFIGURE
    facts: dict[str, Any] = attrs.field(factory=dict)
    timeout: float = PATIENCE


def _rejecting(code: str) -> Callable[[], RawServer]:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(error_frame(code, "because"))
        peer.drain()

    return lambda: RawServer(script)


_DEADLINE_ONLY = StreamConfigure(
    wallet_pubkeys=[WALLET], strategy=StrategyConfig(), deadline_timeout_sec=45.0
)
_FAILURES = {
    "wrong key": _Failure(
        lambda: SimServer(api_keys=["another"]),
        AuthenticationError,
        "LASERSELL_API_KEY",
        facts={"status": 401},
    ),
    "invalid strategy": _Failure(
        lambda: SimServer(require_exit_condition=True),
        HandshakeError,
        "change the strategy",
        _DEADLINE_ONLY,
        {"code": "invalid_strategy", "status": None},
    ),
    "unregistered wallet": _Failure(
        lambda: SimServer(wallets=[OTHER_WALLET]),
        HandshakeError,
        "register each wallet",
        facts={"code": "wallet_not_registered"},
    ),
    "refused key in a frame": _Failure(
        _rejecting("invalid_api_key"),
        AuthenticationError,
        "LASERSELL_API_KEY",
        facts={"code": "invalid_api_key", "message": "because"},
    ),
    "mute server": _Failure(
        lambda: SimServer(hello="never"),
        ConnectTimeoutError,
        "no hello_ok in time",
        timeout=0.5,
    ),
    "hang-up": _Failure(
        lambda: RawServer(Peer.upgrade), ConnectError, "hung up during the handshake"
    ),
}


@pytest.mark.parametrize("name", _FAILURES)
def test_a_failed_connect_is_one_clear_error(name: str) -> None:
    """Typed, in time, saying what to do, without the key; nothing is left running."""
    failure = _FAILURES[name]
    with failure.server() as server:
        endpoint = server.url if isinstance(server, SimServer) else server.endpoint
        before = SYSTEM_CLOCK.monotonic()
        with pytest.raises(failure.error, match=failure.words) as caught:
            client(endpoint, hello_grace=0.1).connect(
                failure.configure, timeout=failure.timeout, wait_configured=PATIENCE
            )
        took = SYSTEM_CLOCK.monotonic() - before
    assert type(caught.value) is failure.error
    assert took < PATIENCE / 2
    assert KEY not in str(caught.value)
    for fact, value in failure.facts.items():
        assert getattr(caught.value, fact) == value


def test_a_server_that_is_down_is_one_clear_error() -> None:
    """No server at the port is a failed connect that asks whether it is up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectError, match="is the server up") as caught:
        client(f"ws://127.0.0.1:{port}/v1/ws").connect(_CONFIGURE, timeout=PATIENCE)
    assert type(caught.value) is ConnectError
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"configure": "configure"}, "must be a StreamConfigure, not str"),
        ({"timeout": None}, "timeout must be a number"),
        ({"timeout": "5"}, "timeout must be a number"),
        ({"timeout": -1}, "timeout must be a number"),
        ({"wait_configured": None}, "wait_configured must be a number"),
    ],
)
def test_a_wrong_argument_is_refused_before_connecting(
    arguments: dict[str, Any], problem: str
) -> None:
    """No connection is tried for what cannot work."""
    nowhere = client("ws://127.0.0.1:1/")
    with pytest.raises(ConfigurationError, match=problem):
        nowhere.connect(**{"configure": _CONFIGURE, **arguments})


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "many"])
def test_a_wrong_capacity_is_refused_before_connecting(capacity: Any) -> None:
    """The low lane holds a whole number of messages, one at least."""
    with pytest.raises(ConfigurationError, match="low_priority_capacity"):
        client("ws://127.0.0.1:1/").connect_lanes(
            _CONFIGURE, low_priority_capacity=capacity
        )


def test_connect_returns_even_if_its_own_thread_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for the thread a little longer than that may take, and then gives up."""
    monkeypatch.setattr(client_module, "SLACK", -0.95)
    with (
        SimServer(hello="never") as sim,
        pytest.raises(ConnectTimeoutError, match="nor stop at its deadline"),
    ):
        client(sim.url).connect(_CONFIGURE, timeout=1.0)


def test_a_client_shows_its_endpoint_and_no_more() -> None:
    """Its repr is fit for a log."""
    shown = repr(StreamClient(KEY, endpoint="wss://example.com/v1/ws"))
    assert shown == "StreamClient(endpoint='wss://example.com/v1/ws')"


# A rejection that comes after the handshake


def test_connect_waits_for_a_rejection(sim: SimServer) -> None:
    """A configuration that is taken needs no word of the server's to be taken."""
    with connect(sim.url, wait_configured=0.05) as connection:
        assert connection.state == "live"


def test_connect_stops_waiting_when_the_configuration_was_taken(sim: SimServer) -> None:
    """A frame about a wallet shows that it was; nothing is waited for any longer."""
    sim.buy(WALLET)
    before = SYSTEM_CLOCK.monotonic()
    with connect(sim.url, wait_configured=60.0) as connection:
        assert SYSTEM_CLOCK.monotonic() - before < 10.0
        wait_for(connection, "position_opened")


def test_a_late_rejection_ends_the_stream() -> None:
    """One that comes after connect() returned is the error of every later recv()."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(event(1))
        assert connected.wait(PATIENCE)
        peer.send(error_frame("wallet_not_registered", "which one"))
        peer.drain()

    connected = threading.Event()
    with RawServer(script) as server, connect(server.endpoint) as connection:
        connected.set()
        messages = receive_until(connection, "disconnected")
        assert kinds(messages) == [
            "connected",
            "hello_ok",
            "pong",
            "error",
            "disconnected",
        ]
        assert (messages[-1].code, messages[-1].delay) == (
            "wallet_not_registered",
            None,
        )
        for _ in range(2):
            with pytest.raises(HandshakeError, match="register each wallet"):
                connection.recv(timeout=PATIENCE)
        assert isinstance(connection.error, HandshakeError)
        assert connection.state == "failed"


@pytest.mark.parametrize("code", ["capacity_exceeded", "something_new"])
def test_an_error_that_rejects_nothing_is_a_message(code: str) -> None:
    """Of an error with another code nobody knows whether it is fatal: it is passed on."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(error_frame(code, "because"), event(1))
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        messages = receive_until(connection, "pong")
        assert kinds(messages) == ["connected", "hello_ok", "error", "pong"]
        assert messages[2].code == code
        assert connection.state == "live"


def test_an_error_after_a_position_rejects_nothing(sim: SimServer) -> None:
    """Once a wallet was reported, the same code is about a later command."""
    sim.buy(WALLET)
    with connect(sim.url) as connection:
        wait_for(connection, "position_opened")
        sim.send_raw('{"type":"error","code":"invalid_strategy","message":"m"}')
        sim.send_raw('{"type":"pong","server_time_ms":1}')
        assert wait_for(connection, "pong")
        assert connection.state == "live"
