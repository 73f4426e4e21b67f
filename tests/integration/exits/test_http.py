from __future__ import annotations

import logging
import ssl
import threading

import pytest
import trustme

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConfigurationError
from lasersell.exits import http
from lasersell.exits.http import RESPONSE_LIMIT, Endpoint, HttpFailure
from lasersell.stream.options import Secret
from tests.faults.processes import run_in_fork
from tests.integration.exits.server import Answer, running
from tests.patience import PATIENCE

FAST = 0.8
"""Seconds of a time-out that a test waits for."""


def endpoint(
    url: str,
    *,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Endpoint:
    """Return the end point of a server."""
    secrets = {name: Secret(value) for name, value in (headers or {}).items()}
    return Endpoint(
        url,
        name="url",
        connect_timeout=5,
        secret_headers=secrets,
        ssl_context=context,
    )


def test_many_requests_share_one_connection() -> None:
    """Fifty requests in a row open one TCP connection."""
    with running(Answer({"a": 1})) as server:
        end = endpoint(server.url)
        for _ in range(50):
            response = end.request("POST", timeout=5, body=b"{}")
            assert (response.status, response.content()) == (200, {"a": 1})
        assert server.connections == 1
        end.close()


def test_requests_at_once_have_connections_of_their_own() -> None:
    """Threads do not wait for each other; afterwards the connections are kept."""
    together = threading.Barrier(4)

    def wait_for_all(_: object) -> Answer:
        together.wait(5)
        return Answer()

    with running(script=wait_for_all) as server:
        end = endpoint(server.url)
        for _ in range(2):
            threads = [
                threading.Thread(
                    target=end.request, args=("GET",), kwargs={"timeout": 5}
                )
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert server.connections == 4
        end.close()


def test_method_path_headers_and_body_arrive() -> None:
    """What is sent is what arrives; without a path it is the URL's own."""
    with running() as server:
        end = endpoint(f"{server.url}/own?api-key=abc", headers={"x-key": "secret"})
        end.request("POST", timeout=5, body=b"body", headers={"x-other": "1"})
        end.request("DELETE", timeout=5, path="/other?a=b")
        first, second = server.requests
        assert (first.method, first.path, first.body) == (
            "POST",
            "/own?api-key=abc",
            b"body",
        )
        assert first.headers["x-key"] == "secret"
        assert first.headers["x-other"] == "1"
        assert (second.method, second.path) == ("DELETE", "/other?a=b")
        end.close()


def test_a_redirect_is_not_followed() -> None:
    """Neither the key nor the request goes to an address that a response names."""
    with running(
        Answer(status=307, headers={"location": "http://127.0.0.1:1/"})
    ) as server:
        end = endpoint(server.url)
        assert end.request("GET", timeout=5).status == 307
        assert len(server.requests) == 1
        end.close()


def failure(server_url: str, timeout: float = FAST) -> HttpFailure:
    """Return why a request got no response."""
    end = endpoint(server_url)
    try:
        with pytest.raises(HttpFailure) as caught:
            end.request("GET", timeout=timeout)
    finally:
        end.close()
    return caught.value


@pytest.mark.parametrize("answer", [Answer(hangs=True), Answer(trickles=True)])
def test_the_total_time_out_holds(answer: Answer) -> None:
    """A server that is silent, or sends a byte now and then, does not hold us."""
    with running(answer) as server:
        start = SYSTEM_CLOCK.monotonic()
        found = failure(server.url)
        took = SYSTEM_CLOCK.monotonic() - start
    assert (found.was_sent, found.timed_out) == (True, True)
    assert FAST * 0.9 < took < FAST + PATIENCE / 2


def test_a_body_that_stops_short_does_not_hold_us() -> None:
    """The deadline is over the body too, where less of it comes than was announced."""
    with running(Answer(b"x", withheld=1)) as server:
        found = failure(server.url, timeout=2 * FAST)
    assert (found.was_sent, found.timed_out) == (True, True)


def test_a_connection_that_breaks_off_is_told_apart_from_a_late_one() -> None:
    """A server that hangs up may have seen the request, and was not late."""
    with running(Answer(breaks_off=True)) as server:
        found = failure(server.url, 5)
    assert (found.was_sent, found.timed_out) == (True, False)


def test_a_refused_connection_was_never_sent() -> None:
    """Where nobody listens nothing was sent, so that trying again is safe."""
    with running() as server:
        url = server.url
    found = failure(url, 5)
    assert (found.was_sent, found.timed_out) == (False, False)
    assert "is the server up" in str(found)


def test_the_connect_time_out_is_its_own() -> None:
    """The connect time-out ends a connect before the total one; nothing was sent."""
    with running() as server:
        end = Endpoint(server.url, name="url", connect_timeout=0.000001)
        with pytest.raises(HttpFailure) as caught:
            end.request("GET", timeout=30)
        assert (caught.value.was_sent, caught.value.timed_out) == (False, True)
        assert server.requests == []
        end.close()


def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    """A keep-alive connection that the server closed does not fail the next request."""
    with running(Answer(closes=True)) as server:
        end = endpoint(server.url)
        for _ in range(3):
            assert end.request("GET", timeout=5).status == 200
            server.wait_for_a_close()
        assert server.connections == 3
        end.close()


def test_a_response_without_end_is_cut() -> None:
    """A response over the limit is an error, not all the memory."""
    with running(Answer(bytes(RESPONSE_LIMIT + 1))) as server:
        found = failure(server.url, 20)
    assert "broke off" in str(found)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive!",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000,
    ],
    ids=["nothing", "noise", "status", "short", "chunk", "many headers", "long header"],
)
def test_what_is_no_response_is_a_failure(raw: bytes) -> None:
    """A server that does not speak HTTP, or stops in the middle, is an error of ours."""
    with running(Answer(raw=raw)) as server:
        found = failure(server.url, 5)
    assert (found.was_sent, found.timed_out) == (True, False)


def test_a_chunked_response_is_read_whole() -> None:
    """A response may come in chunks, and its connection is used again."""
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with running(Answer(raw=raw + b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")) as server:
        end = endpoint(server.url)
        assert end.request("GET", timeout=5).content() == [1, 2]
        end.close()


def test_an_interrupted_request_leaves_nothing_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After Ctrl-C in the middle the next request does not read the old response."""
    read_all = http._read_all

    def interrupt(_: object) -> bytes:
        monkeypatch.setattr(http, "_read_all", read_all)
        raise KeyboardInterrupt

    with running(Answer({"old": 1}), Answer({"new": 1})) as server:
        end = endpoint(server.url)
        monkeypatch.setattr(http, "_read_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            end.request("GET", timeout=5)
        assert end.request("GET", timeout=5).content() == {"new": 1}
        assert server.connections == 2
        end.close()


@pytest.mark.parametrize(
    "header", [{"x": "a\r\nb: c"}, {"x\n": "a"}, {"x": "schlüssel"}]
)
def test_a_header_that_would_be_two_is_refused(header: dict[str, str]) -> None:
    """A key with a line break does not become a second header; nor is it repeated."""
    with pytest.raises(ConfigurationError, match="header") as caught:
        endpoint("https://localhost", headers=header)
    assert "schl" not in str(caught.value)


def test_secrets_are_taken_out_of_what_the_server_repeats() -> None:
    """A server that echoes the key or the path does not get them into our errors."""
    body = b'{"error": "bad key my-secret-key for /path/secret?k=v"}'
    with running(Answer(body)) as server:
        end = endpoint(
            f"{server.url}/path/secret?k=v", headers={"x-key": "my-secret-key"}
        )
        content = end.request("GET", timeout=5).content()
        assert content == {"error": "bad key [secret] for [secret]"}
        end.close()


def test_secrets_are_in_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is logged on the way, the URL and the headers are not."""
    caplog.set_level(logging.DEBUG)
    with running(Answer(headers={"bad header": "x"}, closes=True)) as server:
        end = endpoint(
            f"{server.url}/hidden?api-key=hidden", headers={"x-key": "hidden"}
        )
        end.request("POST", timeout=5, body=b"{}")
        end.close()
    assert failure(f"{server.url}/hidden?api-key=hidden") is not None
    assert "hidden" not in caplog.text
    assert "hidden" not in repr(end)


def test_a_forked_child_makes_its_own_connections() -> None:
    """Parent and child would read each other's answers on one connection."""
    with running(Answer({"a": 1})) as server:
        end = endpoint(server.url)
        end.request("GET", timeout=5)

        def request() -> dict[str, int]:
            try:
                return {"status": end.request("GET", timeout=5).status}
            finally:
                end.close()

        assert run_in_fork(request) == {"status": 200}
        end.request("GET", timeout=5)
        assert server.connections == 2
        end.close()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS contexts of a server and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def test_tls_connections_are_kept_too(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Ten requests over TLS shake hands once."""
    with running(Answer({"a": 1}), context=contexts[0]) as server:
        end = endpoint(server.url, context=contexts[1])
        for _ in range(10):
            assert end.request("GET", timeout=5).content() == {"a": 1}
        assert server.connections == 1
        assert server.requests[0].headers["host"] == f"localhost:{server.port}"
        end.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """TLS is verified; nothing is sent to a server that cannot prove who it is."""
    with running(context=contexts[0]) as server:
        found = failure(server.url, 5)
        assert (found.was_sent, found.timed_out) == (False, False)
        assert "certificate" in str(found)
        assert server.requests == []


def test_a_context_that_does_not_verify_is_refused() -> None:
    """Verification cannot be turned off by the way."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="does not verify"):
        endpoint("https://localhost:1", context=context)
