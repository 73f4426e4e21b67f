from __future__ import annotations

import gc
import gzip
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import websocket

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import Configure
from lasersell.protocol.server import Pong
from lasersell.sim import ManualClock, SimServer
from lasersell.testing import Recorder, Recording
from lasersell.testing import recorder as recorder_module
from lasersell.testing.recording import RecordedConnection
from tests.faults.certificates import client_context, server_context
from tests.faults.raw_server import Peer, RawServer, live
from tests.integration.sim.foreign import WALLET, Foreign

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a recording goes."""
    return tmp_path / "session.gz"


@pytest.fixture
def server() -> Iterator[SimServer]:
    """Run a server whose time stands still."""
    with SimServer(clock=ManualClock(), api_keys=["s3cret"]) as server:
        yield server


def _only(path: Path) -> RecordedConnection:
    (connection,) = Recording.load(path).connections
    return connection


def _types(texts: list[str]) -> list[str]:
    return [json.loads(text)["type"] for text in texts]


def test_both_sides_are_recorded_and_the_key_is_not(
    path: Path, server: SimServer
) -> None:
    """A client sees the server as without a recorder; the file has all but its key."""
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        client.configure()
        server.received.wait_for(Configure)
        server.buy(WALLET)
        client.send("ping", client_time_ms=1)
        seen = [message["type"] for message in client.recv_many(4)]
        client.hang_up()
        server.wait_for_connections(0)
    assert seen == ["hello_ok", "balance_update", "position_opened", "pong"]
    recorded = _only(path)
    assert _types(recorded.texts("server")) == seen
    assert _types(recorded.texts("client")) == ["configure", "ping"]
    assert recorded.ended_by == "client"
    assert b"s3cret" not in gzip.decompress(path.read_bytes())


def test_a_key_that_is_repeated_is_cut_out(path: Path, server: SimServer) -> None:
    """A server or client that quotes the key does not get it into the file."""
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        client.recv()
        client.send("nonsense", key="s3cret")
        assert client.recv_type("error")
        server.send_raw('{"type":"echo","key":"s3cret"}')
        assert client.recv()["key"] == "s3cret"
        client.hang_up()
        server.wait_for_connections(0)
    text = gzip.decompress(path.read_bytes())
    assert b"s3cret" not in text
    assert text.count(b"[removed]") == 2


def test_a_refusal_passes_and_is_recorded(path: Path, server: SimServer) -> None:
    """Status, headers and body of a refused upgrade arrive, and are in the file."""
    server.refuse_upgrades(503, headers={"Retry-After": "7"})
    with (
        Recorder(path, server.url) as recorder,
        pytest.raises(websocket.WebSocketBadStatusException) as caught,
    ):
        Foreign(recorder.url, "s3cret")
    assert caught.value.status_code == 503
    assert (caught.value.resp_headers or {})["retry-after"] == "7"
    answer = _only(path).answer
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert json.loads(answer.body) == {"error": "refused"}


def test_a_server_that_is_not_there_is_a_bad_gateway(path: Path) -> None:
    """The client is told with a 502, which is recorded."""
    with (
        Recorder(path, "ws://127.0.0.1:1/v1/ws") as recorder,
        pytest.raises(websocket.WebSocketBadStatusException) as caught,
    ):
        Foreign(recorder.url, "s3cret")
    assert caught.value.status_code == 502
    assert "cannot reach the endpoint" in _only(path).answer.body


def test_half_a_frame_and_garbage_are_recorded_as_they_are(
    path: Path, server: SimServer
) -> None:
    """What is no frame passes to the client and into the file, byte for byte."""
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        client.recv()
        server.faults.half_a_frame(Pong(server_time_ms=1))
        assert client.socket.sock is not None
        half = b"".join(iter(lambda: client.socket.sock.recv(100), b""))  # type: ignore[union-attr]
        client.hang_up()
    last = _only(path).frames[-1].frame
    assert (last.head, last.payload) == (None, half)
    assert _only(path).ended_by == "server"


def test_a_reset_passes_as_a_reset(path: Path, server: SimServer) -> None:
    """The client's connection is reset too, and the file says so."""
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        client.recv()
        server.faults.reset()
        with pytest.raises(ConnectionResetError):
            client.recv()
        client.hang_up()
    ending = _only(path).ending
    assert ending is not None
    assert (ending.side, ending.is_reset) == ("server", True)


def test_a_reset_of_the_client_passes_too(path: Path, server: SimServer) -> None:
    """The server's connection ends, and the file says who reset it."""
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        client.recv()
        server.wait_for_connections(1)
        sock = client.socket.sock
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        server.wait_for_connections(0)
    ending = _only(path).ending
    assert ending is not None
    assert (ending.side, ending.is_reset) == ("client", True)


def test_what_was_said_is_in_the_file_soon(
    path: Path, server: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that is killed has lost no more than the last moment."""
    monkeypatch.setattr(recorder_module, "_FLUSH_SECONDS", 0)
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        for number in range(5):
            client.send("ping", client_time_ms=number)
            assert client.recv_type("pong")
        said = Recording.load(path).connections[0].texts("client")
        client.hang_up()
    assert len(said) >= 4


def test_a_close_passes_with_its_code(path: Path, server: SimServer) -> None:
    """A close frame arrives as it was sent."""
    with Recorder(path, server.url) as recorder:
        client = Foreign(recorder.url, "s3cret")
        client.recv()
        server.drop(4001, "bye")
        assert client.close_code() == 4001
        client.hang_up()
    assert _only(path).ended_by == "server"


def test_several_clients_are_recorded_beside_each_other(
    path: Path, server: SimServer
) -> None:
    """Each connection has its own frames."""
    with Recorder(path, server.url) as recorder:
        clients = [Foreign(recorder.url, "s3cret") for _ in range(3)]
        for number, client in enumerate(clients):
            client.recv()
            client.send("ping", client_time_ms=number)
            client.recv()
        for client in clients:
            client.hang_up()
        server.wait_for_connections(0)
    said = [c.texts("client") for c in Recording.load(path).connections]
    assert [json.loads(text)["client_time_ms"] for (text,) in said] == [0, 1, 2]


def test_a_server_behind_tls_is_recorded(path: Path) -> None:
    """The endpoint's certificate is verified; the client needs no TLS."""
    authority = trustme.CA()
    with (
        RawServer(live, context=server_context(authority)) as server,
        Recorder(
            path, server.endpoint, ssl_context=client_context(authority)
        ) as recorder,
    ):
        client = Foreign(recorder.url, "s3cret")
        client.configure()
        assert client.recv()["type"] == "hello_ok"
        client.hang_up()
    assert _types(_only(path).texts("server")) == ["hello_ok"]


def test_a_server_that_does_not_end_its_tls_is_left_all_the_same(path: Path) -> None:
    """It is given a second, and then nothing of the connection stays open."""

    def hold(peer: Peer) -> None:
        peer.greet()
        peer.hold()

    authority = trustme.CA()
    with RawServer(hold, context=server_context(authority)) as server:
        with Recorder(
            path, server.endpoint, ssl_context=client_context(authority)
        ) as recorder:
            client = Foreign(recorder.url, "s3cret")
            client.configure()
            client.recv()
            client.hang_up()
        # What was left open says so when it is collected, and that fails the test.
        gc.collect()


def test_an_untrusted_server_is_not_reached(path: Path) -> None:
    """Without the authority the client is told that the endpoint cannot be reached."""
    with (
        RawServer(live, context=server_context(trustme.CA())) as server,
        Recorder(path, server.endpoint) as recorder,
        pytest.raises(websocket.WebSocketBadStatusException) as caught,
    ):
        Foreign(recorder.url, "s3cret")
    assert caught.value.status_code == 502


def test_the_key_is_not_sent_over_an_open_network(path: Path) -> None:
    """ws:// is for this machine only, and a wrong endpoint makes no file."""
    with pytest.raises(ConfigurationError, match="unencrypted"):
        Recorder(path, "ws://example.com/v1/ws")
    assert not path.exists()


def test_a_recorder_that_cannot_listen_leaves_nothing_open(
    path: Path, server: SimServer
) -> None:
    """A port that is taken is an error, and the descriptors are closed."""
    with pytest.raises(ConfigurationError, match="cannot listen"):
        Recorder(path, server.url, port=server.port).start()
