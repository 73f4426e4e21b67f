"""
Every error the library raises, as one tree.

* :exc:`LaserSellError`

  * :exc:`ConfigurationError` (also a :exc:`ValueError`)
  * :exc:`MissingExtraError` (also an :exc:`ImportError`)
  * :exc:`ConcurrencyError` (also a :exc:`RuntimeError`)
  * :exc:`ForkedError` (also a :exc:`RuntimeError`)
  * :exc:`SessionInUseError`
  * :exc:`StreamError`

    * :exc:`ConnectError` (also a :exc:`ConnectionError`)

      * :exc:`ConnectTimeoutError` (also a :exc:`TimeoutError`)
      * :exc:`TlsError`

    * :exc:`HandshakeError`

      * :exc:`AuthenticationError`

    * :exc:`StreamLostError` (also a :exc:`ConnectionError`)
    * :exc:`NotConnectedError` (also a :exc:`ConnectionError`)
    * :exc:`HoldFullError`

  * :exc:`DecodeError` (also a :exc:`ValueError`)
  * :exc:`ApiError`
  * :exc:`TxError`

    * :exc:`GuardRefusedError`

  * :exc:`RelayError`

    * :exc:`RelayConnectError` (also a :exc:`ConnectionError`)

      * :exc:`RelayAuthenticationError`
      * :exc:`RelayTlsError`

    * :exc:`RelayVersionError`
    * :exc:`RelayTimeoutError` (also a :exc:`TimeoutError`)

Each carries its facts as attributes, can be pickled, and chains the exception
that caused it. No text or attribute ever holds an API key or a private key.
``recv(timeout=...)`` raises the builtin :exc:`TimeoutError`, which is no
failure of the stream.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ApiError",
    "AuthenticationError",
    "ConcurrencyError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "DecodeError",
    "ForkedError",
    "GuardRefusedError",
    "HandshakeError",
    "HoldFullError",
    "LaserSellError",
    "MissingExtraError",
    "NotConnectedError",
    "RelayAuthenticationError",
    "RelayConnectError",
    "RelayError",
    "RelayTimeoutError",
    "RelayTlsError",
    "RelayVersionError",
    "SessionInUseError",
    "StreamError",
    "StreamLostError",
    "TlsError",
    "TxError",
]


class LaserSellError(Exception):
    """The base of every error of this library; catch it to catch them all."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take keyword arguments, which the default protocol cannot
        # replay, so the fields travel as state instead.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    kind: type[LaserSellError], args: tuple[Any, ...], fields: dict[str, Any]
) -> LaserSellError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigurationError(LaserSellError, ValueError):
    """An argument, a strategy or a setting is wrong, or over a limit of the server."""


class MissingExtraError(LaserSellError, ImportError):
    """
    A part of the package was used whose optional dependency is not installed.

    Attributes:
        extra: Name of the extra, as in ``lasersell[extra]``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the optional extra {extra!r}; "
            f"install it with: pip install 'lasersell[{extra}]'"
        )
        self.extra = extra


class ConcurrencyError(LaserSellError, RuntimeError):
    """Two threads used at once what only one may use, such as ``recv()``."""


class ForkedError(LaserSellError, RuntimeError):
    """
    A session was used in a forked child; it lives only in the process that made it.

    Attributes:
        owner_pid: The process that opened the session.
    """

    def __init__(self, owner_pid: int) -> None:
        super().__init__(
            f"this session belongs to process {owner_pid}: threads and sockets do not "
            "survive a fork; connect again in the child"
        )
        self.owner_pid = owner_pid


class SessionInUseError(LaserSellError):
    """
    Another process already holds the stream of this API key.

    Attributes:
        pid: The holder's process id; None when it could not be read.
    """

    def __init__(self, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{holder} already holds the stream of this API key; stop it, attach to it, "
            "or wait as a stand-by"
        )
        self.pid = pid


class StreamError(LaserSellError):
    """Something went wrong between us and the stream server."""


class ConnectError(StreamError, ConnectionError):
    """No connection could be made: name resolution, TCP, proxy or upgrade failed."""


class ConnectTimeoutError(ConnectError, TimeoutError):
    """The one deadline over DNS, TCP, TLS, upgrade and ``hello_ok`` passed."""


class TlsError(ConnectError):
    """
    The server's certificate could not be verified, or no pin matched it.

    Attributes:
        pin_mismatch: Whether the chain was valid but held none of the pins.
    """

    def __init__(self, text: str, *, pin_mismatch: bool = False) -> None:
        super().__init__(text)
        self.pin_mismatch = pin_mismatch


class HandshakeError(StreamError):
    """
    The server refused the upgrade or the configuration.

    Attributes:
        status: HTTP status of the upgrade response; None if the upgrade succeeded.
        code: Machine-readable code of the server's ``error`` frame, if one came.
        message: The server's own words.
        retry_after: Seconds the server asked us to wait, if it said so.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        code: str | None = None,
        message: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class AuthenticationError(HandshakeError):
    """The server did not accept the API key."""


class StreamLostError(StreamError, ConnectionError):
    """
    A live connection ended.

    Attributes:
        close_code: The WebSocket close code, if the peer sent one.
        close_reason: The peer's words with it.
    """

    def __init__(
        self, text: str, *, close_code: int | None = None, close_reason: str = ""
    ) -> None:
        super().__init__(text)
        self.close_code = close_code
        self.close_reason = close_reason


class NotConnectedError(StreamError, ConnectionError):
    """The command needs the server, and the stream is not live right now."""


class HoldFullError(StreamError):
    """
    Too many commands are already held for the next connection.

    Attributes:
        capacity: How many the hold takes.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(
            f"{capacity} commands are already waiting for the stream to come back; "
            "this one was not taken"
        )
        self.capacity = capacity


class DecodeError(LaserSellError, ValueError):
    """
    A text is not a valid message of the wire.

    Attributes:
        path: Where in the message, such as ``position_opened.tokens``; empty for
            the whole text.
        raw: The text as it came, as bytes.
    """

    def __init__(self, problem: str, *, path: str = "", raw: bytes = b"") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.raw = raw


class ApiError(LaserSellError):
    """
    A REST call failed.

    Attributes:
        status: HTTP status; None when no response came.
        reason: The machine-readable reason of the body, if it had one.
        body: The decoded body, or its text.
        is_retryable: Whether the same call may succeed later.
        retry_after: Seconds the server asked us to wait, if it said so.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        body: object = None,
        is_retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.body = body
        self.is_retryable = is_retryable
        self.retry_after = retry_after


class TxError(LaserSellError):
    """
    A transaction could not be decoded, signed, submitted or confirmed.

    Attributes:
        stage: Which step failed, such as ``sign`` or ``submit``.
        target: Where it was going, such as ``rpc``; None before submission.
        is_retryable: Whether a fresh attempt may succeed.
        detail: What the target said, as decoded JSON, if it said anything.
    """

    def __init__(
        self,
        text: str,
        *,
        stage: str,
        target: str | None = None,
        is_retryable: bool = False,
        detail: object = None,
    ) -> None:
        super().__init__(text)
        self.stage = stage
        self.target = target
        self.is_retryable = is_retryable
        self.detail = detail


class GuardRefusedError(TxError):
    """
    The transaction was not signed, because it does more than the exit it claims to be.

    Attributes:
        reason: Which check refused it.
    """

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(text, stage="guard")
        self.reason = reason


class RelayError(LaserSellError):
    """Something went wrong between us, Redis, and the relay's publisher."""


class RelayConnectError(RelayError, ConnectionError):
    """Redis could not be reached, or did not do what it was asked."""


class RelayAuthenticationError(RelayConnectError):
    """Redis did not accept the user name or the password."""


class RelayTlsError(RelayConnectError):
    """One side speaks TLS and the other does not, or the certificate is not trusted."""


class RelayVersionError(RelayError):
    """
    Redis is too old.

    Attributes:
        version: What it said it is.
    """

    def __init__(self, text: str, *, version: str) -> None:
        super().__init__(text)
        self.version = version


class RelayTimeoutError(RelayError, TimeoutError):
    """No publisher answered a command in time; it may still be carried out."""
