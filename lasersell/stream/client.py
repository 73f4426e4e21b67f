"""
The way in: :class:`StreamClient`, and the two raw connections it makes.
"""

from __future__ import annotations

import contextlib
import queue
import ssl
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from lasersell._clock import SYSTEM_CLOCK, Clock
from lasersell.errors import ConfigurationError, ConnectTimeoutError, LaserSellError
from lasersell.protocol.server import Limits
from lasersell.stream.intent import HoldSettings, Intent
from lasersell.stream.lanes import Lanes, Receiver
from lasersell.stream.lifecycle import is_last
from lasersell.stream.options import (
    StreamConfigure,
    StreamOptions,
    check_count,
    check_seconds,
)
from lasersell.stream.reader import Applier, Message, RawApplier
from lasersell.stream.sender import StreamSender
from lasersell.stream.stats import State, StreamStats
from lasersell.stream.supervisor import Supervisor

__all__ = [
    "LaneReceiver",
    "StreamClient",
    "StreamConnection",
    "StreamHandle",
    "StreamLanes",
    "open_stream",
]

E = TypeVar("E")

CLOSE_TIMEOUT = 5.0
SLACK = 1.0
"""Seconds beyond the connect time-out until we stop waiting for our own thread."""


class StreamClient:
    """
    Where the stream is and how to get there. Holds no connection; any thread may use it.

    Args:
        api_key: The key; None takes it from ``LASERSELL_API_KEY``.
        endpoint: A ``wss://`` URL; None takes it from ``LASERSELL_STREAM_ENDPOINT``,
            else the production endpoint. ``ws://`` is refused but to a loopback address.
        ssl_context: A verifying context of your own.
        spki_pins: Base64 SHA-256 hashes of public keys, one of which must be in the
            server's verified chain. Needs the extra ``pins``.
        proxy: ``http://[user:password@]host:port`` of a proxy that allows CONNECT.
        trust_env: Whether to take a proxy from the environment.
        allow_insecure: Whether to send the key over ``ws://`` to any address.
        hello_grace: Seconds to wait for ``hello_ok`` before ``configure`` is sent.
        ping_interval: Seconds between application pings.
        stale_after: Seconds of silence after which the stream counts as stale.
        rejoin_timeout: Seconds for which a refused reconnect is tried again.
        jitter: Share, 0 to 1, that chance may add to a reconnect delay.
        high_capacity: Events in the high lane at which reading stops.
        max_message_bytes: Largest message that is accepted, in bytes.

    Raises:
        ConfigurationError: A setting is wrong, or there is no API key.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        endpoint: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        spki_pins: Iterable[str] | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        allow_insecure: bool = False,
        hello_grace: float = 0.5,
        ping_interval: float = 30.0,
        stale_after: float = 30.0,
        rejoin_timeout: float = 900.0,
        jitter: float = 0.0,
        high_capacity: int = 16384,
        max_message_bytes: int = 1_048_576,
    ) -> None:
        self.options = StreamOptions(
            api_key=api_key,
            endpoint=endpoint,
            ssl_context=ssl_context,
            spki_pins=spki_pins,
            proxy=proxy,
            trust_env=trust_env,
            allow_insecure=allow_insecure,
            hello_grace=hello_grace,
            ping_interval=ping_interval,
            stale_after=stale_after,
            rejoin_timeout=rejoin_timeout,
            jitter=jitter,
            high_capacity=high_capacity,
            max_message_bytes=max_message_bytes,
        )

    def __repr__(self) -> str:
        return f"StreamClient(endpoint={self.options.endpoint!r})"

    def connect(
        self,
        configure: StreamConfigure,
        *,
        timeout: float = 10.0,
        wait_configured: float = 0.25,
    ) -> StreamConnection:
        """
        Connect, configure, and return the raw connection.

        Blocks for ``timeout + wait_configured`` seconds at most. The connection
        reconnects by itself; the first connect fails fast.

        Args:
            configure: What to watch and when to exit.
            timeout: Seconds for names, TCP, TLS, upgrade and ``hello_ok`` together.
            wait_configured: Seconds to wait for the server to reject ``configure``,
                which it does not acknowledge.

        Raises:
            AuthenticationError: The key was refused.
            HandshakeError: The upgrade or the configuration was refused.
            ConnectError: The network, TLS or the proxy failed; see its subclasses.
        """
        lanes, stream = self._open(configure, 1024, timeout, wait_configured)
        return StreamConnection(stream, lanes.receiver())

    def connect_lanes(
        self,
        configure: StreamConfigure,
        *,
        low_priority_capacity: int = 1024,
        timeout: float = 10.0,
        wait_configured: float = 0.25,
    ) -> StreamLanes:
        """
        Connect like :meth:`connect`, with the two lanes apart.

        Args:
            configure: What to watch and when to exit.
            low_priority_capacity: Messages in the low lane before the oldest is dropped.
            timeout: See :meth:`connect`.
            wait_configured: See :meth:`connect`.
        """
        lanes, stream = self._open(
            configure, low_priority_capacity, timeout, wait_configured
        )
        return StreamLanes(
            stream, lanes.receiver(low=False), lanes.receiver(high=False)
        )

    def _open(
        self, configure: StreamConfigure, low_capacity: int, timeout: float, wait: float
    ) -> tuple[Lanes[Message], Supervisor[Message]]:
        lanes: Lanes[Message] = Lanes(
            self.options.high_capacity,
            check_capacity(low_capacity),
            SYSTEM_CLOCK,
            is_last=is_last,
        )
        stream = open_stream(
            self.options,
            configure,
            lanes,
            RawApplier(),
            timeout=timeout,
            wait_configured=wait,
        )
        return lanes, stream


def check_capacity(low_priority_capacity: int) -> int:
    """Return the capacity if it is a whole number from 1."""
    return check_count("low_priority_capacity", low_priority_capacity)


def check_configure(configure: object) -> None:
    """Refuse what is no :class:`StreamConfigure`."""
    if not isinstance(configure, StreamConfigure):
        raise ConfigurationError(
            f"configure must be a StreamConfigure, not {type(configure).__name__}"
        )


def open_stream(
    options: StreamOptions,
    configure: StreamConfigure,
    lanes: Lanes[E],
    applier: Applier[E],
    *,
    timeout: float,
    wait_configured: float,
    hold: HoldSettings | None = None,
    resync_window: float = 5.0,
    clock: Clock = SYSTEM_CLOCK,
    prepare: Callable[[Supervisor[E]], None] | None = None,
) -> Supervisor[E]:
    """
    Start a supervisor and return it once the stream is live.

    Leaves nothing running if it raises; see :meth:`StreamClient.connect`.

    Args:
        options: The settings of the client.
        configure: What to watch and when to exit.
        lanes: Where events go.
        applier: What makes events of messages.
        timeout: Seconds for one connect.
        wait_configured: Seconds to wait for a rejection.
        hold: How commands wait for the server.
        resync_window: Seconds of quiet that end a resync.
        clock: Where time comes from.
        prepare: Called with the supervisor before its thread starts.
    """
    check_configure(configure)
    wait_configured = check_seconds("wait_configured", wait_configured)
    stream = Supervisor(
        options,
        Intent(configure, hold or HoldSettings()),
        lanes,
        applier,
        connect_timeout=check_seconds("timeout", timeout),
        resync_window=resync_window,
        clock=clock,
    )
    if prepare is not None:
        prepare(stream)
    try:
        stream.start()
        error = _first_word(stream, timeout + SLACK)
        if error is None and wait_configured > 0:
            with contextlib.suppress(queue.Empty):
                error = stream.first_word.get(timeout=wait_configured)
        if error is not None:
            raise error.with_traceback(None)
    except BaseException:
        stream.close(CLOSE_TIMEOUT)
        raise
    return stream


def _first_word(stream: Supervisor[E], patience: float) -> LaserSellError | None:
    try:
        return stream.first_word.get(timeout=patience)
    except queue.Empty:
        return ConnectTimeoutError(
            f"the connect did not finish within {patience:g} seconds, nor stop at its deadline"
        )


class StreamHandle(Generic[E]):
    """
    What every face of a stream has: its state, its sender, its end.

    Every member may be used from any thread. Dropped without :meth:`close`, a
    stream is closed when its face is collected, with a ``ResourceWarning``.
    """

    def __init__(self, stream: Supervisor[E]) -> None:
        self._stream = stream
        self._sender = StreamSender(stream)
        # Threads hold the supervisor, never this face, so that a face which
        # nobody holds any more can be collected.
        self._finalizer = weakref.finalize(self, stream.abandon)
        self._finalizer.atexit = False

    @property
    def sender(self) -> StreamSender:
        """What sends commands."""
        return self._sender

    @property
    def state(self) -> State:
        """One of connecting, live, stale, reconnecting, closed, failed."""
        return self._stream.state

    @property
    def error(self) -> LaserSellError | None:
        """Why the stream failed; None otherwise."""
        return self._stream.error

    @property
    def limits(self) -> Limits | None:
        """What the server allows this account, of the latest ``hello_ok``."""
        return self._stream.limits

    @property
    def session_id(self) -> int | None:
        """The server's id of the present connection."""
        return self._stream.session_id

    def stats(self) -> StreamStats:
        """Return a snapshot of the counters."""
        with self._stream.calling():
            return self._stream.stats()

    def close(self, *args: object, timeout: float = CLOSE_TIMEOUT) -> None:
        """
        Close the stream: send what was accepted, deliver what had arrived, end.

        Idempotent; may be called from any thread, a callback, a Timer, a signal
        handler, at interpreter exit, and does nothing in a forked child. Returns
        within ``timeout`` seconds, and when it does, no thread but a resolver's
        and no descriptor is left, unless the time ran out or this thread was
        already inside a call of this stream, which then completes the rest.

        Raises:
            TypeError: A position was passed; that is ``close_position``.
        """
        if args:
            raise TypeError(
                "close() ends the whole stream and takes no position; "
                "to stop tracking one position use close_position(position)"
            )
        self._finalizer.detach()
        self._stream.close(timeout)


class StreamConnection(StreamHandle[Message]):
    """
    A raw connection: the server's messages and the lifecycle's, high lane first.

    Made by :meth:`StreamClient.connect`. Use it in a ``with`` block.
    """

    def __init__(
        self, stream: Supervisor[Message], receiver: Receiver[Message]
    ) -> None:
        super().__init__(stream)
        self._receiver = receiver

    def recv(self, timeout: float | None = None) -> Message | None:
        """
        Return the next message; None once the stream was closed, at every later call.

        Blocks until one comes. One thread at a time may call this.

        Args:
            timeout: Seconds to wait; None is for ever, 0 or less only looks.

        Raises:
            TimeoutError: Nothing came in time.
            ConcurrencyError: Another thread is in ``recv()``.
            LaserSellError: The error that ended the stream, at every later call.
        """
        return self._receiver.get(timeout)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages until the stream is closed."""
        return self._receiver.each(self)

    def __enter__(self) -> StreamConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StreamLanes(StreamHandle[Message]):
    """
    A raw connection with its lanes apart, each for a thread of its own.

    Made by :meth:`StreamClient.connect_lanes`. Use it in a ``with`` block. Both
    lanes must be received from: a high lane that is full stops the reader.
    """

    def __init__(
        self,
        stream: Supervisor[Message],
        high: Receiver[Message],
        low: Receiver[Message],
    ) -> None:
        super().__init__(stream)
        self._high = high
        self._low = low

    def split(self) -> tuple[StreamSender, LaneReceiver, LaneReceiver]:
        """Return the sender, the high lane and the low lane."""
        return (
            self.sender,
            LaneReceiver(self, self._high),
            LaneReceiver(self, self._low),
        )

    def __enter__(self) -> StreamLanes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LaneReceiver:
    """One lane of a :class:`StreamLanes`; one thread at a time may receive."""

    def __init__(self, lanes: StreamLanes, receiver: Receiver[Message]) -> None:
        # Who keeps only a lane keeps the stream: dropped, it would be closed.
        self._lanes = lanes
        self._receiver = receiver

    def recv(self, timeout: float | None = None) -> Message | None:
        """Return the next message of this lane; see :meth:`StreamConnection.recv`."""
        return self._receiver.get(timeout)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the lane until the stream is closed."""
        return self._receiver.each(self)
