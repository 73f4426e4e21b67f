from __future__ import annotations

import threading

import attrs
import pytest
import websocket

from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.client import Configure, Ping
from lasersell.protocol.server import (
    BalanceUpdate,
    PnlUpdate,
    Pong,
    UnknownMessage,
)
from lasersell.sim import DEFAULT_LIMITS, MISSING, ManualClock, SimServer
from lasersell.sim.encoding import frame
from tests.integration.sim.foreign import WALLET, connected


def _pnl(number: int) -> PnlUpdate:
    return PnlUpdate(
        position_id=number, profit_units=0, proceeds_units=0, server_time_ms=0
    )


@pytest.mark.parametrize(("code", "seen"), [(1006, None), (1001, 1001), (4001, 4001)])
def test_a_drop_ends_every_connection(code: int, seen: int | None) -> None:
    """A drop cuts, or closes with the code asked for; nobody is left connected."""
    with SimServer() as sim, connected(sim) as one, connected(sim) as two:
        sim.wait_for_connections(2)
        sim.drop(code, "going away")
        assert sim.connection_count == 0
        assert (one.close_code(), two.close_code()) == (seen, seen)


def test_a_dropped_client_is_not_listened_to() -> None:
    """What a client says after it was told to go is neither logged nor answered."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        sim.drop(1000)
        client.send("ping", client_time_ms=1)
        assert client.close_code() == 1000
        client.socket.close()
    assert sim.received.of(Ping) == []


def test_connections_can_be_waited_for() -> None:
    """A wait ends when as many clients are connected, and says so when they are not."""
    with SimServer() as sim:
        waiter = threading.Thread(target=lambda: sim.wait_for_connections(1))
        waiter.start()
        with connected(sim):
            waiter.join(5)
            assert not waiter.is_alive()
            with pytest.raises(TimeoutError, match="1 clients are connected"):
                sim.wait_for_connections(3, timeout=0)
        sim.wait_for_connections(0)


def test_any_message_can_be_sent() -> None:
    """Messages made by hand go to every client, unknown types too."""
    brand_new = UnknownMessage(type="brand_new", raw={"type": "brand_new", "x": 1})
    with SimServer() as sim, connected(sim) as one, connected(sim) as two:
        sim.wait_for_connections(2)
        sim.send(Pong(server_time_ms=7), brand_new)
        for client in (one, two):
            assert client.recv_type("pong") == {"type": "pong", "server_time_ms": 7}
            assert client.recv() == {"type": "brand_new", "x": 1}


def test_any_payload_can_be_sent() -> None:
    """Payloads need be neither JSON nor UTF-8, and may be binary."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        sim.send_raw("{")
        sim.send_raw(b"\xff", binary=True)
        sim.send_raw(b"\xff")
        frames = [client.recv_frame() for _ in range(3)]
        text, binary = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY
        assert frames == [
            (text, b"{"),
            (binary, b"\xff"),
            (text, b"\xff"),
        ]


def test_half_a_frame_can_be_sent() -> None:
    """Bytes under the protocol go out as they are, in as many pieces as one likes."""
    with SimServer(clock=ManualClock()) as sim, connected(sim) as client:
        client.recv()
        sim.send_bytes(b"\x81\x02{")
        sim.send_bytes(b"}")
        assert client.recv() == {}


@pytest.mark.slow
def test_a_burst_of_100_000_frames_is_complete_and_in_order() -> None:
    """Every frame of a burst arrives, message after message, over and over."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        flood = sim.flood([_pnl(number) for number in (1, 2, 3)], count=100_000)
        received = 0
        seen = []
        while received < 100_000:
            _, data = client.recv_frame()
            received += 1
            if received <= 4 or received == 100_000:
                seen.append(data.split(b",")[1])
        flood.wait()
    assert flood.sent == 100_000
    ids = [b'"position_id":%d' % number for number in (1, 2, 3, 1, 1)]
    assert seen == ids


def test_a_flood_waits_for_a_client_that_does_not_read() -> None:
    """A stalled client makes a flood stop, not the server's memory grow; signals pass."""
    with SimServer(clock=ManualClock()) as sim, connected(sim) as client:
        client.configure()
        sim.received.wait_for(Configure)
        flood = sim.flood()
        flood.wait_until_held_back()
        sim.send(Pong(server_time_ms=1))
        (connection,) = sim._hub.connections
        assert connection._transport.get_write_buffer_size() < 1_000_000
        flood.stop()
        flood.wait()
        client.skim_to(b'{"type":"pong","server_time_ms":1}')


def test_a_flood_keeps_its_rate() -> None:
    """A rate of 2,000 a second needs half a second for 1,000 frames."""
    with SimServer(clock=ManualClock()) as sim, connected(sim) as client:
        client.recv()
        began_at = SYSTEM_CLOCK.monotonic()
        flood = sim.flood(count=1_000, rate=2_000)
        flood.wait()
        assert flood.sent == 1_000
        assert 0.5 <= SYSTEM_CLOCK.monotonic() - began_at < 5


def test_a_flood_that_all_clients_follow_is_not_held_back() -> None:
    """A wait for congestion ends in vain where there is none."""
    with SimServer(clock=ManualClock()) as sim, connected(sim):
        flood = sim.flood(count=1)
        flood.wait()
        with pytest.raises(TimeoutError, match="kept up"):
            flood.wait_until_held_back(0)


def test_a_flood_ends_with_its_server() -> None:
    """Who waits for an endless flood is let go when the server stops."""
    with SimServer() as sim:
        flood = sim.flood(rate=10)
    flood.wait(0)


def test_a_client_that_does_not_read_gets_no_stale_pnl() -> None:
    """While a client is congested it gets signals but no PnL; others get both."""
    with SimServer(clock=ManualClock()) as sim, connected(sim) as client:
        client.configure()
        sim.received.wait_for(Configure)
        sim.buy(WALLET, profits_pct=[0, 9])
        flood = sim.flood()
        flood.wait_until_held_back()
        flood.stop()
        sim.step(2)
        skimmed = client.skim_to(b'"reason":"target_profit"')
        sim.step()
        skimmed += client.skim_to(b'"server_time_ms":%d' % sim._clock.wall_ms())
        pnl = b'"type":"pnl_update","position_id":1,"profit_units":9000000,'
        assert skimmed.count(pnl) == 1


# --- sim.faults ---------------------------------------------------------------


def _manual() -> SimServer:
    return SimServer(clock=ManualClock())


def test_a_reset_is_a_reset() -> None:
    """The client's next read fails as TCP resets fail, not as a close."""
    with _manual() as sim, connected(sim) as client:
        client.recv()
        sim.faults.reset()
        with pytest.raises(ConnectionResetError):
            client.recv()
        assert sim.connection_count == 0


def test_a_stall_is_silence_until_it_ends() -> None:
    """Not even a ping is answered; afterwards everything comes, in order."""
    with _manual() as sim, connected(sim) as client:
        client.configure()
        client.recv()
        sim.received.wait_for(Configure)
        sim.faults.stall()
        sim.faults.stall()
        sim.buy(WALLET)
        client.socket.ping("still there?")
        client.socket.settimeout(0.2)
        with pytest.raises(websocket.WebSocketTimeoutException):
            client.recv_frame()
        client.socket.settimeout(5)
        sim.faults.resume()
        types = [message["type"] for message in client.recv_many(2)]
        assert types == ["balance_update", "position_opened"]
        assert client.recv_frame()[0] == websocket.ABNF.OPCODE_PONG


def test_resuming_what_does_not_stall_does_no_harm() -> None:
    """A server that works goes on working."""
    with _manual() as sim, connected(sim) as client:
        sim.faults.resume()
        assert client.recv()["type"] == "hello_ok"


def test_a_mute_server_is_there_and_says_nothing() -> None:
    """Pings are answered, messages are lost; afterwards it speaks again."""
    with _manual() as sim, connected(sim) as client:
        client.recv()
        sim.faults.mute()
        sim.send(Pong(server_time_ms=1))
        assert client.is_pinged()
        sim.faults.mute(False)
        sim.send(Pong(server_time_ms=2))
        assert client.recv()["server_time_ms"] == 2


def test_half_a_frame_may_be_the_end() -> None:
    """The first half of a frame arrives, and then the connection is over."""
    with _manual() as sim, connected(sim) as client:
        client.recv()
        sim.faults.half_a_frame(Pong(server_time_ms=1))
        assert client.socket.sock is not None
        raw = b"".join(iter(lambda: client.socket.sock.recv(4096), b""))  # type: ignore[union-attr]
        whole = frame(b'{"type":"pong","server_time_ms":1}')
        assert raw == whole[: len(whole) // 2]
        sim.wait_for_connections(0)


def test_half_a_frame_may_swallow_what_follows() -> None:
    """Left open, the connection takes the next frame for the other half."""
    with _manual() as sim, connected(sim) as client:
        client.recv()
        sim.faults.half_a_frame(cut=False)
        sim.send(Pong(server_time_ms=2))
        _, data = client.recv_frame()
        assert data.startswith(b'{"type":"pong')
        assert b"\x81" in data
        assert sim.connection_count == 1


def test_garbage_is_no_frame_and_the_same_for_a_seed() -> None:
    """It starts as no server's frame does; the rest can be had again."""

    def garbage(seed: int) -> bytes:
        with SimServer(seed=seed) as sim, connected(sim) as client:
            client.recv()
            sim.faults.garbage(100)
            assert client.socket.sock is not None
            data = b""
            while len(data) < 100:
                data += client.socket.sock.recv(100 - len(data))
            return data

    assert garbage(7) == garbage(7) != garbage(8)
    assert garbage(7)[:2] == b"\xff\xff"


def test_a_message_may_be_malformed() -> None:
    """Fields are replaced by what is wrong, or left out; the others stay."""
    with _manual() as sim, connected(sim) as client:
        client.recv()
        sim.faults.malformed(_pnl(7), profit_units="many", server_time_ms=MISSING)
        message = client.recv()
    assert message == {
        "type": "pnl_update",
        "position_id": 7,
        "profit_units": "many",
        "proceeds_units": 0,
    }


def test_messages_may_be_lost_doubled_and_swapped() -> None:
    """Each fault meets the next messages of its kind, and the log has what was sent."""
    with _manual() as sim, connected(sim) as client:
        sim.buy(WALLET)
        client.recv()
        sim.faults.swap(BalanceUpdate)
        client.configure()
        types = [message["type"] for message in client.recv_many(2)]
        assert types == ["position_opened", "balance_update"]
        sim.faults.lose(PnlUpdate)
        sim.step()
        sim.faults.duplicate(PnlUpdate)
        sim.step(2)
        first, second, third = client.recv_many(3)
        assert first == second
        assert third["server_time_ms"] == first["server_time_ms"] + 100
        assert [entry.item.type for entry in sim.sent.entries()] == [
            "hello_ok",
            "position_opened",
            "balance_update",
        ]


def test_a_client_that_takes_no_signals_is_cut_off() -> None:
    """More high-priority messages than the server buffers end the connection."""
    limits = attrs.evolve(DEFAULT_LIMITS, hi_capacity=3, max_positions_per_wallet=0)
    with (
        SimServer(clock=ManualClock(), limits=limits) as sim,
        connected(sim) as client,
    ):
        client.configure()
        sim.received.wait_for(Configure)
        flood = sim.flood()
        flood.wait_until_held_back()
        flood.stop()
        for _ in range(2):
            # A balance and a position each.
            sim.buy(WALLET)
        assert sim.connection_count == 1
        sim.buy(WALLET)
        assert sim.connection_count == 0


def test_a_client_that_reads_may_be_told_any_number() -> None:
    """What was taken does not count."""
    limits = attrs.evolve(DEFAULT_LIMITS, hi_capacity=3, max_positions_per_wallet=0)
    with SimServer(clock=ManualClock(), limits=limits) as sim, connected(sim) as client:
        client.configure()
        client.recv()
        sim.received.wait_for(Configure)
        for _ in range(10):
            sim.buy(WALLET)
            client.recv_many(2)
        assert sim.connection_count == 1
