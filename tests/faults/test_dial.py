"""On the way to the server: names, addresses and proxies."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lasersell._clock import Deadline
from lasersell.errors import ConfigurationError, ConnectError, ConnectTimeoutError
from lasersell.stream import dial
from tests.faults.client import connect, make_client, wait_for
from tests.faults.raw_server import Peer, RawServer, Script, drain, live
from tests.faults.sockets import black_hole
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def _addresses(*targets: tuple[str, int]) -> list[tuple[Any, ...]]:
    return [
        (
            socket.AF_INET6 if ":" in host else socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (host, port, 0, 0) if ":" in host else (host, port),
        )
        for host, port in targets
    ]


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *targets: tuple[str, int]) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: _addresses(*targets))


# Addresses


def test_an_ipv6_that_does_not_answer_costs_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead IPv6 address in front delays the IPv4 one by 250 ms, not by a time-out."""
    late = Deadline(3.0)
    with RawServer(live) as server, black_hole(host="::1") as dead:
        _resolve_to(monkeypatch, ("::1", dead), ("127.0.0.1", server.port))
        with connect(server.endpoint) as connection:
            assert connection.state == "live"
    assert not late.has_passed()


def test_an_ipv6_that_refuses_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused address is followed by the next at once."""
    monkeypatch.setattr(dial, "STAGGER", 60.0)
    with RawServer(live) as server, RawServer(live, host="::1") as gone:
        gone.stop_listening()
        _resolve_to(monkeypatch, ("::1", gone.port), ("127.0.0.1", server.port))
        with connect(server.endpoint) as connection:
            assert connection.state == "live"


def test_ipv6_alone_works() -> None:
    """An IPv6 endpoint is connected to."""
    with (
        RawServer(live, host="::1") as server,
        connect(f"ws://[::1]:{server.port}/v1/ws") as connection,
    ):
        assert connection.state == "live"


def test_the_slow_address_may_still_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses are tried beside each other: the first to answer is taken."""
    with (
        RawServer(live) as server,
        black_hole() as dead,
        black_hole(host="::1") as dead6,
    ):
        _resolve_to(
            monkeypatch,
            ("127.0.0.1", dead),
            ("::1", dead6),
            ("127.0.0.1", server.port),
        )
        with connect(server.endpoint) as connection:
            assert connection.state == "live"


def test_when_no_address_answers_the_deadline_holds() -> None:
    """A server behind a firewall that drops is a ConnectTimeoutError in time."""
    late = Deadline(3.0)
    with black_hole() as dead, pytest.raises(ConnectTimeoutError, match="firewall"):
        connect(f"ws://127.0.0.1:{dead}/", timeout=0.3)
    assert not late.has_passed()


def test_when_every_address_refuses_the_error_names_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If all addresses refuse, the error says so."""
    with RawServer(live) as server:
        pass
    _resolve_to(monkeypatch, ("::1", server.port), ("127.0.0.1", server.port))
    with pytest.raises(ConnectError, match="refused"):
        connect(server.endpoint)


# Names


@pytest.fixture
def hanging_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let getaddrinfo hang; yield what is set once someone asked."""
    asked, release = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[tuple[Any, ...]]:
        asked.set()
        release.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield asked
    release.set()


def test_a_name_server_that_hangs_does_not_outlive_the_deadline(
    hanging_dns: threading.Event,
) -> None:
    """A look-up without an answer ends with the connect's deadline."""
    late = Deadline(3.0)
    with pytest.raises(ConnectTimeoutError, match="was not resolved in time"):
        connect("ws://127.0.0.1:9/", timeout=0.3)
    assert not late.has_passed()


def test_close_does_not_wait_for_a_name_server(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A stream that looks up its server's name for a reconnect closes at once."""
    cut = threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    with RawServer(first, live) as server:
        connection = connect(server.endpoint, timeout=20.0)
        asked = request.getfixturevalue("hanging_dns")
        cut.set()
        assert asked.wait(PATIENCE)
        late = Deadline(PATIENCE / 2)
        connection.close(timeout=PATIENCE)
        assert not late.has_passed()
        names = {thread.name.rsplit("-", 1)[0] for thread in threading.enumerate()}
        assert not names & {"lasersell-supervisor", "lasersell-reader"}


def test_a_name_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that fails is a ConnectError that shows the name."""

    def fail(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConnectError, match=r"stream\.localhost cannot be resolved"):
        connect("ws://stream.localhost:9/")


def test_a_name_that_is_none_is_a_connect_error() -> None:
    """A host name that no encoding can carry is no raw UnicodeError."""
    with pytest.raises(ConnectError, match="host name"):
        connect(f"ws://{'a' * 70}.localhost:9/")


def test_no_thread_for_the_resolver_is_a_connect_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the limit of threads a connect fails as a network does, so it is tried again."""
    start = threading.Thread.start

    def refuse_resolvers(thread: threading.Thread) -> None:
        if thread.name.startswith("lasersell-dns"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_resolvers)
    with pytest.raises(ConnectError, match="thread"):
        connect("ws://127.0.0.1:9/")


# Proxies


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _tunnel(port: int, status: str = "200 Connection established") -> Script:
    """Return the script of a proxy that leads every CONNECT to a port of this machine."""

    def script(peer: Peer) -> None:
        peer.read_request()
        with socket.create_connection(("127.0.0.1", port)) as server:
            peer.send(f"HTTP/1.1 {status}\r\nVia: 1.1 test\r\n\r\n".encode())
            back = threading.Thread(target=_pump, args=(server, peer.sock))
            back.start()
            _pump(peer.sock, server)
            back.join(PATIENCE)

    return script


def _say(answer: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)
        drain(peer)

    return script


def test_a_proxy_is_asked_for_the_server_by_name(contexts: Contexts) -> None:
    """TLS goes through a CONNECT tunnel, whose request names the server and no key."""
    with (
        RawServer(live, context=contexts[0]) as server,
        RawServer(_tunnel(server.port)) as proxy,
        connect(
            server.endpoint, contexts[1], proxy=f"http://127.0.0.1:{proxy.port}"
        ) as connection,
    ):
        assert connection.state == "live"
        head = proxy.peers[0].request.decode()
    target = f"localhost:{server.port}"
    assert head.startswith(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")
    assert "x-api-key" not in head.lower()


def test_a_proxy_is_given_the_login_of_its_url(contexts: Contexts) -> None:
    """User and password of the proxy's URL become its basic authorization."""
    with (
        RawServer(live, context=contexts[0]) as server,
        RawServer(_tunnel(server.port)) as proxy,
        connect(
            server.endpoint,
            contexts[1],
            proxy=f"http://me:p%40ss@127.0.0.1:{proxy.port}",
        ),
    ):
        head = proxy.peers[0].request.decode()
    login = base64.b64encode(b"me:p@ss").decode()
    assert f"\r\nProxy-Authorization: Basic {login}\r\n" in head


def test_a_proxy_that_refuses_is_named() -> None:
    """A 407 of the proxy is a ConnectError without the password."""
    with (
        RawServer(_say(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy,
        pytest.raises(ConnectError, match=r"proxy 127.0.0.1:.* refused.*407") as caught,
    ):
        connect("ws://127.0.0.1:9/", proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
    assert "secret" not in str(caught.value)


def test_a_proxy_that_does_not_answer_is_given_up_in_time() -> None:
    """A silent proxy is a ConnectTimeoutError at the deadline."""
    late = Deadline(3.0)
    with (
        RawServer(drain) as proxy,
        pytest.raises(ConnectTimeoutError, match=r"proxy .* did not answer in time"),
    ):
        connect(
            "ws://127.0.0.1:9/", timeout=0.3, proxy=f"http://127.0.0.1:{proxy.port}"
        )
    assert not late.has_passed()


def _hang_up(peer: Peer) -> None:
    peer.read_request()


def _reset(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


@pytest.mark.parametrize(
    "script",
    [
        _hang_up,
        _reset,
        Peer.reset,
        _say(b"220 mail.example.org ESMTP\r\n\r\n"),
        _say(b"HTTP/1.1 200 OK\r\n\r\nsurprise"),
        _say(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 70_000 + b"\r\n\r\n"),
    ],
    ids=["eof", "reset", "reset at once", "smtp", "too early", "endless"],
)
def test_a_broken_proxy_is_a_connect_error(script: Script) -> None:
    """Whatever a proxy does, the caller sees a ConnectError."""
    with RawServer(script) as proxy, pytest.raises(ConnectError):
        connect("ws://127.0.0.1:9/", proxy=f"http://127.0.0.1:{proxy.port}")


def test_a_proxy_that_resets_once_does_not_end_a_live_stream() -> None:
    """After a reconnect that the proxy reset, the stream tries again and is live."""
    cut = threading.Event()

    def first(peer: Peer) -> None:
        peer.greet()
        cut.wait(PATIENCE)

    with (
        RawServer(first, live) as server,
        RawServer(_tunnel(server.port), _reset, _tunnel(server.port)) as proxy,
        connect(server.endpoint, proxy=f"http://127.0.0.1:{proxy.port}") as connection,
    ):
        cut.set()
        wait_for(connection, "disconnected")
        assert wait_for(connection, "connected").number == 2


def test_a_proxy_of_the_environment_needs_trust_env(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy variables are ignored unless the client trusts the environment."""
    with RawServer(live) as server, RawServer(_tunnel(server.port)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        connect(server.endpoint).close()
        assert len(proxy.peers) == 0
        connect(server.endpoint, trust_env=True).close()
        assert len(proxy.peers) == 1


def test_the_environment_may_exempt_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """no_proxy is heeded where the environment is trusted."""
    with RawServer(live) as server, RawServer(drain) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        connect(server.endpoint, trust_env=True).close()
        assert proxy.peers == []


def test_socks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy is a ConfigurationError, given or found in the environment."""
    with pytest.raises(ConfigurationError, match="socks5 proxies are not supported"):
        make_client("ws://127.0.0.1:9/", proxy="socks5://127.0.0.1:1080")
    monkeypatch.setenv("all_proxy", "socks5h://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match="socks5h proxies are not supported"):
        connect("ws://127.0.0.1:9/", trust_env=True)
