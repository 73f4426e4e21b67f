from __future__ import annotations

import gc
import re
import socket
import threading
from collections.abc import Callable

import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim import ManualClock, SimServer
from tests.integration.sim.foreign import WALLET, connected


def test_a_server_runs_while_it_is_entered() -> None:
    """Entering starts one named thread, leaving ends it."""
    server = SimServer()
    with server as sim:
        assert sim.is_running
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/v1/ws", sim.url)
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("lasersell-sim-") for name in names) == 1
    assert not server.is_running
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("lasersell-sim-") for name in names)


def test_stopping_cuts_the_clients() -> None:
    """A client sees the end when the server stops."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        sim.stop()
        assert client.close_code() is None
        assert sim.connection_count == 0


@pytest.mark.parametrize(
    "leave",
    [
        lambda _sim: None,
        lambda sim: sim.drop(1000),
        lambda sim: sim.faults.half_a_frame(),
        lambda sim: sim.faults.stall(),
    ],
    ids=["live", "told-to-go", "hung-up", "stalled"],
)
def test_stopping_leaves_nothing_of_a_client_that_does_not_read(
    leave: Callable[[SimServer], None],
) -> None:
    """However far it was told to go, its connection is closed with the server."""
    with SimServer() as sim, connected(sim) as client:
        client.recv()
        client.configure()
        sim.flood().wait_until_held_back()
        leave(sim)
        sim.stop()
        # What was left open says so when it is collected, and that fails the test.
        gc.collect()


def test_stopping_twice_does_no_harm() -> None:
    """A server that is not running can be stopped."""
    sim = SimServer()
    sim.stop()
    sim.start()
    sim.stop()
    sim.stop()


def test_a_server_comes_back_on_its_port_with_its_chain() -> None:
    """Started again, the server has the port and the holdings it had."""
    with SimServer() as sim:
        holding = sim.buy(WALLET)
        port = sim.port
    with sim, connected(sim) as client:
        client.recv()
        client.configure()
        assert sim.port == port
        opened = client.recv_type("position_opened")
        assert opened["token_account"] == holding.token_account


def test_the_chain_can_be_used_before_the_start() -> None:
    """What was bought before the start is there when the first client comes."""
    sim = SimServer()
    holding = sim.buy(WALLET, quote_units=5)
    assert sim.holdings(WALLET) == (holding,)
    assert sim.sessions == ()


def test_starting_twice_is_refused() -> None:
    """A running server is not started again."""
    with SimServer() as sim, pytest.raises(ConfigurationError, match="already"):
        sim.start()


def test_a_port_that_is_taken_is_refused_and_leaves_nothing() -> None:
    """The error names the port and what to do; the server can be started later."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sim = SimServer(port=port)
        with pytest.raises(ConfigurationError, match=rf"{port}.*port=0"):
            sim.start()
        assert not sim.is_running
    with sim:
        assert sim.port == port


def test_only_a_manual_clock_can_be_stepped() -> None:
    """Stepping a server that runs by itself is refused."""
    sim = SimServer()
    with pytest.raises(ConfigurationError, match="ManualClock"):
        sim.step()


def test_a_flood_needs_a_running_server() -> None:
    """A flood without a server is refused."""
    with pytest.raises(ConfigurationError, match="start the server"):
        SimServer(clock=ManualClock()).flood()


def test_the_representation_says_where_it_listens() -> None:
    """A server shows its address and whether it runs, and no key."""
    with SimServer(api_keys={"secret"}) as sim:
        assert repr(sim) == f"<SimServer at 127.0.0.1:{sim.port}, running>"
