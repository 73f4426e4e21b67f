from __future__ import annotations

import contextlib
import socket
from typing import Any

import attrs
import pytest
import websocket

from lasersell.protocol.client import Configure
from lasersell.protocol.server import ServerError
from lasersell.sim import DEFAULT_LIMITS, ManualClock, SimServer, Upgrade
from tests.integration.sim.foreign import OTHER, WALLET, connected, refused_status


def test_hello_comes_first() -> None:
    """By default hello_ok comes before the client said anything."""
    with SimServer() as sim, connected(sim) as client:
        hello = client.recv()
        assert hello["type"] == "hello_ok"
        assert hello["limits"]["max_positions_per_session"] == 100


def test_hello_may_wait_for_configure() -> None:
    """In the other order nothing comes until configure; then hello_ok comes first."""
    with SimServer(hello="after_configure") as sim, connected(sim) as client:
        sim.buy(WALLET)
        assert client.is_pinged()
        client.configure()
        types = [message["type"] for message in client.recv_many(3)]
        assert types == ["hello_ok", "balance_update", "position_opened"]


def test_a_server_may_be_mute() -> None:
    """Without hello a server takes configure and says nothing, but is alive."""
    with SimServer(hello="never") as sim, connected(sim) as client:
        client.configure()
        sim.received.wait_for(Configure)
        assert client.is_pinged()


@pytest.mark.parametrize("hello", ["first", "after_configure"])
def test_a_late_hello_still_comes_before_the_answer(hello: str) -> None:
    """What a client says before a late hello_ok is answered after it."""
    with SimServer(hello_delay=0.05) as sim:
        sim.change_options(hello=hello)
        sim.buy(WALLET)
        with connected(sim) as client:
            client.configure()
            types = [message["type"] for message in client.recv_many(3)]
    assert types == ["hello_ok", "balance_update", "position_opened"]


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (1008, 1008), (1006, None)])
@pytest.mark.parametrize("hello", ["first", "after_configure"])
def test_a_server_may_close_after_hello(
    hello: str, code: int, seen: int | None
) -> None:
    """Right after hello_ok comes the close code asked for, or just the end."""
    with SimServer(close_after_hello=code) as sim:
        sim.change_options(hello=hello)
        with connected(sim) as client:
            client.configure()
            assert client.recv()["type"] == "hello_ok"
            assert client.close_code() == seen
        sim.wait_for_connections(0)


@pytest.mark.parametrize("key", [None, ""])
def test_a_client_without_a_key_is_refused(key: str | None) -> None:
    """An upgrade without x-api-key is a 401, whatever keys are known."""
    with SimServer() as sim:
        assert refused_status(sim, key) == 401
        assert sim.upgrades.wait_for(Upgrade) == Upgrade(401)


def test_a_key_that_is_not_known_is_refused() -> None:
    """With keys named only those are let in, and a key may be taken away."""
    with SimServer(api_keys=["a-key"]) as sim:
        assert refused_status(sim, "another") == 401
        assert refused_status(sim, "a-key") == 101
        sim.change_options(api_keys={"another"})
        assert refused_status(sim, "a-key") == 401


def test_a_session_too_many_is_refused() -> None:
    """One connection more than the key may have is a 429, until one has gone."""
    limits = attrs.evolve(DEFAULT_LIMITS, max_sessions_per_api_key=1)
    with SimServer(limits=limits) as sim:
        with connected(sim):
            assert refused_status(sim) == 429
            assert refused_status(sim, "another") == 101
        sim.wait_for_connections(0)
        assert refused_status(sim) == 101


_NO_SECOND = attrs.evolve(DEFAULT_LIMITS, max_sessions_per_api_key=1)


def test_sessions_that_come_at_once_are_counted_too() -> None:
    """Of many upgrades that are under way together, one key is let in as often as it may."""
    upgrade = (
        "GET /v1/ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-api-key: k\r\n\r\n"
    )
    with SimServer(tier="personal") as sim, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", sim.port)
        clients = [
            stack.enter_context(socket.create_connection(address, timeout=10))
            for _ in range(20)
        ]
        for client in clients:
            client.sendall(upgrade.encode())
        statuses = [client.recv(12)[-3:] for client in clients]
    assert sorted(statuses) == [b"101"] + [b"429"] * 19


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_client_may_be_turned_away_with_a_status(status: int) -> None:
    """An unknown key, or a session too many, is the HTTP status asked for."""
    with SimServer(limits=_NO_SECOND, api_keys=["a-key"]) as sim:
        sim.change_options(unknown_key=str(status), too_many_sessions=str(status))
        assert refused_status(sim, "another") == status
        with connected(sim):
            assert refused_status(sim) == status


@pytest.mark.parametrize("denial", ["error", "close"])
@pytest.mark.parametrize(
    ("key", "code"), [("another", "unauthorized"), ("a-key", "capacity_exceeded")]
)
def test_a_client_may_be_let_in_and_told(denial: str, key: str, code: str) -> None:
    """An error frame in place of hello_ok, or not, and then close code 1008."""
    with SimServer(limits=_NO_SECOND, api_keys=["a-key"]) as sim, connected(sim):
        sim.change_options(unknown_key=denial, too_many_sessions=denial)
        with connected(sim, key) as client:
            if denial == "error":
                error = client.recv()
                assert (error["type"], error["code"]) == ("error", code)
            client.configure()
            assert client.close_code() == 1008
        assert sim.connection_count == 1


def test_a_newer_session_may_replace_the_older() -> None:
    """The older one of the key is closed with 1008; those of other keys stay."""
    with (
        SimServer(limits=_NO_SECOND, too_many_sessions="drop_older") as sim,
        connected(sim, "other") as other,
        connected(sim) as older,
    ):
        older.recv()
        with connected(sim) as newer:
            assert newer.recv()["type"] == "hello_ok"
            assert older.close_code() == 1008
            sim.wait_for_connections(2)
            newer.send("ping", client_time_ms=1)
            assert newer.recv()["type"] == "pong"
        other.send("ping", client_time_ms=1)
        assert other.recv_type("pong")


@pytest.mark.parametrize("hello", ["first", "after_configure"])
@pytest.mark.parametrize(("code", "seen"), [(None, None), (4003, 4003)])
def test_an_error_may_come_in_place_of_hello(
    hello: str, code: int | None, seen: int | None
) -> None:
    """In both orders the error comes first, once, and then the close, if any."""
    error = ServerError(code="maintenance", message="later")
    with SimServer(hello_error=error, close_after_hello=code) as sim:
        sim.buy(WALLET)
        sim.change_options(hello=hello)
        with connected(sim) as client:
            client.configure()
            assert client.recv() == {
                "type": "error",
                "code": "maintenance",
                "message": "later",
            }
            if code is None:
                client.send("ping", client_time_ms=1)
                assert client.recv()["type"] == "pong"
            else:
                assert client.close_code() == seen


def test_a_silent_client_of_the_free_tier_is_closed() -> None:
    """After 45 minutes without a message it is closed with 1000; a message is life."""
    with (
        SimServer(tier="personal", clock=ManualClock(), pnl_flush_ms=60_000) as sim,
        connected(sim) as client,
    ):
        client.recv()
        sim.step(44)
        client.send("ping", client_time_ms=1)
        assert client.recv()["type"] == "pong"
        sim.step(44)
        assert client.is_pinged()
        sim.step()
        assert client.close_code() == 1000


def test_a_tier_announces_its_limits_and_keeps_them() -> None:
    """The free tier tracks two positions, and has no snapshots; a paid one has."""
    with SimServer(tier="personal", clock=ManualClock()) as sim, connected(sim) as free:
        for _ in range(3):
            sim.buy(WALLET)
        free.configure()
        assert free.recv()["limits"]["max_positions_per_session"] == 2
        assert free.recv_type("error")["code"] == "capacity_exceeded"
        sim.step()
        assert [m["type"] for m in free.recv_many(2)] == ["pnl_update"] * 2
        assert refused_status(sim) == 429
    with (
        SimServer(tier="professional", clock=ManualClock()) as sim,
        connected(sim) as paid,
    ):
        sim.buy(WALLET)
        paid.configure()
        paid.recv_type("position_opened")
        sim.step()
        types = [message["type"] for message in paid.recv_many(2)]
        assert types == ["pnl_update", "liquidity_snapshot"]


def test_upgrades_can_be_refused_for_a_while() -> None:
    """A refusal has the status and headers asked for, and ends as asked for."""
    with SimServer() as sim:
        sim.refuse_upgrades(503, headers={"Retry-After": "7"}, times=1)
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(sim.url, header={"x-api-key": "k"}, timeout=5)
        assert caught.value.status_code == 503
        headers = caught.value.resp_headers
        assert headers is not None
        assert headers["retry-after"] == "7"
        assert refused_status(sim) == 101
        sim.refuse_upgrades(502)
        assert [refused_status(sim) for _ in range(3)] == [502, 502, 502]
        sim.accept_upgrades()
        assert refused_status(sim) == 101


def test_another_path_is_not_found() -> None:
    """The stream is served at one path only."""
    with SimServer() as sim, pytest.raises(websocket.WebSocketException, match="404"):
        websocket.create_connection(f"{sim.url}/else", timeout=5)


def test_a_ping_of_the_protocol_is_answered() -> None:
    """The WebSocket's own ping brings its pong."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        assert client.is_pinged()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "JSON"),
        ('{"type":"no_such_message"}', "no_such_message"),
        ('{"type":"ping","client_time_ms":"7"}', "client_time_ms"),
    ],
)
def test_a_malformed_message_is_an_error_and_no_end(text: str, problem: str) -> None:
    """What cannot be understood is answered with invalid_message, and nothing more."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        client.socket.send(text)
        error = client.recv()
        assert (error["type"], error["code"]) == ("error", "invalid_message")
        assert problem in error["message"]
        client.send("ping", client_time_ms=1)
        assert client.recv()["type"] == "pong"


@pytest.mark.parametrize(
    "wallets",
    [
        {"wallet_pubkeys": [WALLET]},
        {"wallet_pubkeys": WALLET},
        {"wallet_pubkey": WALLET},
    ],
)
def test_old_spellings_are_understood(wallets: dict[str, Any]) -> None:
    """One wallet needs no list, nor its later name, and sell_now asks for an exit."""
    with SimServer(clock=ManualClock()) as sim, connected(sim) as client:
        holding = sim.buy(WALLET)
        strategy = {"target_profit_pct": 5, "stop_loss_pct": 0}
        client.send("configure", **wallets, strategy=strategy)
        client.recv_type("position_opened")
        client.send("sell_now", token_account=holding.token_account)
        assert client.recv()["reason"] == "sell_now"


def test_a_binary_frame_is_an_error() -> None:
    """The wire has text frames only."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        client.socket.send_binary(b"{}")
        assert client.recv()["code"] == "invalid_message"


@pytest.mark.parametrize("hello", ["first", "after_configure"])
@pytest.mark.parametrize(
    ("wallet", "stop_loss_pct", "code"),
    [(OTHER, 1, "wallet_not_registered"), (WALLET, -1, "invalid_strategy")],
)
def test_a_configure_that_cannot_be_is_an_error(
    hello: str, wallet: str, stop_loss_pct: float, code: str
) -> None:
    """In both orders a wrong wallet or strategy brings one error with its code."""
    with SimServer(wallets=[WALLET]) as sim:
        sim.change_options(hello=hello)
        with connected(sim) as client:
            client.configure(wallet, stop_loss_pct=stop_loss_pct)
            assert client.recv_type("error")["code"] == code
