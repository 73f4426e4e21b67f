from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from lasersell.errors import (
    ConfigurationError,
    LaserSellError,
    RelayAuthenticationError,
    RelayConnectError,
    RelayTlsError,
    RelayVersionError,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay, RelaySession
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.relay.redis_server import free_port, running_redis
from tests.unit.session.frames import WALLET

pytestmark = pytest.mark.slow

SECRET = "a-made-up-password"


def _subscribe(url: str, **options: Any) -> None:
    RelaySession.connect(url, redis_options=options).close()


def _publish(url: str, **options: Any) -> None:
    client = StreamClient("a-made-up-key", endpoint="ws://localhost:9")
    configure = StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0))
    relay = Relay(url, client, configure, redis_options=options)
    try:
        relay.start()
    finally:
        relay.close()


both = pytest.mark.parametrize("connect", [_subscribe, _publish])
Connect = Callable[..., None]


def _check(error: LaserSellError, *words: str) -> None:
    """Look at what the error says; never the password."""
    assert SECRET not in f"{error!s} {error!r}"
    for word in words:
        assert word in str(error)


@both
def test_a_wrong_password_is_said(connect: Connect, tmp_path: Path) -> None:
    """One error names the place and the cure, for no password and for a wrong one."""
    with running_redis(tmp_path / "redis", requirepass="the right one") as server:
        for url in (server.url, server.url.replace("//", f"//:{SECRET}@")):
            with pytest.raises(RelayAuthenticationError) as caught:
                connect(url)
            _check(caught.value, str(server.port), "user:password@")


@both
def test_a_redis_that_is_not_there_is_said(connect: Connect) -> None:
    """A wrong host or port is one error, that names it."""
    port = free_port()
    with pytest.raises(RelayConnectError) as caught:
        connect(f"redis://:{SECRET}@127.0.0.1:{port}/0")
    assert type(caught.value) is RelayConnectError
    _check(caught.value, f"127.0.0.1:{port}")


@both
@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        f"http://:{SECRET}@localhost/",
        f"redis://:{SECRET}@localhost:port",
        f"redis://:{SECRET}@localhost:6379/0?socket_timeout=soon",
        "unix://",
        None,
    ],
)
def test_what_is_no_url_is_said(connect: Connect, url: Any) -> None:
    """A URL that leads nowhere is refused before anything is connected."""
    with pytest.raises(ConfigurationError) as caught:
        connect(url)
    _check(caught.value, "Redis URL")


@pytest.mark.slow
@both
def test_tls_where_there_is_none_is_said(connect: Connect, tmp_path: Path) -> None:
    """A rediss:// URL of a Redis without TLS."""
    with (
        running_redis(tmp_path / "redis") as server,
        pytest.raises(RelayTlsError) as caught,
    ):
        connect(server.url.replace("redis://", f"rediss://:{SECRET}@"))
    _check(caught.value, str(server.port), "rediss:// only where")


@both
def test_no_tls_where_there_is_some_is_said(connect: Connect, tmp_path: Path) -> None:
    """A redis:// URL of a Redis with TLS; and the right URL is accepted."""
    folder = tmp_path / "redis"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    files = {
        "tls_cert_file": folder / "cert.pem",
        "tls_key_file": folder / "key.pem",
        "tls_ca_cert_file": folder / "ca.pem",
        "tls_auth_clients": "no",
    }
    port = free_port()
    with running_redis(folder, port=0, tls_port=port, answers_at=port, **files):
        with pytest.raises(RelayTlsError) as caught:
            connect(f"redis://:{SECRET}@127.0.0.1:{port}/0")
        _check(caught.value, "redis:// only where it does not")
        secure = f"rediss://127.0.0.1:{port}/0"
        with pytest.raises(RelayTlsError) as caught:
            connect(secure)
        _check(caught.value, "ssl_ca_certs")
        try:
            connect(secure, ssl_ca_certs=str(folder / "ca.pem"))
        except LaserSellError as error:
            pytest.fail(str(error))


class _Old(socketserver.StreamRequestHandler):
    """Answers like a Redis of years ago: OK, and INFO with its version."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            if not line.startswith(b"*"):
                continue
            parts = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                parts.append(self.rfile.read(size + 2)[:-2])
            about = b"# Server\r\nredis_version:5.0.14\r\n"
            answer = b"+OK\r\n"
            if parts[0].upper() == b"INFO":
                answer = b"$%d\r\n%s\r\n" % (len(about), about)
            self.wfile.write(answer)


@contextmanager
def _old_redis() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Old) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@both
def test_a_redis_that_is_too_old_is_said(connect: Connect) -> None:
    """The error has both versions."""
    with _old_redis() as port, pytest.raises(RelayVersionError) as caught:
        connect(f"redis://127.0.0.1:{port}/0")
    _check(caught.value, "5.0.14", "6.2", "upgrade")
    assert caught.value.version == "5.0.14"
