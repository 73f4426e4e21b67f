"""The end: once, for all, and with everything that had arrived."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.client import UpdateStrategy
from lasersell.protocol.server import Pong
from lasersell.sim import SimServer
from lasersell.stream.options import StreamConfigure
from tests.complaints import complaints
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import event, event_number
from tests.integration.stream.streams import (
    STRATEGY,
    WALLET,
    client,
    connect,
    kinds,
    strategy,
    wait_for,
)
from tests.patience import PATIENCE

_CONFIGURE = StreamConfigure(wallet_pubkeys=[WALLET], strategy=STRATEGY)


def test_recv_after_the_close_is_none_for_ever(sim: SimServer) -> None:
    """First what had arrived, then disconnected, then None at every call (13.1, P29)."""
    connection = connect(sim.url)
    sim.send(Pong(server_time_ms=1))
    connection.sender.ping().wait(PATIENCE)
    connection.close()
    messages = list(connection)
    assert kinds(messages) == ["connected", "hello_ok", "pong", "pong", "disconnected"]
    for timeout in (None, 0, 1.0):
        assert connection.recv(timeout=timeout) is None


def test_what_had_arrived_before_the_close_is_delivered() -> None:
    """A close in the middle of a stream of messages loses none that had reached us."""

    def script(peer: Peer) -> None:
        peer.greet()
        for number in range(2000):
            peer.send(event(number))
        peer.drain()

    with complaints() as said, RawServer(script) as server:
        connection = connect(server.endpoint, high_capacity=50)
        assert "high lane is full" in said.get(timeout=PATIENCE)
        connection.close()
        connected, hello, *events, last = list(connection)
    assert kinds([connected, hello, last]) == ["connected", "hello_ok", "disconnected"]
    numbers = [event_number(message) for message in events]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 48


def test_close_flushes_what_was_accepted(sim: SimServer) -> None:
    """A command that was given is sent, even if the next call is close() (13.1, P33)."""
    connection = connect(sim.url)
    wishes = [strategy(float(number)) for number in range(1, 51)]
    for wish in wishes:
        connection.sender.update_strategy(wish)
    connection.close()
    told = [sim.received.wait_for(UpdateStrategy).strategy for _ in wishes]
    assert told == wishes


def test_close_may_be_called_again_and_by_anybody(sim: SimServer) -> None:
    """Twenty threads at once and once more: all return, and one end is seen."""
    connection = connect(sim.url)
    threads = [threading.Thread(target=connection.close) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    connection.close()
    assert kinds(list(connection)).count("disconnected") == 1
    assert connection.state == "closed"
    sim.wait_for_connections(0)


def test_close_wakes_a_waiting_consumer(sim: SimServer) -> None:
    """A recv() without a time-out in another thread returns."""
    connection = connect(sim.url)
    wait_for(connection, "hello_ok")
    received: list[Any] = []
    thread = threading.Thread(target=lambda: received.extend(connection))
    thread.start()
    connection.close()
    thread.join(PATIENCE)
    assert kinds(received) == ["disconnected"]


def test_a_position_is_not_closed_by_close(sim: SimServer) -> None:
    """Who passes a position means close_position, and nothing is closed."""
    with connect(sim.url) as connection:
        with pytest.raises(TypeError, match="close_position"):
            connection.close(7)
        assert connection.state == "live"


def test_a_with_block_closes(sim: SimServer) -> None:
    """However it is left."""
    with connect(sim.url) as connection:
        pass
    lanes = client(sim.url).connect_lanes(_CONFIGURE, wait_configured=0.0)
    with lanes:
        pass
    assert (connection.state, lanes.state) == ("closed", "closed")


def test_close_while_reconnecting_does_not_wait_for_the_next_try(
    sim: SimServer,
) -> None:
    """The delay of the backoff is called off."""
    with connect(sim.url) as connection:
        sim.refuse_upgrades(503, headers={"Retry-After": "60"})
        sim.drop()
        wait_for(connection, "disconnected")
        sim.wait_until(lambda: len(sim.upgrades.entries()) >= 2)
        before = SYSTEM_CLOCK.monotonic()
        connection.close()
        assert SYSTEM_CLOCK.monotonic() - before < PATIENCE
        assert connection.recv() is None


def test_stats_outlive_the_stream(sim: SimServer) -> None:
    """A summary can be taken after the end."""
    connection = connect(sim.url)
    connection.close()
    stats = connection.stats()
    # Its hello_ok, and its answer to our close, if that came in time.
    assert stats.frames_in in (1, 2)
    assert stats.state == "closed"
    assert stats.high.waiting == 3
