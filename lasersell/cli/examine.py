"""
What can be wrong between here and the stream, looked at step by step.

Each step uses the part of the library that a session uses, so what is said here is what
would happen there.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.cli.codes import FAILED, IN_USE, MISTAKE, NOT_ACCEPTED, STREAM_ENDED
from lasersell.cli.watched import NEVER_MET
from lasersell.errors import (
    AuthenticationError,
    ConnectTimeoutError,
    DecodeError,
    HandshakeError,
    LaserSellError,
    SessionInUseError,
    StreamError,
)
from lasersell.protocol.client import Configure
from lasersell.protocol.codec import decode_server_message
from lasersell.protocol.server import Limits, Pong, ServerError
from lasersell.session.exclusive import hold
from lasersell.stream.client import StreamClient
from lasersell.stream.dial import connect_tcp, dial, find_proxy, resolve
from lasersell.stream.frames import Opcode
from lasersell.stream.handshake import Greeting, Handshake, rejection
from lasersell.stream.options import StreamConfigure
from lasersell.stream.roundtrip import PendingPing, RoundTrips
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Wakeup

__all__ = ["Examination", "Finding", "Level", "failure_of", "look_at_key_file"]

Level = Literal["ok", "warning", "failure", "skipped"]

EXPIRES_SOON_DAYS = 14
SLOW_SEC = 0.5
CLOCK_OFF_MS = 1000
LISTEN_SEC = 0.5
"""Seconds after ``configure`` in which the server may reject it."""

_NOBODY = "11111111111111111111111111111111"
"""The wallet that is named when none is: the system program, which nobody holds."""


@attrs.frozen
class Finding:
    """What one step found."""

    check: str
    """What was looked at."""
    level: Level
    text: str
    advice: str | None = None
    code: int = FAILED
    """What to exit with, if this is a failure."""
    is_dead_end: bool = False
    """Whether the steps that go further down the road make no sense."""


def failure_of(check: str, error: Exception, code: int) -> Finding:
    """Return an error as a finding: what happened, and what to do about it."""
    text, _, advice = " ".join(str(error).split()).partition("; ")
    return Finding(check, "failure", text, advice or None, code, is_dead_end=True)


def look_at_key_file(check: str, path: Path) -> Finding:
    """Look at who may use a file that holds a key."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return Finding(
            check,
            "failure",
            f"cannot read {path}: {error.strerror}",
            "check the path, and whose file it is",
            MISTAKE,
        )
    if os.name == "posix" and mode & 0o077:
        return Finding(
            check,
            "warning",
            f"others may use {path} (mode {mode:o})",
            f"run: chmod 600 {path}",
        )
    return Finding(check, "ok", f"only you may use {path}")


class Examination:
    """
    The way to a stream, and its first second; a context manager.

    It opens one stream at most, and only while no other process holds that of the key.
    One thread uses it.

    Args:
        client: Where the stream is.
        wallets: Which wallets to configure; none tests everything but those.
        force: Whether to open a stream whoever else has one.
        timeout: Seconds for each step.
        clock: Where time comes from.
    """

    def __init__(
        self,
        client: StreamClient,
        wallets: tuple[str, ...] = (),
        *,
        force: bool = False,
        timeout: float = 10.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._options = client.options
        self._wallets = wallets
        self._configure = StreamConfigure(wallets or (_NOBODY,), NEVER_MET)
        self._force = force
        self._timeout = timeout
        self._clock = clock
        self._stack = contextlib.ExitStack()
        self._wakeup = Wakeup()
        self._stack.callback(self._wakeup.close)
        # What the steps leave to later ones.
        self._transport: Transport | None = None
        self._greeting: Greeting | None = None
        self._rejected: ServerError | None = None
        self._lost: LaserSellError | None = None
        self._round_trips = RoundTrips(clock)
        self._is_at_dead_end = False

    def __enter__(self) -> Examination:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look_at_road(self) -> Iterator[Finding]:
        """Look at the way to the server; blocks for a few time-outs at most."""
        yield from self._each(
            ("DNS", self._dns), ("TCP", self._tcp), ("TLS", self._tls)
        )

    def look_at_stream(self) -> Iterator[Finding]:
        """Look at the stream itself, unless the road is closed or it is in use."""
        yield from self._each(
            ("lock", self._lock),
            ("upgrade", self._upgrade),
            ("handshake", self._handshake),
            ("API key", self._key),
            ("wallets", self._wallet),
            ("round trip", self._round_trip),
            ("clock", self._clock_offset),
            ("limits", self._limits),
        )

    def _each(self, *steps: tuple[str, Callable[[], Finding]]) -> Iterator[Finding]:
        told = set()
        for name, step in steps:
            if name in told:
                continue
            if self._is_at_dead_end:
                yield Finding(name, "skipped", "not looked at")
                continue
            finding = step()
            told.add(finding.check)
            self._is_at_dead_end |= finding.is_dead_end
            yield finding

    # The road

    @property
    def _next_hop(self) -> tuple[str, int]:
        """The host to connect to: the server's, or the proxy's on the way there."""
        url = self._options.url
        proxy = find_proxy(self._options, url.hostname or "")
        if proxy is not None:
            return proxy.hostname or "", proxy.port or 80
        return url.hostname or "", url.port or (443 if url.scheme == "wss" else 80)

    def _dns(self) -> Finding:
        host, port = self._next_hop
        started = self._clock.monotonic()
        try:
            found = resolve(host, port, self._wakeup, Deadline(self._timeout))
        except LaserSellError as error:
            return failure_of("DNS", error, STREAM_ENDED)
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        if addresses == [host]:
            return Finding("DNS", "ok", f"{host} needs no look-up")
        return self._timed("DNS", f"{host} is {', '.join(addresses)}", started)

    def _tcp(self) -> Finding:
        host, port = self._next_hop
        started = self._clock.monotonic()
        try:
            sock = connect_tcp(host, port, self._wakeup, Deadline(self._timeout))
        except LaserSellError as error:
            return failure_of("TCP", error, STREAM_ENDED)
        took_from = sock.getpeername()[0]
        sock.close()
        return self._timed("TCP", f"{took_from} port {port} answers", started)

    def _tls(self) -> Finding:
        url = self._options.url
        if url.scheme == "ws":
            if self._options.allow_insecure:
                return Finding(
                    "TLS",
                    "warning",
                    "none: the API key goes out in the clear",
                    "use wss://",
                )
            return Finding("TLS", "ok", "none, and none is needed on this machine")
        started = self._clock.monotonic()
        try:
            sock = dial(self._options, self._wakeup, Deadline(self._timeout))
        except LaserSellError as error:
            return failure_of("TLS", error, STREAM_ENDED)
        with sock:
            assert isinstance(sock, ssl.SSLSocket), "that is what wss:// is"
            return self._judge_certificate(sock, started)

    def _judge_certificate(self, sock: ssl.SSLSocket, started: float) -> Finding:
        certificate = sock.getpeercert() or {}
        ends_at = ssl.cert_time_to_seconds(str(certificate.get("notAfter")))
        days = (ends_at - self._clock.wall_ms() / 1000) / 86_400
        text = (
            f"{sock.version()}, chain verified, certificate by {_issuer(certificate)}, "
            f"valid for {days:.0f} days"
        )
        if days < EXPIRES_SOON_DAYS:
            return Finding(
                "TLS", "warning", text, "the server's operator must renew it soon"
            )
        return self._timed("TLS", text, started)

    # The stream

    def _lock(self) -> Finding:
        if self._force:
            return Finding("lock", "warning", "not taken, because of --force")
        try:
            self._stack.enter_context(hold(self._options.api_key.reveal()))
        except SessionInUseError as error:
            who = "another process" if error.pid is None else f"process {error.pid}"
            return Finding(
                "lock",
                "warning",
                f"{who} holds the stream of this API key; it stays as it is",
                "look at it with `lasersell watch`, stop it, or pass --force",
                IN_USE,
                is_dead_end=True,
            )
        except LaserSellError as error:
            return failure_of("lock", error, MISTAKE)
        return Finding(
            "lock", "ok", "no other process here holds the stream of this key"
        )

    def _upgrade(self) -> Finding:
        transport = Transport(self._options, self._wakeup, self._clock)
        started = self._clock.monotonic()
        try:
            transport.open(Deadline(self._timeout))
        except StreamError as error:
            return _refused("upgrade", error)
        self._transport = transport
        self._stack.callback(_hang_up, transport)
        return self._timed("upgrade", "the server speaks WebSocket", started)

    def _handshake(self) -> Finding:
        assert self._transport is not None, "upgraded before"
        started = self._clock.monotonic()
        try:
            self._greeting = Handshake(
                self._transport,
                self._wakeup,
                self._told,
                grace=self._options.hello_grace,
                deadline=Deadline(self._timeout),
                clock=self._clock,
            ).run()
        except HandshakeError as error:
            self._is_at_dead_end = True
            if error.code is None or isinstance(error, AuthenticationError):
                return _refused("handshake", error)
            # Some servers look at what is configured before they greet.
            return self._rejection(error)
        except StreamError as error:
            return _refused("handshake", error)
        order = "hello_ok first, as the specification says"
        if self._greeting.hello_waited:
            order = "hello_ok only after configure, as the deployed service does"
        finding = self._timed("handshake", order, started)
        self._listen(self._transport, self._greeting)
        return finding

    def _told(self) -> Configure:
        return self._configure.message()

    def _listen(self, transport: Transport, greeting: Greeting) -> None:
        """Ping, and take what comes until the pong and any rejection must be here."""
        self._round_trips.greeted(greeting.hello)
        deadline = Deadline(self._timeout)
        enough = Deadline(LISTEN_SEC)
        messages: list[object] = list(greeting.early)
        ping = PendingPing()
        try:
            transport.post(Opcode.TEXT, self._round_trips.begin(ping))
            while True:
                for message in messages:
                    self._take(message)
                is_answered = self._round_trips.last is not None
                messages = _receive(transport, enough if is_answered else deadline)
        except ConnectTimeoutError:
            pass
        except StreamError as error:
            self._lost = error

    def _take(self, message: object) -> None:
        if isinstance(message, Pong):
            self._round_trips.answered(message)
        elif isinstance(message, ServerError):
            self._rejected = self._rejected or message

    def _key(self) -> Finding:
        if self._rejected is not None:
            error = rejection(self._rejected)
            if isinstance(error, AuthenticationError):
                return failure_of("API key", error, NOT_ACCEPTED)
        return Finding("API key", "ok", "the server took it")

    def _wallet(self) -> Finding:
        if self._rejected is not None:
            return self._rejection(rejection(self._rejected))
        if self._lost is not None:
            return failure_of("wallets", self._lost, STREAM_ENDED)
        if not self._wallets:
            return _NO_WALLET
        return Finding("wallets", "ok", f"registered: {', '.join(self._wallets)}")

    def _rejection(self, error: HandshakeError) -> Finding:
        """Return what is wrong with what we configured, by the words of the server."""
        if error.code != "wallet_not_registered":
            return failure_of("handshake", error, STREAM_ENDED)
        if not self._wallets:
            return _NO_WALLET
        return Finding(
            "wallets",
            "failure",
            f"the server says {error.code}: {error.message}",
            "register each wallet once: register_wallets in [run], or "
            "ExitApiClient.register_wallet",
        )

    def _round_trip(self) -> Finding:
        seconds = self._round_trips.last
        if seconds is None:
            return Finding(
                "round trip",
                "failure",
                "the server did not answer a ping",
                "if it stays that way, tell the service",
                STREAM_ENDED,
            )
        text = f"{seconds * 1000:.1f} ms"
        if seconds > SLOW_SEC:
            return Finding(
                "round trip",
                "warning",
                text,
                "run nearer to the server; exits reach you as late as that",
            )
        return Finding("round trip", "ok", text)

    def _clock_offset(self) -> Finding:
        offset = self._round_trips.clock_offset_ms
        assert offset is not None, "the greeting told the time"
        side = "ahead of" if offset > 0 else "behind"
        text = f"the server's is {abs(offset):.0f} ms {side} this machine's"
        if abs(offset) > CLOCK_OFF_MS:
            return Finding(
                "clock",
                "warning",
                text,
                "set the clock of this machine, with NTP; proofs of wallets need it right",
            )
        return Finding("clock", "ok", text)

    def _limits(self) -> Finding:
        assert self._greeting is not None, "greeted before"
        limits = self._greeting.hello.limits
        allowed = limits.max_wallets_per_session
        if allowed and len(self._wallets) > allowed:
            return Finding(
                "limits",
                "failure",
                f"{len(self._wallets)} wallets, and {allowed} are allowed",
                "name fewer wallets, or choose another tier",
            )
        return Finding("limits", "ok", _limits_in_words(limits))

    def _timed(self, check: str, text: str, started: float) -> Finding:
        took_ms = (self._clock.monotonic() - started) * 1000
        return Finding(check, "ok", f"{text} ({took_ms:.0f} ms)")


def _receive(transport: Transport, deadline: Deadline) -> list[object]:
    messages: list[object] = []
    for text in transport.recv_batch(deadline):
        with contextlib.suppress(DecodeError):
            messages.append(decode_server_message(text))
    return messages


def _hang_up(transport: Transport) -> None:
    transport.begin_close()
    transport.dispose()


def _refused(check: str, error: StreamError) -> Finding:
    if isinstance(error, AuthenticationError):
        return failure_of("API key", error, NOT_ACCEPTED)
    return failure_of(check, error, STREAM_ENDED)


_NO_WALLET = Finding(
    "wallets",
    "warning",
    "none was named, so none was looked at",
    "name yours with --wallet, LASERSELL_WALLET or --config",
)


def _issuer(certificate: object) -> str:
    """Return who issued a certificate, as ``getpeercert`` tells it."""
    names = {}
    if isinstance(certificate, dict):
        names = {name: value for ((name, value),) in certificate.get("issuer", ())}
    for key in ("organizationName", "commonName"):
        if key in names:
            return str(names[key])
    return "an unnamed issuer"


def _limits_in_words(limits: Limits) -> str:
    facts = (
        (limits.max_sessions_per_api_key, "sessions"),
        (limits.max_wallets_per_session, "wallets"),
        (limits.max_positions_per_wallet, "positions each"),
        (limits.max_positions_per_session, "in all"),
    )
    return ", ".join(f"{number} {what}" for number, what in facts if number)
