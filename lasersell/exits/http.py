"""
HTTP over connections that stay open, with time-outs that hold; no retries.

urllib3 keeps the connections. What it leaves open is closed here: the name, TCP and
TLS share the connect time-out, all reads of one response share one deadline, a
response is bounded in size, and the path and query of a URL, which with many
providers carry the key, are in no log line and no error.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

import attrs
import msgspec
from urllib3 import HTTPConnectionPool, Timeout, exceptions
from urllib3.connection import HTTPConnection
from urllib3.response import BaseHTTPResponse

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.errors import ConfigurationError, ConnectError, ConnectTimeoutError
from lasersell.stream.dial import connect_tcp, default_context, start_tls
from lasersell.stream.options import Secret, is_loopback
from lasersell.stream.wakeup import Wakeup

__all__ = ["Endpoint", "HttpFailure", "HttpResponse", "check_url"]

RESPONSE_LIMIT = 8 * 1024 * 1024
"""Most bytes of a response body that are taken."""
IDLE_CONNECTIONS = 32
"""Most connections that are kept open to one endpoint."""
SHORTEST_SECRET = 8
"""Fewer characters, such as a path ``/fast``, are no secret."""

_OWN_TARGET = "/"


class HttpFailure(Exception):
    """
    No response came.

    Attributes:
        was_sent: Whether the server may have seen the request.
        timed_out: Whether the time was up, rather than the connection broken.
    """

    def __init__(self, text: str, *, was_sent: bool, timed_out: bool) -> None:
        super().__init__(text)
        self.was_sent = was_sent
        self.timed_out = timed_out


@attrs.frozen
class HttpResponse:
    """A response, whole."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes = attrs.field(repr=False)

    @property
    def is_ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    def content(self) -> Any:
        """Return the body as decoded JSON, else as text."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self.body.decode("utf-8", errors="replace")

    def retry_after(self, clock: Clock = SYSTEM_CLOCK) -> float | None:
        """Return the seconds of ``Retry-After``, also where it is a date."""
        value = self.headers.get("retry-after", "")
        if value.isascii() and value.isdecimal():
            return float(value)
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - clock.wall_ms() / 1000)


def check_url(url: Any, name: str, *, allow_insecure: bool = False) -> SplitResult:
    """
    Return an HTTP URL in parts.

    Raises:
        ConfigurationError: It is none, or would send what it carries unencrypted
            over a network. The text does not repeat the URL, which may hold a key.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{name} must be an https:// URL with a host")
    if parts.username or parts.password:
        raise ConfigurationError(f"{name} must not carry a user name or password")
    if any(c.isspace() or not c.isprintable() or not c.isascii() for c in url):
        raise ConfigurationError(
            f"{name} has white space or a character that no URL can carry; copy it again"
        )
    if parts.scheme == "http" and not (allow_insecure or is_loopback(parts.hostname)):
        raise ConfigurationError(
            f"{name} would send requests to {parts.hostname} unencrypted; use https://, "
            "or pass allow_insecure=True if the network is yours"
        )
    return parts


def _split(url: Any) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except (ValueError, TypeError, AttributeError):
        return None
    return parts if isinstance(url, str) else None


class Endpoint:
    """
    One URL, and the open connections to its host. May be used from any thread.

    A forked child makes its own connections.

    Args:
        url: An ``https://`` URL; ``http://`` only to a loopback address.
        name: What it is, for errors, such as ``base_url``.
        connect_timeout: Seconds for name, TCP and TLS together.
        secret_headers: Sent with each request, such as the key.
        ssl_context: A verifying context of your own.
        allow_insecure: Whether to use ``http://`` to any address.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        connect_timeout: float,
        secret_headers: Mapping[str, Secret] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
    ) -> None:
        parts = check_url(url, name, allow_insecure=allow_insecure)
        if ssl_context is not None and ssl_context.verify_mode != ssl.CERT_REQUIRED:
            raise ConfigurationError("ssl_context does not verify certificates")
        self.host = parts.hostname or ""
        """The host, which is no secret."""
        self.base_path = parts.path.rstrip("/")
        """The path that the URL itself has."""
        self._is_tls = parts.scheme == "https"
        self._port = parts.port
        query = f"?{parts.query}" if parts.query else ""
        self._own_target = Secret((parts.path or "/") + query)
        self._secret_headers = dict(secret_headers or {})
        self._context = ssl_context
        self._connect_timeout = connect_timeout
        self._pid = os.getpid()
        self._pool = self._new_pool()

    def __repr__(self) -> str:
        return f"Endpoint({self.host!r})"

    def _new_pool(self) -> HTTPConnectionPool:
        kind = _TlsPool if self._is_tls else _Pool
        return kind(
            self.host,
            self._port,
            maxsize=IDLE_CONNECTIONS,
            own_target=self._own_target,
            context=self._context,
        )

    def _current_pool(self) -> HTTPConnectionPool:
        # Parent and child writing to one connection would read each other's answers.
        # The parent's pool is dropped untouched: its lock may have been held.
        pid = os.getpid()
        if pid != self._pid:
            self._pool = self._new_pool()
            self._pid = pid
        return self._pool

    def request(
        self,
        method: str,
        *,
        timeout: float,
        path: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """
        Send one request and return the response, whatever its status.

        Blocks for ``timeout`` seconds at most. Redirects are not followed.

        Args:
            method: Such as ``POST``.
            timeout: Seconds from the connect to the last byte of the response.
            path: Path and query, no secret in them; None is the URL's own.
            body: What to send.
            headers: Beside the secret ones and those that HTTP itself needs.

        Raises:
            HttpFailure: No complete response came.
        """
        response: BaseHTTPResponse | None = None
        try:
            response = self._current_pool().urlopen(
                method,
                path or _OWN_TARGET,
                body=body,
                headers=self._all_headers(headers),
                retries=False,
                redirect=False,
                timeout=Timeout(
                    connect=self._connect_timeout, total=max(timeout, 0.001)
                ),
                preload_content=False,
                decode_content=False,
            )
            content = self._read(response)
        except (exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            if response is not None:
                response.close()
            raise self._failure(error) from None
        except BaseException:
            # Half a response is left in the connection.
            if response is not None:
                response.close()
            raise
        found = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, found, self._without_secrets(content))

    def _all_headers(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        secret = {name: s.reveal() for name, s in self._secret_headers.items()}
        return {**(headers or {}), **secret}

    def _without_secrets(self, content: bytes) -> bytes:
        # Some servers repeat a wrong key or the path, and bodies end up in errors.
        for secret in (self._own_target, *self._secret_headers.values()):
            text = secret.reveal().encode("latin-1")
            if len(text) >= SHORTEST_SECRET and text in content:
                content = content.replace(text, b"[secret]")
        return content

    def _read(self, response: BaseHTTPResponse) -> bytes:
        content = bytearray()
        while chunk := response.read(65536):
            content += chunk
            if len(content) > RESPONSE_LIMIT:
                raise exceptions.HTTPError(
                    f"the response is over {RESPONSE_LIMIT} bytes"
                )
        response.release_conn()
        return bytes(content)

    def _failure(self, error: Exception) -> HttpFailure:
        # Texts of urllib3 may repeat the URL, so only its kind of error is told.
        cause = error.__cause__
        if isinstance(cause, ConnectError):
            late = isinstance(cause, ConnectTimeoutError)
            return HttpFailure(str(cause), was_sent=False, timed_out=late)
        if isinstance(error, exceptions.TimeoutError):
            return HttpFailure(
                f"{self.host} did not answer in time", was_sent=True, timed_out=True
            )
        return HttpFailure(
            f"the exchange with {self.host} broke off ({_kind_of(error)})",
            was_sent=True,
            timed_out=False,
        )

    def close(self) -> None:
        """Close the connections that are idle; the others close once they are done."""
        self._current_pool().close()


def _kind_of(error: Exception) -> str:
    inner = error.args[-1] if error.args else None
    named = inner if isinstance(inner, Exception) else error
    return type(named).__name__


class _Response(http.client.HTTPResponse):
    """A response whose reads share what is left of the socket's time-out."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


class _TimedReader(io.RawIOBase):
    # The socket's own time-out starts anew with each byte that trickles in.
    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = Deadline(sock.gettimeout())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline.remaining()
        if left == 0:
            raise TimeoutError("the response did not come in time")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    def __init__(
        self,
        *args: Any,
        own_target: Secret,
        context: ssl.SSLContext | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.response_class = _Response
        self._own_target = own_target
        self._context = context

    def connect(self) -> None:
        deadline = Deadline(self.timeout)
        wakeup = Wakeup()
        try:
            sock = self._open(wakeup, deadline)
        except ConnectError as error:
            raise exceptions.NewConnectionError(self, "no connection") from error
        finally:
            wakeup.close()
        sock.settimeout(self.timeout)
        self.sock = sock

    def _open(self, wakeup: Wakeup, deadline: Deadline) -> socket.socket:
        return connect_tcp(self.host, self.port, wakeup, deadline)

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        # Later than urllib3 logs or keeps the target, so that it has only "/".
        target = self._own_target.reveal() if url == _OWN_TARGET else url
        super().putrequest(method, target, *args, **kwargs)


class _TlsConnection(_Connection):
    # As urllib3 does it itself: http.client says it is of the instance.
    default_port: ClassVar[int] = 443  # type: ignore[misc]

    def _open(self, wakeup: Wakeup, deadline: Deadline) -> socket.socket:
        sock = super()._open(wakeup, deadline)
        context = self._context or default_context()
        return start_tls(sock, context, self.host, wakeup, deadline)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPConnectionPool):
    scheme = "https"
    ConnectionCls = _TlsConnection
