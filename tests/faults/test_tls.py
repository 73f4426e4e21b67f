"""Whom we talk to: certificates, names and pins."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from lasersell._clock import Deadline
from lasersell.errors import (
    ConnectError,
    ConnectTimeoutError,
    MissingExtraError,
    TlsError,
)
from lasersell.stream import dial
from lasersell.stream.wakeup import Wakeup
from tests.faults.certificates import client_context, server_context, spki_pin
from tests.faults.client import connect, stream_socket, wait_for
from tests.faults.raw_server import Peer, RawServer, drain, live
from tests.faults.wire import event, event_number
from tests.patience import PATIENCE

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def test_a_trusted_server_is_connected_to(contexts: Contexts) -> None:
    """A certificate of a trusted authority for the right name is enough."""
    with (
        RawServer(live, context=contexts[0]) as server,
        connect(server.endpoint, contexts[1]) as connection,
    ):
        assert connection.state == "live"


def test_an_unknown_authority_is_refused(contexts: Contexts) -> None:
    """A certificate that nobody we trust has signed ends the connect."""
    with (
        RawServer(live, context=server_context(trustme.CA())) as server,
        pytest.raises(TlsError, match="unable to get local issuer") as caught,
    ):
        connect(server.endpoint, contexts[1])
    assert not caught.value.pin_mismatch


def test_the_systems_authorities_are_the_default(contexts: Contexts) -> None:
    """Without a context of one's own the server is verified all the same."""
    with (
        RawServer(live, context=contexts[0]) as server,
        pytest.raises(TlsError, match="certificate"),
    ):
        connect(server.endpoint)
    assert server.peers[0].request == b""


def test_another_hosts_certificate_is_refused(
    authority: trustme.CA, contexts: Contexts
) -> None:
    """A certificate for another name ends the connect before the key is sent."""
    with (
        RawServer(live, context=server_context(authority, "example.org")) as server,
        pytest.raises(TlsError, match="Hostname mismatch"),
    ):
        connect(server.endpoint, contexts[1])
    assert server.peers[0].request == b""


def test_an_expired_certificate_is_refused(
    authority: trustme.CA, contexts: Contexts
) -> None:
    """A certificate out of date ends the connect, and the error names the clock."""
    with (
        RawServer(live, context=server_context(authority, expired=True)) as server,
        pytest.raises(TlsError, match=r"expired.*the clock"),
    ):
        connect(server.endpoint, contexts[1])


def test_a_pin_of_the_verified_chain_lets_in(
    authority: trustme.CA, contexts: Contexts
) -> None:
    """A pinned authority of the verified chain is connected to."""
    pins = [spki_pin(trustme.CA()), spki_pin(authority)]
    with (
        RawServer(live, context=contexts[0]) as server,
        connect(server.endpoint, contexts[1], spki_pins=pins) as connection,
    ):
        assert connection.state == "live"


def test_a_pin_mismatch_is_refused(contexts: Contexts) -> None:
    """A verified server without a pinned key is refused before the key is sent."""
    with (
        RawServer(live, context=contexts[0]) as server,
        pytest.raises(TlsError, match="spki_pins") as caught,
    ):
        connect(server.endpoint, contexts[1], spki_pins=[spki_pin(trustme.CA())])
    assert caught.value.pin_mismatch
    assert server.peers[0].request == b""


def test_a_certificate_that_is_only_sent_along_matches_no_pin(
    authority: trustme.CA, contexts: Contexts
) -> None:
    """A pinned certificate that verified nothing does not count: anyone can send it."""
    pinned = trustme.CA()
    context = server_context(authority, presents=pinned)
    with (
        RawServer(live, context=context) as server,
        pytest.raises(TlsError) as caught,
    ):
        connect(server.endpoint, contexts[1], spki_pins=[spki_pin(pinned)])
    assert caught.value.pin_mismatch


def test_pins_without_the_extra_say_what_to_install(
    contexts: Contexts, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where cryptography is missing, a pin is an error that names the extra."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with (
        RawServer(live, context=contexts[0]) as server,
        pytest.raises(MissingExtraError, match=r"lasersell\[pins\]"),
    ):
        connect(server.endpoint, contexts[1], spki_pins=[spki_pin(authority)])


def test_new_keys_at_a_reconnect_end_a_pinned_stream(contexts: Contexts) -> None:
    """Once live, a pin that no longer matches is fatal at once."""
    authorities = [trustme.CA(), trustme.CA()]
    client = client_context(authorities[0])
    authorities[1].configure_trust(client)
    server_side = server_context(authorities[0])

    def first(peer: Peer) -> None:
        peer.greet()
        certificate = authorities[1].issue_cert("localhost")
        certificate.configure_cert(server_side)

    with (
        RawServer(first, live, context=server_side) as server,
        connect(
            server.endpoint, client, spki_pins=[spki_pin(authorities[0])]
        ) as connection,
    ):
        assert wait_for(connection, "disconnected").delay is not None
        assert wait_for(connection, "disconnected").delay is None
        with pytest.raises(TlsError) as caught:
            connection.recv(timeout=PATIENCE)
    assert caught.value.pin_mismatch


def test_two_frames_in_one_record_both_arrive(contexts: Contexts) -> None:
    """The second frame of a TLS record is delivered without another packet."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(event(1), event(2))
        peer.drain()

    with (
        RawServer(script, context=contexts[0]) as server,
        connect(server.endpoint, contexts[1]) as connection,
    ):
        numbers = [event_number(wait_for(connection, "pong")) for _ in range(2)]
    assert numbers == [1, 2]


def test_a_record_larger_than_one_read_arrives_whole(contexts: Contexts) -> None:
    """A thousand frames written at once are all delivered, though nothing follows."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(*[event(number) for number in range(5000)])
        peer.drain()

    with (
        RawServer(script, context=contexts[0]) as server,
        connect(server.endpoint, contexts[1]) as connection,
    ):
        numbers = [event_number(wait_for(connection, "pong")) for _ in range(5000)]
    assert numbers == list(range(5000))


def test_a_silent_tls_handshake_ends_at_the_deadline(contexts: Contexts) -> None:
    """A server that takes the ClientHello and says nothing is given up in time."""
    late = Deadline(3.0)
    with (
        RawServer(drain) as server,
        pytest.raises(ConnectTimeoutError, match="TLS handshake in time"),
    ):
        connect(f"wss://localhost:{server.port}/", contexts[1], timeout=0.3)
    assert not late.has_passed()


@pytest.mark.parametrize("ending", ["eof", "reset"])
def test_the_end_in_the_tls_handshake_is_a_connect_error(
    ending: str, contexts: Contexts
) -> None:
    """A server that hangs up instead of shaking hands is named as such."""

    def script(peer: Peer) -> None:
        peer.sock.recv(4096)
        if ending == "reset":
            peer.reset()

    with (
        RawServer(script) as server,
        pytest.raises(ConnectError, match="closed the connection during the TLS") as c,
    ):
        connect(f"wss://localhost:{server.port}/", contexts[1])
    assert not isinstance(c.value, TlsError)


def test_a_reset_before_the_tls_handshake_is_a_connect_error(
    contexts: Contexts,
) -> None:
    """A server that accepts and resets at once is a ConnectError, never a raw OSError."""
    with RawServer(Peer.reset) as server:
        for _ in range(20):
            with pytest.raises(ConnectError):
                connect(f"wss://localhost:{server.port}/", contexts[1])


def test_a_reset_while_tls_is_set_up_leaves_no_socket(contexts: Contexts) -> None:
    """CPython leaves the descriptor open that it was making into a TLS socket."""
    with (
        RawServer(Peer.reset) as server,
        contextlib.closing(Wakeup()) as wakeup,
    ):
        sock = socket.create_connection(("localhost", server.port))
        assert select.select([sock], [], [], PATIENCE)[0]  # the reset is here
        sock.setblocking(False)
        with pytest.raises(ConnectError):
            dial.start_tls(sock, contexts[1], "localhost", wakeup, Deadline(PATIENCE))
        assert sock.fileno() == -1


def test_plain_text_where_tls_was_expected_is_named(contexts: Contexts) -> None:
    """A server without TLS gets an error that suggests ws://."""

    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        drain(peer)

    with RawServer(script) as server, pytest.raises(TlsError, match="ws://"):
        connect(f"wss://localhost:{server.port}/", contexts[1])


def test_the_key_log_of_the_environment_is_not_written(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSLKEYLOGFILE does not make us write down the secrets of a session."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    dial.default_context.cache_clear()
    try:
        with RawServer(live, context=contexts[0]) as server, pytest.raises(TlsError):
            connect(server.endpoint)
    finally:
        dial.default_context.cache_clear()
    assert not keys.exists() or "SECRET" not in keys.read_text()


def test_the_socket_is_tuned(contexts: Contexts) -> None:
    """Nagle is off, keepalive on, and unacknowledged bytes are noticed."""
    with (
        RawServer(live, context=contexts[0]) as server,
        connect(server.endpoint, contexts[1]) as connection,
    ):
        sock = stream_socket(connection)
        tcp = socket.IPPROTO_TCP
        assert sock.getsockopt(tcp, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) > 0
