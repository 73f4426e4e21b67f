"""
HTTP over connections that stay open, with time-outs that hold; no retries.

The standard library writes heads and bodies apart, and urllib3 adds its own work and
writes the path of each request, in which many providers have the key, to its log. So
requests are written here, in one packet, and only responses are parsed by the standard
library: the time from a signal to the submitted bytes is what exits are about.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs
import msgspec

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

_PORTS = {"http": 80, "https": 443}


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
    if parts is None or parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError(f"{name} must be an https:// URL with a host")
    if parts.username or parts.password:
        raise ConfigurationError(f"{name} must not carry a user name or password")
    if not _is_sendable(url) or " " in url:
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


def _is_sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()


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
        self._port = parts.port or _PORTS[parts.scheme]
        self._host_header = parts.netloc
        query = f"?{parts.query}" if parts.query else ""
        self._own_target = Secret((parts.path or "/") + query)
        self._secret_headers = dict(secret_headers or {})
        _check_headers(self._secret_headers, name)
        self._context = ssl_context
        self._connect_timeout = connect_timeout
        self._pid = os.getpid()
        self._is_closed = False
        # Its methods are atomic, so it needs no lock.
        self._idle: deque[_Connection] = deque()

    def __repr__(self) -> str:
        return f"Endpoint({self.host!r})"

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
        deadline = Deadline(timeout)
        connection = self._take() or self._connect(deadline)
        try:
            response = connection.exchange(
                method, self._written(method, path, body, headers or {}), deadline
            )
        except TimeoutError:
            connection.close()
            raise HttpFailure(
                f"{self.host} did not answer in time", was_sent=True, timed_out=True
            ) from None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # Without the cause, whose frames have the request with the key in it.
            raise HttpFailure(
                f"the exchange with {self.host} broke off ({_kind_of(error)})",
                was_sent=True,
                timed_out=False,
            ) from None
        except BaseException:
            # Half a response is left in it.
            connection.close()
            raise
        self._give_back(connection)
        return attrs.evolve(response, body=self._without_secrets(response.body))

    def _written(
        self,
        method: str,
        path: str | None,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> bytes:
        target = self._own_target.reveal() if path is None else path
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {self._host_header}",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
            *(f"{name}: {s.reveal()}" for name, s in self._secret_headers.items()),
        ]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join((*lines, "", "")).encode("latin-1") + (body or b"")

    def _without_secrets(self, content: bytes) -> bytes:
        # Some servers repeat a wrong key or the path, and bodies end up in errors.
        for secret in (self._own_target, *self._secret_headers.values()):
            text = secret.reveal().encode("latin-1")
            if len(text) >= SHORTEST_SECRET and text in content:
                content = content.replace(text, b"[secret]")
        return content

    # Connections

    def _take(self) -> _Connection | None:
        pid = os.getpid()
        if pid != self._pid:
            # Parent and child on one connection would read each other's answers.
            self._idle = deque()
            self._pid = pid
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.is_stale():
                return connection
            connection.close()

    def _connect(self, deadline: Deadline) -> _Connection:
        try:
            with contextlib.closing(Wakeup()) as wakeup:
                sock = self._open(wakeup, deadline.within(self._connect_timeout))
        except ConnectError as error:
            late = isinstance(error, ConnectTimeoutError)
            raise HttpFailure(str(error), was_sent=False, timed_out=late) from error
        return _Connection(sock)

    def _open(self, wakeup: Wakeup, deadline: Deadline) -> socket.socket:
        sock = connect_tcp(self.host, self._port, wakeup, deadline)
        if not self._is_tls:
            return sock
        context = self._context or default_context()
        return start_tls(sock, context, self.host, wakeup, deadline)

    def _give_back(self, connection: _Connection) -> None:
        if connection.is_spent or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        self._idle.append(connection)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close the connections that are idle; the others close once they are done."""
        self._is_closed = True
        while (connection := self._take()) is not None:
            connection.close()


def _kind_of(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return type(error).__name__ if number is None else os.strerror(number)


def _check_headers(headers: Mapping[str, Secret], name: str) -> None:
    for header, value in headers.items():
        if not _is_sendable(header) or not _is_sendable(value.reveal()):
            raise ConfigurationError(
                f"a header for {name} has a character that no HTTP header can carry"
            )


class _Connection:
    """One connection; for one thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.is_spent = False
        """Whether the peer closes it after the response."""

    def is_stale(self) -> bool:
        """Tell whether the peer said something, or went away, while it was idle."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        return bool(poller.poll(0))

    def exchange(self, method: str, request: bytes, deadline: Deadline) -> HttpResponse:
        """
        Write a request and read the response.

        Raises:
            TimeoutError: The deadline passed.
            OSError: The connection broke.
            http.client.HTTPException: This is no response, or too large a one.
        """
        self._sock.settimeout(_left(deadline))
        self._sock.sendall(request)
        response = _Response(self._sock, method, deadline)
        try:
            response.begin()
            headers = {name.lower(): text for name, text in response.getheaders()}
            body = _read_all(response)
            self.is_spent = response.will_close
        finally:
            response.close()
        return HttpResponse(response.status, headers, body)

    def close(self) -> None:
        """Close it."""
        self._sock.close()


def _read_all(response: _Response) -> bytes:
    body = bytearray()
    while chunk := response.read(65536):
        body += chunk
        if len(body) > RESPONSE_LIMIT:
            raise http.client.HTTPException(f"over {RESPONSE_LIMIT} bytes")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(body)


def _left(deadline: Deadline) -> float | None:
    left = deadline.remaining()
    if left == 0:
        raise TimeoutError("the time is up")
    return left


class _Response(http.client.HTTPResponse):
    """A response whose reads share one deadline."""

    def __init__(self, sock: socket.socket, method: str, deadline: Deadline) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach(), deadline))


class _TimedReader(io.RawIOBase):
    # The socket's own time-out starts anew with each byte that trickles in.
    def __init__(
        self, sock: socket.socket, raw: io.RawIOBase, deadline: Deadline
    ) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
