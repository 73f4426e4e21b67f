"""What reaches the consumer, however slow it is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.errors import ConcurrencyError, HandshakeError, NotConnectedError
from lasersell.protocol.server import PnlUpdate, Pong, UnknownMessage
from lasersell.sim import SimServer
from lasersell.stream.client import StreamLanes
from lasersell.stream.lifecycle import RAW_LIMIT, Undecodable
from lasersell.stream.options import StreamConfigure
from lasersell.stream.reader import Message, RawApplier
from lasersell.stream.sender import StreamSender
from tests.complaints import complaints
from tests.faults.raw_server import Peer, RawServer, drain
from tests.faults.wire import event, event_number
from tests.integration.stream.streams import (
    STRATEGY,
    WALLET,
    client,
    connect,
    connect_applied,
    kinds,
    receive_until,
    wait_for,
)
from tests.patience import PATIENCE

_CONFIGURE = StreamConfigure(wallet_pubkeys=[WALLET], strategy=STRATEGY)
_FLOOD = 20_000


def _pnl(number: int) -> PnlUpdate:
    return PnlUpdate(
        position_id=1, profit_units=number, proceeds_units=1, server_time_ms=1
    )


def _catch_up(sender: StreamSender) -> None:
    """Wait until everything that the server has sent by now is in the lanes."""
    # A pong is seen before its batch is put; a second one comes after that.
    for _ in range(2):
        sender.ping().wait(PATIENCE)


# A flood and a slow consumer


def test_an_exit_overtakes_a_flood(sim: SimServer) -> None:
    """The next recv() after an exit arrived returns it, one low message ahead at most."""
    sim.buy(WALLET)
    with connect(sim.url) as connection:
        sender = connection.sender
        opened = wait_for(connection, "position_opened")
        flood = sim.flood([_pnl(1)], rate=20_000)
        for _ in range(3):
            wait_for(connection, "pnl_update")
            sender.request_exit_signal(position_id=opened.position_id)
            _catch_up(sender)
            assert connection.stats().low.waiting > 0
            ahead = receive_until(connection, "exit_signal_with_tx")
            assert len(ahead) <= 2
        flood.stop()


def test_a_flood_is_dropped_from_its_old_end_and_counted(sim: SimServer) -> None:
    """Of a flood that nobody receives the newest stay; every other one is counted."""
    with _lanes(sim, low_priority_capacity=1000) as lanes:
        sender, _, low = lanes.split()
        sim.flood([_pnl(number) for number in range(_FLOOD)], count=_FLOOD).wait()
        _catch_up(sender)
        stats = lanes.stats().low
        assert (stats.waiting, stats.high_water) == (1000, 1000)
        assert (stats.delivered, stats.dropped) == (0, _FLOOD - 1000)
        taken = [_of(PnlUpdate, low.recv(timeout=PATIENCE)) for _ in range(1000)]
        numbers = [message.profit_units for message in taken]
        assert numbers == list(range(_FLOOD - 1000, _FLOOD))
        stats = lanes.stats().low
        assert (stats.delivered, stats.waiting) == (1000, 0)
        assert stats.dropped == _FLOOD - 1000


def test_no_high_message_is_lost_in_a_flood(sim: SimServer) -> None:
    """Whatever is dropped beside them, they all come, in order."""
    with connect(sim.url) as connection:
        receive_until(connection, "hello_ok")
        flood = sim.flood([_pnl(1)], rate=20_000)
        for number in range(300):
            sim.send(Pong(server_time_ms=number))
        numbers = [wait_for(connection, "pong").server_time_ms for _ in range(300)]
        flood.stop()
    assert numbers == list(range(300))


def test_a_full_high_lane_stops_the_reading_and_loses_nothing() -> None:
    """At its bound TCP pushes back; once the consumer goes on, everything comes."""
    count = 5000

    def script(peer: Peer) -> None:
        peer.greet()
        for number in range(count):
            peer.send(event(number))
        peer.drain()

    with (
        complaints() as said,
        RawServer(script) as server,
        connect(server.endpoint, high_capacity=64) as connection,
    ):
        assert "high lane is full" in said.get(timeout=PATIENCE)
        held = connection.stats()
        received = [connection.recv(timeout=PATIENCE) for _ in range(count + 2)]
        after = connection.stats()
        assert said.empty(), "one line is enough"
    assert (held.is_held_back, held.high.waiting) == (True, 64)
    assert [event_number(message) for message in received[2:]] == list(range(count))
    assert (after.is_held_back, after.high.dropped) == (False, 0)
    assert after.high.high_water == 64


def test_messages_of_our_own_over_the_bound_double_nothing() -> None:
    """A reconnect fills the lane over its bound; what the server sends then comes once."""

    def first(peer: Peer) -> None:
        peer.greet()
        peer.send(event(1))

    def second(peer: Peer) -> None:
        peer.greet()
        peer.send(*(event(number) for number in range(2, 20)))
        peer.drain()

    with (
        complaints() as said,
        RawServer(first, second) as server,
        connect(server.endpoint, high_capacity=3) as connection,
    ):
        said.get(timeout=PATIENCE)
        assert connection.stats().high.waiting > 3
        numbers = [wait_for(connection, "pong").server_time_ms for _ in range(19)]
        with pytest.raises(TimeoutError):
            connection.recv(timeout=0)
    assert numbers == list(range(1, 20))


class _Mistaken(RawApplier):
    """An applier with a mistake in it."""

    def apply(
        self, message: Message, highs: list[Message], lows: list[Message]
    ) -> None:
        if isinstance(message, Pong) and message.server_time_ms == 2:
            raise ValueError("a mistake of ours")
        super().apply(message, highs, lows)


def test_a_mistake_of_ours_loses_nothing_that_came_before_it() -> None:
    """What was applied is delivered, then the connection is given up."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(event(1) + event(2))
        peer.drain()

    with complaints() as said, RawServer(script, drain) as server:
        connection = connect_applied(server.endpoint, _Mistaken())
        with connection:
            received = receive_until(connection, "disconnected")
        assert "the reader failed" in said.get(timeout=PATIENCE)
    assert kinds(received) == ["connected", "hello_ok", "pong", "disconnected"]
    assert "a mistake of ours" in received[-1].cause


# What cannot be read


def test_what_cannot_be_read_is_delivered_as_it_came(sim: SimServer) -> None:
    """Bad JSON, bad UTF-8, a binary frame: the bytes and the reason; the connection stays."""
    with connect(sim.url) as connection:
        receive_until(connection, "hello_ok")
        sim.send_raw("no JSON" + "x" * RAW_LIMIT)
        sim.send_raw(b'{"type":"pong","server_time_ms":1,"x":"\xff"}')
        sim.send_raw('{"type":"brand_new","answer":42}')
        broken, bad_utf8, unknown = (
            connection.recv(timeout=PATIENCE) for _ in range(3)
        )
        sim.send_raw(b"\x01\x02", binary=True)
        binary = connection.recv(timeout=PATIENCE)
        assert connection.state == "live"
    assert len(_of(Undecodable, broken).raw) == RAW_LIMIT
    assert "UTF-8" in _of(Undecodable, bad_utf8).problem
    assert _of(UnknownMessage, unknown).raw["answer"] == 42
    assert _of(Undecodable, binary).raw == b"\x01\x02"


def _of(kind: type[Any], message: object) -> Any:
    assert isinstance(message, kind)
    return message


# Lanes apart


def _lanes(sim: SimServer, **options: Any) -> StreamLanes:
    return client(sim.url).connect_lanes(_CONFIGURE, wait_configured=0.0, **options)


def test_split_lanes_are_received_apart(sim: SimServer) -> None:
    """Each side has its own messages, wakes by itself and ends by itself."""
    sim.buy(WALLET)
    with _lanes(sim, low_priority_capacity=16) as lanes:
        sender, high, low = lanes.split()
        received: dict[str, list[Any]] = {"high": [], "low": []}
        seen = threading.Event()

        def receive(side: str, messages: Any) -> None:
            for message in messages:
                received[side].append(message)
                if message.type == "exit_signal_with_tx":
                    seen.set()

        threads = [
            threading.Thread(target=receive, args=("high", high)),
            threading.Thread(target=receive, args=("low", low)),
        ]
        for thread in threads:
            thread.start()
        sim.wait_until(lambda: any(s.positions for s in sim.sessions))
        [position] = sim.sessions[0].positions.values()
        sim.flood([_pnl(1)], count=100).wait()
        sender.request_exit_signal(token_account=position.holding.token_account)
        assert seen.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert set(kinds(received["low"])) == {"pnl_update"}
    assert kinds(received["high"])[:4] == [
        "connected",
        "hello_ok",
        "balance_update",
        "position_opened",
    ]
    assert kinds(received["high"])[-1] == "disconnected"
    assert high.recv() is None
    assert low.recv() is None


def test_one_lane_has_one_receiver(sim: SimServer) -> None:
    """A second thread on the same lane is refused; the other lane is not in the way."""
    with _lanes(sim) as lanes:
        _, high, low = lanes.split()
        inside = threading.Event()
        results: list[object] = []

        def receive() -> None:
            while True:
                # The other thread may be in one of its looks.
                with contextlib.suppress(ConcurrencyError):
                    for message in high:
                        if message.type == "hello_ok":
                            inside.set()
                        results.append(message)
                    return

        thread = threading.Thread(target=receive)
        thread.start()
        assert inside.wait(PATIENCE)
        refused = _until_refused(lambda: high.recv(timeout=0))
        assert "another thread is receiving" in str(refused)
        with pytest.raises(TimeoutError):
            low.recv(timeout=0)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def _until_refused(call: Callable[[], object]) -> ConcurrencyError:
    # The other thread may be between two calls for a moment.
    deadline, pause = Deadline(PATIENCE), threading.Event()
    while not deadline.has_passed():
        try:
            call()
        except ConcurrencyError as error:
            return error
        except TimeoutError:
            pause.wait(0.01)
    raise AssertionError("two receivers were let in")


# Pings


def test_a_ping_measures_the_round_trip(sim: SimServer) -> None:
    """From the write to the pong, in seconds; it shows in the counters, too."""
    with connect(sim.url) as connection:
        before = SYSTEM_CLOCK.monotonic()
        pings = [connection.sender.ping() for _ in range(3)]
        round_trips = [ping.wait(PATIENCE) for ping in pings]
        took = SYSTEM_CLOCK.monotonic() - before
        stats = connection.stats()
    assert all(0 < round_trip <= took for round_trip in round_trips)
    assert stats.round_trip == round_trips[-1]
    assert stats.clock_offset_ms is not None
    assert abs(stats.clock_offset_ms) < 1000 * PATIENCE


def test_a_ping_ends_with_its_connection() -> None:
    """Who waits for a pong learns at once that it will not come."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.read()  # the ping

    with RawServer(script) as server, connect(server.endpoint) as connection:
        ping = connection.sender.ping()
        with pytest.raises(NotConnectedError, match="connection ended"):
            ping.wait(PATIENCE)


def test_pings_are_sent_unasked(sim: SimServer) -> None:
    """They keep the server's idle timer from running out, and the round trip fresh."""
    with connect(sim.url, ping_interval=0.05) as connection:
        for _ in range(3):
            wait_for(connection, "pong")
        assert connection.stats().round_trip is not None


# Counters


def test_the_counters_tell_of_all_connections(sim: SimServer) -> None:
    """Frames and bytes add up over reconnects; the age is that of the last byte."""
    with connect(sim.url) as connection:
        sim.send(Pong(server_time_ms=1))
        wait_for(connection, "pong")
        first = connection.stats()
        sim.drop()
        wait_for(connection, "gap")
        sim.send(Pong(server_time_ms=2))
        wait_for(connection, "pong")
        second = connection.stats()
    assert first.frames_in == 2
    assert second.frames_in == 4
    assert second.bytes_in > first.bytes_in > 100
    assert (first.reconnects, second.reconnects) == (0, 1)
    assert second.last_message_age is not None
    assert 0 <= second.last_message_age < PATIENCE
    assert connection.stats().last_message_age is None


def test_the_error_is_not_a_message() -> None:
    """What had arrived comes first; the error that ended the stream is raised, every time."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(
            event(1), b'\x81\x37{"type":"error","code":"invalid_strategy","message":""}'
        )
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        messages = receive_until(connection, "disconnected")
        assert "pong" in kinds(messages)
        for _ in range(3):
            with pytest.raises(HandshakeError):
                connection.recv()
        with pytest.raises(HandshakeError):
            list(connection)
