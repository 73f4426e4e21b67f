"""
The way to Redis: one pool of connections, and errors that say what to do.

Commands are never repeated by the client library: whoever sends one knows whether it may
be sent twice.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import (
    ConfigurationError,
    LaserSellError,
    MissingExtraError,
    RelayAuthenticationError,
    RelayConnectError,
    RelayTlsError,
    RelayVersionError,
)
from lasersell.relay.scripts import Script

__all__ = ["BLOCK_SEC", "RedisClock", "RedisLink"]

OLDEST = (6, 2)
"""The first Redis that trims a stream by id and claims from it as we need it."""
BLOCK_SEC = 1.0
"""Longest time that a read waits in Redis; less than the time-out of an answer."""
ANSWER_SEC = 3.0
"""How long an answer may take before Redis counts as away."""
CONNECT_SEC = 3.0
SCHEMES = ("redis", "rediss", "unix")
READ_ONLY = "read only replica"
"""What a Redis says that takes no writes, also out of a script."""


class RedisClock:
    """The clock of Redis, by which hosts agree on how old something is."""

    def __init__(self) -> None:
        self._offset_ms = 0.0
        self._doubt = float("inf")

    def learn(self, redis_ms: float, asked_at: float, answered_at: float) -> None:
        """Take what Redis said; times of ours are monotonic seconds."""
        doubt = answered_at - asked_at
        # The quickest answer tells best; an old one is worth less each time.
        if doubt <= self._doubt:
            self._offset_ms = redis_ms - 500 * (asked_at + answered_at)
            self._doubt = doubt
        else:
            self._doubt *= 1.5

    def to_redis(self, at: float) -> float:
        """Return monotonic seconds as Unix epoch ms of Redis."""
        return 1000 * at + self._offset_ms

    def to_local(self, redis_ms: float) -> float:
        """Return Unix epoch ms of Redis as monotonic seconds."""
        return (redis_ms - self._offset_ms) / 1000


class RedisLink:
    """
    Connections to one Redis; any thread may use it.

    Every call blocks until Redis answers, :data:`ANSWER_SEC` seconds at most.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and
            database.
        options: Further arguments of ``redis.Redis``, such as ``ssl_ca_certs``.

    Raises:
        ConfigurationError: The URL is none.
        MissingExtraError: The extra ``relay`` is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._redis = _import_redis()
        self.where = _where(url)
        self.clock = RedisClock()
        try:
            pool = self._redis.ConnectionPool.from_url(
                url,
                **{
                    "protocol": 2,
                    "socket_timeout": ANSWER_SEC,
                    "socket_connect_timeout": CONNECT_SEC,
                    "socket_keepalive": True,
                    "retry": self._redis.retry.Retry(
                        self._redis.backoff.NoBackoff(), 0
                    ),
                    **options,
                },
            )
        except (ValueError, TypeError) as error:
            # The error is not repeated: the password may be in it.
            raise ConfigurationError(
                f"{self.where} is no Redis URL, or an option is wrong: "
                f"{type(error).__name__}"
            ) from None
        self._client: Any = self._redis.Redis(connection_pool=pool)

    def __repr__(self) -> str:
        return f"<RedisLink {self.where}>"

    def check(self) -> None:
        """
        See that Redis is there, lets us in, and is new enough.

        Raises:
            RelayConnectError: It is not there, or does not let us in; see its subclasses.
            RelayVersionError: It is too old.
        """
        try:
            about = self.execute("INFO", "server")
        except RelayConnectError as error:
            if type(error) is RelayConnectError and self._wants_tls():
                raise self._tls_error("it was addressed without") from error
            raise
        version = str(about.get("redis_version", "0"))
        parts = version.split(".")
        numbers = tuple(int(part) if part.isdigit() else 0 for part in parts[:2])
        if numbers < OLDEST:
            wanted = ".".join(str(number) for number in OLDEST)
            raise RelayVersionError(
                f"Redis {version} at {self.where} is too old for the relay, which needs "
                f"{wanted} or newer (XAUTOCLAIM, XTRIM MINID); upgrade it",
                version=version,
            )
        self.sync_clock()

    def sync_clock(self) -> None:
        """Learn what time it is in Redis."""
        asked_at = SYSTEM_CLOCK.monotonic()
        seconds, micros = self.execute("TIME")
        answered_at = SYSTEM_CLOCK.monotonic()
        self.clock.learn(1000 * seconds + micros / 1000, asked_at, answered_at)

    def execute(self, *command: Any) -> Any:
        """
        Run one command and return its answer.

        Raises:
            RelayConnectError: Redis is away, or refused it.
        """
        return self._told(lambda: self._call(*command))

    def run(self, script: Script, keys: list[str], arguments: list[Any]) -> Any:
        """
        Run a script and return its answer.

        Raises:
            RelayConnectError: Redis is away, or refused it.
        """
        count = len(keys)

        def evaluate() -> Any:
            try:
                return self._call("EVALSHA", script.sha, count, *keys, *arguments)
            except self._redis.exceptions.NoScriptError:
                return self._call("EVAL", script.text, count, *keys, *arguments)

        return self._told(evaluate)

    def _call(self, *command: Any) -> Any:
        return self._client.execute_command(*command)

    def dedicated(self, **options: Any) -> RedisLink:
        """
        Return a link with the same settings and one connection of its own.

        It is for one thread alone; only :meth:`close` may come from another.

        Args:
            options: Arguments of ``redis.Redis`` that are to be others.
        """
        pool = self._client.connection_pool
        own = type(pool)(
            connection_class=pool.connection_class,
            **{**pool.connection_kwargs, **options},
        )
        link = object.__new__(_DedicatedLink)
        link._redis = self._redis
        link.where = self.where
        link.clock = self.clock
        link._client = self._redis.Redis(connection_pool=own)
        link._connection = own.make_connection()
        return link

    def let_go(self, connection: int | None) -> None:
        """Have Redis end a read that waits, by its connection's id; no error if it cannot."""
        if connection is not None:
            with contextlib.suppress(RelayConnectError):
                self.execute("CLIENT", "UNBLOCK", connection)

    def close(self) -> None:
        """Close every connection; who uses one meanwhile gets an error."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _disconnect(self) -> None:
        """Have the next command look anew where Redis is; leave alone what is in use."""
        self._client.connection_pool.disconnect(inuse_connections=False)

    def _told(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._redis.exceptions.RedisError as error:
            if READ_ONLY in str(error):
                # It was demoted; its name may lead to the one that took over.
                self._disconnect()
            raise self._translate(error) from error
        except (OSError, ValueError) as error:
            # A connection that was closed under it.
            raise RelayConnectError(
                f"the connection to Redis at {self.where} broke: {error}"
            ) from error

    def _translate(self, error: Exception) -> LaserSellError:
        known = self._redis.exceptions
        text = str(error)
        if isinstance(error, (known.AuthenticationError, known.NoPermissionError)):
            return RelayAuthenticationError(
                f"Redis at {self.where} refused the user or the password ({text}); put "
                "the right ones into the URL, as in redis://user:password@host:6379/0"
            )
        if _is_tls_trouble(error):
            return self._tls_error(text)
        return RelayConnectError(f"Redis at {self.where} cannot be used: {text}")

    def _tls_error(self, why: str) -> RelayTlsError:
        return RelayTlsError(
            f"TLS with Redis at {self.where} failed ({why}); use rediss:// only where "
            "Redis speaks TLS, redis:// only where it does not, and ssl_ca_certs=... for "
            "a certificate of your own authority"
        )

    def _wants_tls(self) -> bool:
        """Tell whether a Redis that hung up on plain text does a TLS handshake."""
        settings = self._client.connection_pool.connection_kwargs
        address = (settings.get("host", "localhost"), settings.get("port", 6379))
        if "path" in settings:
            return False
        # Nothing is sent over it, so it does not matter who is there.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection(address, CONNECT_SEC) as sock,
                context.wrap_socket(sock),
            ):
                return True
        except OSError:
            return False


class _DedicatedLink(RedisLink):
    """
    One connection, which is not lent by a pool.

    A pool looks at a connection, counts it and books how long it was out, at every
    command: more than twice what the command itself costs a thread that has just woken
    up, and on the way of a signal it comes twice.
    """

    _connection: Any
    _is_closed = False

    def _call(self, *command: Any) -> Any:
        connection = self._connection
        try:
            if self._is_closed:
                raise OSError("it is closed")
            # It connects, also again, if need be.
            connection.send_packed_command(
                connection.pack_command(*command), check_health=False
            )
            return self._client.parse_response(connection, command[0])
        except self._redis.exceptions.ResponseError:
            raise
        except BaseException as error:
            # An answer that was not read must not be taken for that of the next command.
            self._disconnect()
            if self._is_closed and isinstance(error, AttributeError):
                # The library does not expect that its socket is taken away.
                raise OSError("it was closed") from error
            raise

    def _disconnect(self) -> None:
        self._connection.disconnect()

    def close(self) -> None:
        """Close the connection for good; who uses it meanwhile gets an error."""
        self._is_closed = True
        self._disconnect()


def _import_redis() -> Any:
    try:
        # The bare wheel has no redis, and importing it takes a tenth of a second.
        import redis  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("the relay", "relay") from error
    return redis


def _where(url: object) -> str:
    """Return the place a URL leads to, without user and password."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port
    except ValueError:
        raise ConfigurationError(
            "the Redis URL is none: its host or port is malformed"
        ) from None
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.path.strip("/")):
        raise ConfigurationError(
            f"the Redis URL must begin with {', '.join(f'{s}://' for s in SCHEMES)} and "
            "name a host (or the path of a socket), as in redis://localhost:6379/0"
        )
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname}:{port or 6379}"


def _is_tls_trouble(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        # One that waits for more of what it takes for a command times out.
        if isinstance(seen, ssl.SSLError) or "handshake operation" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
