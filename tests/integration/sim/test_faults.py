from __future__ import annotations

import threading

import pytest
import websocket

from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.client import Configure, Ping
from lasersell.protocol.server import PnlUpdate, Pong, UnknownMessage
from lasersell.sim import ManualClock, SimServer
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
        assert client.recv_type("pong")["server_time_ms"] == 1


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
        assert client.recv_type("exit_signal_with_tx")["reason"] == "target_profit"
        sim.step()
        real = client.recv_type("pnl_update")
        assert real["profit_units"] == 9_000_000
