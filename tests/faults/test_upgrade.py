"""What a server may answer to the upgrade, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import websocket

from lasersell._clock import Deadline
from lasersell.errors import (
    AuthenticationError,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
)
from tests.faults.client import KEY, connect, make_client, wait_for
from tests.faults.memory import bounded_memory
from tests.faults.raw_server import Peer, RawServer, Script, drain, live
from tests.faults.wire import hello_frame, upgrade_answer
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def _refuse(status: int, *headers: str, body: str = "") -> Script:
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", *headers]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        drain(peer)

    return script


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """A redirect is an error, and nothing is sent to where it leads."""
    with RawServer(drain) as elsewhere:
        location = f"Location: http://127.0.0.1:{elsewhere.port}/v1/ws"
        with (
            RawServer(_refuse(status, location)) as server,
            pytest.raises(HandshakeError, match="redirects are not followed") as caught,
        ):
            connect(server.endpoint)
        assert caught.value.status == status
        assert elsewhere.peers == []


@pytest.mark.parametrize("status", [400, 404, 408, 425, 429, 500, 503])
def test_a_refusal_carries_its_status(status: int) -> None:
    """Any answer but 101 is a HandshakeError with the status and the server's words."""
    with (
        RawServer(_refuse(status, body="no room")) as server,
        pytest.raises(HandshakeError) as caught,
    ):
        connect(server.endpoint)
    assert type(caught.value) is HandshakeError
    assert (caught.value.status, caught.value.message) == (status, "no room")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_an_authentication_error(status: int) -> None:
    """401 and 403 are told apart from other refusals, and say where keys are made."""
    with (
        RawServer(_refuse(status, body="bad key")) as server,
        pytest.raises(AuthenticationError, match="API Keys") as caught,
    ):
        connect(server.endpoint)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7.0), ("Fri, 31 Dec 2027 23:59:59 GMT", None)]
)
def test_retry_after_is_read(value: str, expected: float | None) -> None:
    """Retry-After is handed on in seconds; a date is not understood and harmless."""
    with (
        RawServer(_refuse(429, f"Retry-After: {value}")) as server,
        pytest.raises(HandshakeError) as caught,
    ):
        connect(server.endpoint)
    assert caught.value.retry_after == expected


def test_a_server_that_repeats_the_key_does_not_get_it_into_our_error() -> None:
    """The error shows the server's words without the key that they quote."""
    with (
        RawServer(_refuse(401, body=f"unknown key {KEY}!")) as server,
        pytest.raises(AuthenticationError) as caught,
    ):
        connect(server.endpoint)
    assert KEY not in f"{caught.value} {caught.value.message}"
    assert "unknown key" in str(caught.value)


def test_a_body_that_never_comes_is_not_waited_for_beyond_the_deadline() -> None:
    """A refusal whose body stays away is still the refusal, in time."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nonly this")
        drain(peer)

    deadline = Deadline(5.0)
    with RawServer(script) as server, pytest.raises(AuthenticationError) as caught:
        connect(server.endpoint, timeout=0.3)
    assert caught.value.message == "only this"
    assert not deadline.has_passed()


def test_a_giant_body_is_not_read() -> None:
    """Of a refusal's body only the beginning is taken."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 500 No\r\nContent-Length: 9999999999\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    with (
        RawServer(script) as server,
        bounded_memory(16),
        pytest.raises(HandshakeError) as caught,
    ):
        connect(server.endpoint)
    assert len(caught.value.message or "") <= 2048


def test_headers_without_end_are_refused() -> None:
    """A response head over 64 KiB ends the connect, in bounded memory."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        while True:
            peer.send(b"X-Filler: " + b"x" * 1000 + b"\r\n")

    with (
        RawServer(script) as server,
        bounded_memory(16),
        pytest.raises(ConnectError, match="over 65536 bytes"),
    ):
        connect(server.endpoint)


def test_a_head_byte_by_byte_does_not_outlive_the_deadline() -> None:
    """One deadline covers the whole head, however often a byte comes."""

    def script(peer: Peer) -> None:
        head = upgrade_answer(peer.read_request(), "X-Filler: " + "x" * 10_000)
        for byte in head:
            peer.send(bytes((byte,)))
            if peer.stopping.wait(0.01):
                return

    late = Deadline(3.0)
    with (
        RawServer(script) as server,
        pytest.raises(ConnectTimeoutError, match="did not answer the WebSocket"),
    ):
        connect(server.endpoint, timeout=0.3)
    assert not late.has_passed()


def test_a_head_byte_by_byte_in_time_is_fine() -> None:
    """A slow but honest server is connected to."""

    def script(peer: Peer) -> None:
        for byte in upgrade_answer(peer.read_request()) + hello_frame(7):
            peer.send(bytes((byte,)))
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        assert connection.session_id == 7


def test_hello_in_the_same_packet_as_the_head_is_not_lost() -> None:
    """Bytes that came along with the head belong to the stream."""

    def script(peer: Peer) -> None:
        peer.send(upgrade_answer(peer.read_request()), hello_frame(7))
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        assert connection.session_id == 7


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoZSBwcm9vZg==\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoZSBwcm9vZg==\r\n\r\n",
        b"\xff\xfe\x00 this is no HTTP\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"",
    ],
    ids=["bare", "wrong proof", "other upgrade", "binary", "ssh", "no status", "eof"],
)
def test_an_answer_that_is_no_upgrade_is_a_connect_error(head: bytes) -> None:
    """What is not a correct 101 never becomes a stream."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)

    with RawServer(script) as server, pytest.raises(ConnectError):
        connect(server.endpoint)


def test_a_reset_during_the_upgrade_is_a_connect_error() -> None:
    """A TCP reset instead of an answer is named as such."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with RawServer(script) as server, pytest.raises(ConnectError, match=r"reset"):
        connect(server.endpoint)


def test_an_extension_nobody_asked_for_is_refused() -> None:
    """A server that turns compression on by itself is not understood, and told so."""

    def script(peer: Peer) -> None:
        peer.upgrade("Sec-WebSocket-Extensions: permessage-deflate")
        drain(peer)

    with RawServer(script) as server, pytest.raises(ConnectError, match="extension"):
        connect(server.endpoint)


def test_the_key_goes_out_once_and_only_in_its_header() -> None:
    """The upgrade request carries the key in x-api-key, and nowhere else."""
    with RawServer(live) as server, connect(server.endpoint):
        request = server.peers[0].request.decode()
    assert request.count(KEY) == 1
    assert f"\r\nx-api-key: {KEY}\r\n" in request


def test_cookies_are_not_carried_from_one_connection_to_another() -> None:
    """A cookie that one connection was given is not sent by the next."""

    def script(peer: Peer) -> None:
        peer.upgrade("Set-Cookie: session=of-someone; Path=/; Domain=127.0.0.1")
        peer.send(hello_frame())
        peer.drain()

    with RawServer(script) as server:
        for _ in range(2):
            connect(server.endpoint).close()
        requests = [peer.request.lower() for peer in server.peers]
    assert [b"cookie" in request for request in requests] == [False, False]


def test_cookies_of_other_users_of_the_library_are_not_sent() -> None:
    """A cookie that lies in websocket-client's global jar stays there."""
    websocket._handshake.CookieJar.add("session=of-someone; Domain=127.0.0.1")
    try:
        with RawServer(live) as server, connect(server.endpoint):
            assert b"of-someone" not in server.peers[0].request
    finally:
        websocket._handshake.CookieJar.jar.clear()


@pytest.fixture
def trace(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Turn on websocket-client's trace, as another part of a program may have done."""
    websocket.enableTrace(True)  # noqa: TID251 - the very thing under test
    yield
    websocket.enableTrace(False)  # noqa: TID251


def test_the_trace_of_websocket_client_has_no_key(
    trace: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even with enableTrace(True) the key is not printed."""
    with RawServer(live) as server, connect(server.endpoint) as connection:
        connection.sender.ping()
    printed = capfd.readouterr()
    assert "request header" in printed.err
    assert KEY not in printed.out + printed.err


def test_a_client_shows_no_key() -> None:
    """Neither a client nor its options nor a connection show the key."""
    client = make_client("ws://127.0.0.1:1/v1/ws")
    assert KEY not in f"{client!r} {client.options!r} {vars(client)!r}"


def test_a_refused_connect_leaves_nothing_and_the_next_one_works() -> None:
    """After any refusal the same client can connect."""
    with RawServer(_refuse(503), live) as server:
        with pytest.raises(HandshakeError):
            connect(server.endpoint)
        with connect(server.endpoint) as connection:
            assert connection.state == "live"


def test_hello_never_comes() -> None:
    """A server that accepts and stays mute is given up at the deadline."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.drain()

    late = Deadline(3.0)
    with (
        RawServer(script) as server,
        pytest.raises(ConnectTimeoutError, match="no hello_ok in time"),
    ):
        connect(server.endpoint, timeout=0.3)
    assert not late.has_passed()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_talk_without_hello_is_bounded(
    secure: bool, request: pytest.FixtureRequest
) -> None:
    """A server that talks on without a hello_ok costs neither memory nor time."""
    contexts = request.getfixturevalue("contexts") if secure else (None, None)

    def script(peer: Peer) -> None:
        peer.upgrade()
        block = b'\x81\x10{"type":"gossip"' * 4000
        while True:
            peer.send(block)

    late = Deadline(8.0)
    with (
        RawServer(script, context=contexts[0]) as server,
        bounded_memory(64),
        pytest.raises(ConnectError, match="hello_ok"),
    ):
        connect(server.endpoint, contexts[1], timeout=2.0)
    assert not late.has_passed()


def test_a_refused_reconnect_is_reported_and_tried_again() -> None:
    """Once live, a 403 is told in disconnected, and the stream comes back."""
    cut = threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    with (
        RawServer(first, _refuse(403, body="still there"), live) as server,
        connect(server.endpoint) as connection,
    ):
        cut.set()
        lost = wait_for(connection, "disconnected")
        refused = wait_for(connection, "disconnected")
        assert (lost.status, refused.status) == (None, 403)
        assert wait_for(connection, "connected").number == 2


def test_a_key_refused_on_reconnect_ends_the_stream() -> None:
    """Once live, a 401 is fatal: recv() raises it, at every later call."""
    cut = threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    with (
        RawServer(first, _refuse(401)) as server,
        connect(server.endpoint) as connection,
    ):
        cut.set()
        wait_for(connection, "disconnected")
        assert wait_for(connection, "disconnected").delay is None
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                connection.recv(timeout=PATIENCE)
        assert connection.state == "failed"
