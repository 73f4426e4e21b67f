"""
From a host name to a connected, verified socket, under one deadline.

websocket-client's own connect has no overall deadline, gives up on an address
family that times out, trusts proxy variables half, and builds a TLS context
each time; so the socket is made here and handed to it.
"""

from __future__ import annotations

import base64
import errno
import functools
import hashlib
import os
import select
import socket
import ssl
import traceback
from collections import deque
from typing import Any
from urllib.parse import SplitResult, unquote

from lasersell._clock import Deadline
from lasersell._threads import close_in_child, next_number, no_fork, start_thread
from lasersell.errors import (
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    MissingExtraError,
    TlsError,
)
from lasersell.stream.options import StreamOptions, check_proxy
from lasersell.stream.wakeup import (
    Answer,
    Interrupted,
    Wakeup,
    poll_ms,
    wait_readable,
    wait_writable,
)

__all__ = [
    "DeadlineSocket",
    "ResponseHead",
    "connect_tcp",
    "default_context",
    "dial",
    "find_proxy",
    "resolve",
    "start_tls",
]

Address = tuple[Any, ...]
NameAnswer = list[Address] | OSError

STAGGER = 0.25
"""Seconds until the next address is tried beside one that does not answer."""
HEAD_LIMIT = 65536
"""Most bytes of an HTTP response head, or of an error body, that are taken."""
UNANSWERED_AFTER_MS = 20_000
"""TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged."""


def dial(options: StreamOptions, wakeup: Wakeup, deadline: Deadline) -> socket.socket:
    """
    Return a connected, non-blocking socket to the endpoint, TLS done.

    Blocks until ``deadline`` at most.

    Raises:
        ConnectError: The name, the network, the proxy or TLS failed; see its subclasses.
        Interrupted: ``wakeup`` called it off.
    """
    url = options.url
    host, secure = url.hostname or "", url.scheme == "wss"
    port = url.port or (443 if secure else 80)
    proxy = find_proxy(options, host)
    if proxy is None:
        sock = connect_tcp(host, port, wakeup, deadline)
    else:
        sock = connect_tcp(proxy.hostname or "", proxy.port or 80, wakeup, deadline)
    try:
        if proxy is not None:
            _tunnel(sock, proxy, host, port, wakeup, deadline)
        if not secure:
            return sock
        context = options.ssl_context or default_context()
        tls = start_tls(sock, context, host, wakeup, deadline)
    except BaseException:
        sock.close()
        raise
    if options.spki_pins is not None:
        try:
            _check_pins(tls, options.spki_pins)
        except BaseException:
            tls.close()
            raise
    return tls


# Names and addresses


def resolve(host: str, port: int, wakeup: Wakeup, deadline: Deadline) -> list[Address]:
    """
    Return the addresses of a host, as ``getaddrinfo`` does; blocks until ``deadline``.

    Raises:
        ConnectError: The name cannot be resolved, or was not in time.
        Interrupted: ``wakeup`` called it off.
    """
    # getaddrinfo has no time-out and cannot be interrupted, so it gets a thread
    # of its own, which may outlive us and touches nothing but its answer.
    answer: Answer[NameAnswer] = Answer()

    def look_up() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.put(error)
        except UnicodeError as error:
            answer.put(OSError(f"not a valid host name ({error})"))

    try:
        start_thread(f"lasersell-dns-{next_number()}", look_up)
    except RuntimeError as error:
        raise ConnectError(
            f"no thread can be started to resolve {host}: {error}"
        ) from error
    try:
        found = wakeup.wait_for(answer, deadline)
    except ConnectTimeoutError:
        raise ConnectTimeoutError(
            f"the name {host} was not resolved in time; check DNS and the network"
        ) from None
    if isinstance(found, OSError):
        raise ConnectError(
            f"the name {host} cannot be resolved ({found}); check the endpoint and DNS"
        ) from found
    return found


def connect_tcp(
    host: str, port: int, wakeup: Wakeup, deadline: Deadline
) -> socket.socket:
    """
    Return a connected, non-blocking socket; blocks until ``deadline`` at most.

    Raises:
        ConnectError: No address of the host took the connection.
        Interrupted: ``wakeup`` called it off.
    """
    race = _AddressRace(resolve(host, port, wakeup, deadline), wakeup, deadline)
    try:
        return race.run()
    except ConnectTimeoutError:
        raise ConnectTimeoutError(
            f"no address of {host}:{port} answered in time; is the server up, "
            "and does a firewall let you through?"
        ) from race.error
    except ConnectError:
        raise ConnectError(
            f"cannot connect to {host}:{port} ({race.error}); is the server up?"
        ) from race.error
    finally:
        race.close()


class _AddressRace:
    """Tries addresses one after the other, each 250 ms after the last, until one connects."""

    def __init__(
        self, addresses: list[Address], wakeup: Wakeup, deadline: Deadline
    ) -> None:
        self.error: OSError | None = None
        self._waiting = deque(_interleave(addresses))
        self._trying: dict[int, socket.socket] = {}
        self._wakeup = wakeup
        self._deadline = deadline
        self._poller = select.poll()
        self._poller.register(wakeup, select.POLLIN)

    def run(self) -> socket.socket:
        next_start = self._deadline.within(0)
        while True:
            if self._wakeup.called_off:
                raise Interrupted
            if self._waiting and (not self._trying or next_start.has_passed()):
                winner = self._start(self._waiting.popleft())
                if winner is not None:
                    return winner
                next_start = self._deadline.within(STAGGER)
                continue
            if not self._trying:
                raise ConnectError("every address failed")
            if self._deadline.has_passed():
                raise ConnectTimeoutError("no address answered")
            wait = next_start if self._waiting else self._deadline
            for fd, _ in self._poller.poll(poll_ms(wait.remaining())):
                winner = self._look(fd)
                if winner is not None:
                    return winner

    def _start(self, address: Address) -> socket.socket | None:
        family, kind, protocol, _, target = address
        try:
            sock = _make_socket(family, kind, protocol)
        except OSError as error:
            self.error = error
            return None
        problem = sock.connect_ex(target)
        if problem == 0:
            return sock
        if problem in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            self._trying[sock.fileno()] = sock
            self._poller.register(sock, select.POLLOUT)
        else:
            self.error = OSError(problem, os.strerror(problem))
            sock.close()
        return None

    def _look(self, fd: int) -> socket.socket | None:
        if fd == self._wakeup.fileno():
            self._wakeup.clear()
            return None
        self._poller.unregister(fd)
        sock = self._trying.pop(fd)
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem == 0:
            return sock
        self.error = OSError(problem, os.strerror(problem))
        sock.close()
        return None

    def close(self) -> None:
        for sock in self._trying.values():
            sock.close()


def _interleave(addresses: list[Address]) -> list[Address]:
    """Return the addresses with the two families taking turns, the first one's first."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    other = [a for a in addresses if a[0] != addresses[0][0]]
    mixed: list[Address] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed


def _make_socket(family: int, kind: int, protocol: int) -> socket.socket:
    with no_fork:
        sock = socket.socket(family, kind, protocol)
        close_in_child(sock)
    try:
        sock.setblocking(False)
        _tune(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", UNANSWERED_AFTER_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


# Proxies


def find_proxy(options: StreamOptions, host: str) -> SplitResult | None:
    """Return the proxy on the way to a host, of the options or the environment."""
    if options.proxy is not None:
        return check_proxy(options.proxy)
    if not options.trust_env:
        return None
    # Costs as much to import as the rest of the package; few need it.
    import urllib.request  # noqa: PLC0415

    proxies = urllib.request.getproxies_environment()
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
    if bypass(host, proxies):
        return None
    scheme = "https" if options.url.scheme == "wss" else "http"
    proxy = proxies.get(scheme) or proxies.get("all")
    return check_proxy(proxy) if proxy else None


def _tunnel(
    sock: socket.socket,
    proxy: SplitResult,
    host: str,
    port: int,
    wakeup: Wakeup,
    deadline: Deadline,
) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(
            f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}"
        )
    stream = DeadlineSocket(sock, wakeup, deadline)
    name = f"the proxy {proxy.hostname}:{proxy.port or 80}"
    try:
        stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = stream.read_head()
    except ConnectTimeoutError:
        raise ConnectTimeoutError(f"{name} did not answer in time") from None
    except ConnectError as error:
        raise ConnectError(f"{name}: {error}") from error
    except OSError as error:
        raise ConnectError(f"{name} broke the connection: {error}") from error
    if head.status != 200:
        raise ConnectError(f"{name} refused to connect to {target}: HTTP {head.status}")
    if stream.buffer:
        raise ConnectError(
            f"{name} sent bytes before the server could; it is no HTTP proxy"
        )


# TLS


@functools.lru_cache(maxsize=1)
def default_context() -> ssl.SSLContext:
    """Return the one verifying TLS context of this process."""
    # Loading the system's certificates takes tens of milliseconds, which a
    # reconnect must not spend; an SSLKEYLOGFILE in the environment is ignored.
    context = ssl.create_default_context()
    if hasattr(context, "keylog_filename"):
        context.keylog_filename = None  # type: ignore[assignment]
    return context


def start_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    host: str,
    wakeup: Wakeup,
    deadline: Deadline,
) -> ssl.SSLSocket:
    """
    Do the TLS handshake on a non-blocking socket, which is closed if it fails.

    Raises:
        TlsError: The certificate is not valid, or this is no TLS endpoint.
        ConnectError: The peer went away, or did not finish in time.
        Interrupted: ``wakeup`` called it off.
    """
    try:
        with no_fork:
            tls = context.wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
            close_in_child(tls)
        try:
            _shake_hands(tls, wakeup, deadline)
        except BaseException:
            tls.close()
            raise
    except (OSError, ValueError) as error:
        _close_half_made(error)
        raise _map_tls_error(error, host) from error
    return tls


def _close_half_made(error: Exception) -> None:
    """
    Close the TLS socket that raised an error while it was being made.

    ``wrap_socket`` takes the descriptor over, and leaves it open if the peer's reset
    comes at that moment; then only the frames of the traceback know the socket.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        half_made = frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket):
            half_made.close()


def _shake_hands(tls: ssl.SSLSocket, wakeup: Wakeup, deadline: Deadline) -> None:
    while True:
        try:
            tls.do_handshake()
            return
        except ssl.SSLWantReadError:
            wait_readable(tls, wakeup, deadline)
        except ssl.SSLWantWriteError:
            wait_writable(tls, wakeup, deadline)


def _map_tls_error(error: Exception, host: str) -> ConnectError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(
            f"the certificate of {host} is not valid ({error.verify_message}); "
            "check the endpoint, the clock and the CA bundle"
        )
    if isinstance(error, ConnectTimeoutError):
        return ConnectTimeoutError(f"{host} did not finish the TLS handshake in time")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return ConnectError(f"{host} closed the connection during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        return TlsError(
            f"no TLS connection with {host} ({error.reason or error}); "
            "is this a TLS endpoint? use ws:// for one that is not"
        )
    return ConnectError(f"the TLS handshake with {host} failed: {error}")


def _check_pins(tls: ssl.SSLSocket, pins: frozenset[str]) -> None:
    # Only certificates that the verification used count: a server may append
    # any public certificate to the list it presents.
    if not pins.isdisjoint(_spki_hash(der) for der in _verified_chain(tls)):
        return
    raise TlsError(
        "no certificate of the server's verified chain matches a pin in spki_pins; either the "
        "server has new keys or someone is in between",
        pin_mismatch=True,
    )


def _verified_chain(tls: ssl.SSLSocket) -> list[bytes]:
    public = getattr(tls, "get_verified_chain", None)
    if public is not None:  # since 3.13
        return list(public())
    # The only way to the verified chain, as against the presented one, up to 3.12.
    chain = tls._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # noqa: SLF001
    encoding = ssl._ssl.ENCODING_DER  # type: ignore[attr-defined]  # noqa: SLF001
    return [certificate.public_bytes(encoding) for certificate in chain]


def _spki_hash(der: bytes) -> str:
    try:
        # The optional extra is needed by the few who pin.
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("spki_pins", "pins") from error
    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


# HTTP heads


class ResponseHead:
    """
    The status line and headers of an HTTP response.

    Raises:
        ConnectError: It is no HTTP response.
    """

    def __init__(self, block: bytes) -> None:
        lines = block.decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/") or not (
            len(status) == 3 and status.isdecimal()
        ):
            raise ConnectError(
                "the server did not answer in HTTP; is this the right port?"
            )
        self.status = int(status)
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()

    def retry_after(self) -> float | None:
        """Return the seconds of ``Retry-After``; None for a date or anything else."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isascii() and value.isdecimal() else None


class DeadlineSocket:
    """
    A non-blocking socket as if blocking, under one deadline, in bounded memory.

    Args:
        sock: Connected, non-blocking.
        wakeup: What calls a wait off.
        deadline: When every wait ends.
    """

    def __init__(self, sock: socket.socket, wakeup: Wakeup, deadline: Deadline) -> None:
        self.buffer = b""
        """Bytes that were read and not yet taken."""
        self._sock = sock
        self._wakeup = wakeup
        self._deadline = deadline

    def send_all(self, data: bytes) -> None:
        """Write everything."""
        while data:
            try:
                data = data[self._sock.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                wait_writable(self._sock, self._wakeup, self._deadline)
            except ssl.SSLWantReadError:
                wait_readable(self._sock, self._wakeup, self._deadline)

    def read_more(self) -> bool:
        """Add what comes next to the buffer; return False at the end of the stream."""
        while True:
            try:
                data = self._sock.recv(HEAD_LIMIT)
            except (BlockingIOError, ssl.SSLWantReadError):
                wait_readable(self._sock, self._wakeup, self._deadline)
            except ssl.SSLWantWriteError:
                wait_writable(self._sock, self._wakeup, self._deadline)
            else:
                self.buffer += data
                return bool(data)

    def read_head(self) -> ResponseHead:
        """
        Read up to the empty line and return what stands before it.

        Raises:
            ConnectError: The stream ended first, or the head is too large.
        """
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_LIMIT:
                raise ConnectError(f"the response head is over {HEAD_LIMIT} bytes")
            if not self.read_more():
                raise ConnectError("the server closed the connection without an answer")
        block, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if len(block) > HEAD_LIMIT:
            raise ConnectError(f"the response head is over {HEAD_LIMIT} bytes")
        return ResponseHead(block)

    def read_body(self, head: ResponseHead, limit: int) -> bytes:
        """Return what can be had of a response body, at most ``limit`` bytes."""
        length = head.headers.get("content-length", "")
        wanted = (
            min(int(length), limit) if length.isascii() and length.isdecimal() else 0
        )
        try:
            while len(self.buffer) < wanted and self.read_more():
                pass
        except (OSError, HandshakeError):
            pass
        return self.buffer[:wanted]
