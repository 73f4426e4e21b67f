"""What a network does to a live connection."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lasersell._clock import Deadline
from lasersell.errors import ConnectError, ConnectTimeoutError
from lasersell.sim import SimServer
from lasersell.stream.client import StreamConnection
from tests.faults.chaos_proxy import ChaosProxy
from tests.faults.client import CONFIGURE, connect, wait_for
from tests.faults.raw_server import Peer, RawServer, live
from tests.faults.wire import event, event_number, frame, hello_frame
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

WALLET = CONFIGURE.wallet_pubkeys[0]


@pytest.fixture
def sim() -> Iterator[SimServer]:
    """Run a whole server with one position that never moves."""
    with SimServer(volatility_pct=0, pnl_flush_ms=20) as server:
        server.buy(WALLET)
        yield server


@pytest.fixture
def proxy(sim: SimServer) -> Iterator[ChaosProxy]:
    """Run the proxy in front of it."""
    with ChaosProxy(sim.port) as proxy:
        yield proxy


def _through(proxy: ChaosProxy, **options: Any) -> StreamConnection:
    return connect(f"ws://127.0.0.1:{proxy.port}/v1/ws", **options)


@pytest.mark.parametrize("fault", ["drop", "reset"])
def test_a_broken_connection_is_reported_and_made_anew(
    fault: str, proxy: ChaosProxy
) -> None:
    """After a cut the stream says so, comes back, and tells what was restored."""
    with _through(proxy) as connection:
        wait_for(connection, "position_opened")
        getattr(proxy, fault)()
        lost = wait_for(connection, "disconnected")
        assert lost.delay == pytest.approx(0.1)
        assert wait_for(connection, "connected").number == 2
        assert "strategy" in wait_for(connection, "gap").restored
        wait_for(connection, "position_opened")


@pytest.mark.parametrize("ending", ["eof", "reset"])
def test_what_had_arrived_before_the_end_is_delivered_once(ending: str) -> None:
    """Every event whose last byte reached our socket comes, in order, and only once."""
    arrived = threading.Event()
    numbers = list(range(2000))

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(*[event(number) for number in numbers])
        arrived.wait(PATIENCE)
        if ending == "reset":
            peer.reset()

    seen = []
    with (
        RawServer(script, live) as server,
        connect(server.endpoint) as connection,
    ):
        message = connection.recv(timeout=PATIENCE)
        while message is not None and message.type != "disconnected":
            seen.append(event_number(message))
            if connection.stats().frames_in > len(numbers):
                arrived.set()
            message = connection.recv(timeout=PATIENCE)
    assert [number for number in seen if number is not None] == numbers


def test_events_are_drained_from_the_socket_after_a_write_failed() -> None:
    """A connection that a writer found broken still delivers what had arrived."""
    held, ended = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(*[event(number) for number in range(500)])
        held.wait(PATIENCE)
        peer.reset()
        ended.set()

    with (
        RawServer(script, live) as server,
        connect(server.endpoint, high_capacity=8) as connection,
    ):
        seen = [event_number(wait_for(connection, "pong"))]
        held.set()
        assert ended.wait(PATIENCE)
        for _ in range(3):
            connection.sender.update_strategy(CONFIGURE.strategy)
        message = connection.recv(timeout=PATIENCE)
        while message is not None and message.type != "disconnected":
            seen.append(event_number(message))
            message = connection.recv(timeout=PATIENCE)
    assert seen == list(range(len(seen)))
    assert len(seen) > 8


def test_a_frame_that_stalls_in_its_middle_arrives_when_it_flows_again(
    sim: SimServer, proxy: ChaosProxy
) -> None:
    """Half a frame is kept until the rest comes; nothing is lost or repeated."""
    with _through(proxy) as connection:
        wait_for(connection, "position_opened")
        proxy.to_client.stall(after=10)
        holding = sim.buy(WALLET)
        with pytest.raises(TimeoutError):
            wait_for(connection, "position_opened", timeout=0.1)
        proxy.to_client.flow()
        opened = wait_for(connection, "position_opened")
        assert opened.position_id == holding.position_id
        assert connection.stats().reconnects == 0


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_one_byte_at_a_time_is_enough(secure: bool, contexts: Contexts) -> None:
    """Handshake, frames and close survive a network of one-byte packets."""
    server_side, client_side = contexts if secure else (None, None)

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(event(1), event(2))
        peer.drain()

    with (
        RawServer(script, context=server_side) as server,
        ChaosProxy(server.port) as proxy,
    ):
        proxy.to_client.most = proxy.to_server.most = 1
        scheme, host = ("wss", "localhost") if secure else ("ws", "127.0.0.1")
        with connect(f"{scheme}://{host}:{proxy.port}/", client_side) as connection:
            numbers = [event_number(wait_for(connection, "pong")) for _ in range(2)]
    assert numbers == [1, 2]


def test_one_deadline_covers_every_stage(contexts: Contexts) -> None:
    """TLS, upgrade and hello_ok that each make progress do not add up beyond it."""
    late = Deadline(4.0)
    with (
        RawServer(live, context=contexts[0]) as server,
        ChaosProxy(server.port) as proxy,
    ):
        proxy.to_client.most, proxy.to_client.pause = 40, 0.02
        with pytest.raises(ConnectTimeoutError):
            connect(f"wss://localhost:{proxy.port}/", contexts[1], timeout=0.5)
    assert not late.has_passed()


def test_a_slow_network_costs_time_only(sim: SimServer, proxy: ChaosProxy) -> None:
    """Throttled to small packets, every event still arrives in order."""
    proxy.to_client.most, proxy.to_client.pause = 64, 0.001
    with _through(proxy) as connection:
        ids = [wait_for(connection, "position_opened").position_id]
        bought = [sim.buy(WALLET).position_id for _ in range(5)]
        ids += [wait_for(connection, "position_opened").position_id for _ in range(5)]
        assert ids[1:] == bought
        assert connection.stats().reconnects == 0


def test_spoilt_bytes_cost_the_connection_and_nothing_else(
    proxy: ChaosProxy,
) -> None:
    """Garbage instead of frames ends the connection, never the stream."""
    with _through(proxy) as connection:
        wait_for(connection, "position_opened")
        proxy.to_client.spoils = True
        wait_for(connection, "disconnected")
        proxy.to_client.spoils = False
        assert wait_for(connection, "connected").number == 2


def test_spoilt_bytes_under_tls_are_noticed(contexts: Contexts) -> None:
    """A TLS record that was tampered with is never delivered."""
    spoil = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        spoil.wait(PATIENCE)
        peer.send(event(1))
        peer.drain()

    def good(peer: Peer) -> None:
        peer.greet()
        peer.send(event(2))
        peer.drain()

    with (
        RawServer(script, good, context=contexts[0]) as server,
        ChaosProxy(server.port) as proxy,
        connect(f"wss://localhost:{proxy.port}/", contexts[1]) as connection,
    ):
        proxy.to_client.spoils = True
        spoil.set()
        assert "SSL" in wait_for(connection, "disconnected").cause
        proxy.to_client.spoils = False
        assert event_number(wait_for(connection, "pong")) == 2


def test_accept_and_close_is_not_hammered(proxy: ChaosProxy) -> None:
    """A server that hangs up at once is tried with growing delays, until it stays."""
    with _through(proxy) as connection:
        wait_for(connection, "position_opened")
        proxy.hangs_up = True
        before = proxy.accepted
        proxy.drop()
        wait_for(connection, "disconnected")
        with pytest.raises(TimeoutError):
            wait_for(connection, "connected", timeout=1.0)
        # Delays of 0.1, 0.2, 0.4 and 0.8 seconds: at most four tries in a second.
        assert 2 <= proxy.accepted - before <= 5
        proxy.hangs_up = False
        assert wait_for(connection, "connected").attempts >= 3


def test_accept_and_close_fails_the_first_connect_at_once(proxy: ChaosProxy) -> None:
    """Before a stream was ever live there is no second try."""
    proxy.hangs_up = True
    with pytest.raises(ConnectError):
        _through(proxy)
    assert proxy.accepted == 1


def test_a_server_that_greets_and_drops_is_not_hammered() -> None:
    """The delays go on growing while no connection stays live for two seconds."""

    def greet_and_drop(peer: Peer) -> None:
        peer.greet()

    with (
        RawServer(greet_and_drop) as server,
        connect(server.endpoint) as connection,
    ):
        delays = [wait_for(connection, "disconnected").delay for _ in range(4)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8])


def test_bytes_that_vanish_on_their_way_to_us_make_the_stream_stale() -> None:
    """A silent connection is reported stale, and fresh with the next byte."""
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        go.wait(PATIENCE)
        peer.send(event(1))
        peer.drain()

    with (
        RawServer(script) as server,
        connect(server.endpoint, stale_after=0.1) as connection,
    ):
        assert wait_for(connection, "stale").silent_sec >= 0.1
        states = [connection.state]
        go.set()
        wait_for(connection, "fresh")
        states.append(connection.state)
    assert states == ["stale", "live"]


def test_bytes_that_vanish_on_their_way_to_the_server_are_no_death(
    sim: SimServer, proxy: ChaosProxy
) -> None:
    """While the server's bytes come the connection lives, though ours are lost."""
    with _through(proxy, ping_interval=0.1) as connection:
        wait_for(connection, "position_opened")
        proxy.to_server.is_lost = True
        holding = sim.buy(WALLET)
        opened = wait_for(connection, "position_opened")
        assert opened.position_id == holding.position_id
        assert connection.state == "live"


def test_a_flow_that_stops_is_a_dead_peer_within_seconds(proxy: ChaosProxy) -> None:
    """With a position open and its frames flowing, 5 seconds of silence reconnect."""
    with _through(proxy) as connection:
        wait_for(connection, "pnl_update")
        silence = Deadline(4.0)
        too_late = Deadline(15.0)
        proxy.to_client.is_lost = True
        lost = wait_for(connection, "disconnected", timeout=PATIENCE)
        assert silence.has_passed()
        assert not too_late.has_passed()
        assert "silent" in lost.cause
        proxy.to_client.is_lost = False
        wait_for(connection, "connected", timeout=PATIENCE)


def test_an_idle_peer_that_is_dead_is_replaced() -> None:
    """Without a flow, a peer that answers no ping is replaced 10 s after stale."""

    def mute(peer: Peer) -> None:
        peer.greet()
        peer.hold()

    too_early, too_late = Deadline(10.0), Deadline(20.0)
    with (
        RawServer(mute, live) as server,
        connect(server.endpoint, stale_after=0.2) as connection,
    ):
        wait_for(connection, "disconnected", timeout=PATIENCE)
        assert too_early.has_passed()
        assert not too_late.has_passed()
        assert wait_for(connection, "connected").number == 2


def test_a_half_open_connection_is_closed_at_once(proxy: ChaosProxy) -> None:
    """close() does not wait for a peer that is cut off in both directions."""
    connection = _through(proxy)
    wait_for(connection, "position_opened")
    proxy.to_client.is_lost = proxy.to_server.is_lost = True
    late = Deadline(PATIENCE / 2)
    connection.close(timeout=PATIENCE)
    assert not late.has_passed()


def test_a_frame_cut_off_by_the_end_is_not_delivered() -> None:
    """Half a message before the end of a connection is dropped, not delivered."""

    def script(peer: Peer) -> None:
        peer.greet()
        whole, half = event(1), event(2)
        peer.send(whole, half[: len(half) // 2])

    with (
        RawServer(script, live) as server,
        connect(server.endpoint) as connection,
    ):
        assert event_number(wait_for(connection, "pong")) == 1
        assert wait_for(connection, "disconnected").close_code is None


def test_a_late_hello_of_an_unfinished_frame_still_counts() -> None:
    """A hello_ok whose frame arrives in two halves greets all the same."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        hello = hello_frame(3)
        peer.send(hello[:7])
        peer.read()  # configure, sent when the grace is over
        peer.send(hello[7:], frame(0x9, b"!"))
        peer.drain()

    with RawServer(script) as server:
        connection = connect(server.endpoint, hello_grace=0.05)
        with connection:
            assert connection.session_id == 3
