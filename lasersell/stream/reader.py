"""
The reader thread: bytes off the socket, decoded, applied, put into the lanes.

It runs library code only, never a user's. While it lives it is the only thread
that applies messages; what the supervisor wants delivered meanwhile, it posts.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from lasersell._threads import start_thread
from lasersell.errors import DecodeError, StreamLostError
from lasersell.protocol.codec import decode_server_message
from lasersell.protocol.server import (
    LiquiditySnapshot,
    PnlUpdate,
    ServerMessage,
    TradeTick,
    UnknownMessage,
)
from lasersell.stream.lanes import Lanes
from lasersell.stream.lifecycle import (
    RAW_LIMIT,
    LifecycleMessage,
    Resynced,
    Undecodable,
)
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Wakeup

__all__ = ["LOW_LANE", "Applier", "Message", "RawApplier", "Reader"]

log = logging.getLogger(__name__)

E = TypeVar("E")

Message = ServerMessage | LifecycleMessage

LOW_LANE: frozenset[type] = frozenset(
    {PnlUpdate, LiquiditySnapshot, TradeTick, UnknownMessage, Undecodable}
)
"""What may be dropped when the consumer is slow; everything else is never dropped."""


class Applier(Protocol[E]):
    """
    Makes of each message what the consumer gets, and puts it in the list of its lane.

    Called by one thread at a time: the reader, and between two connections the
    supervisor.
    """

    def begin(self, now: float) -> None:
        """Note that what follows arrived at ``now``, monotonic seconds."""

    def apply(self, message: Message, highs: list[E], lows: list[E]) -> None:
        """Take one message."""


class RawApplier:
    """Delivers messages as they are."""

    def begin(self, now: float) -> None:
        """Take no note."""

    def apply(
        self, message: Message, highs: list[Message], lows: list[Message]
    ) -> None:
        """Sort a message into its lane."""
        kind = type(message)
        if kind in LOW_LANE:
            lows.append(message)
        elif kind is not Resynced:
            highs.append(message)


class Reader(Generic[E]):
    """
    Reads one connection until it ends.

    Args:
        transport: The connection; the reader is its only reading thread.
        wakeup: What gets the transport out of its wait.
        lanes: Where events go.
        applier: What makes events of messages.
        watchers: Per message type, what the supervisor wants to see of it. Called
            in this thread, before the message is applied; may return what of our
            own comes before it.
        on_batch: Called before the messages of a batch; returns what of our own
            comes before them.
        on_end: Called last, with why the connection ended.
    """

    def __init__(
        self,
        transport: Transport,
        wakeup: Wakeup,
        lanes: Lanes[E],
        applier: Applier[E],
        *,
        watchers: Mapping[type, Callable[[Any], Iterable[Message] | None]],
        on_batch: Callable[[], Sequence[Message]],
        on_end: Callable[[StreamLostError], None],
    ) -> None:
        self.last_low = float("-inf")
        """When a low-lane event last came in, monotonic seconds."""
        self._transport = transport
        self._wakeup = wakeup
        self._lanes = lanes
        self._applier = applier
        self._watchers = watchers
        self._on_batch = on_batch
        self._on_end = on_end
        self._posted: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stopping = False
        self._complained = False
        self._thread: threading.Thread | None = None

    def start(self, number: int, early: list[Message]) -> None:
        """
        Start the thread; ``early`` are messages that came during the handshake.

        Raises:
            RuntimeError: No thread can be started.
        """
        for message in early:
            self._posted.put(message)
        self._wakeup.ring()
        self._thread = start_thread(f"lasersell-reader-{number}", self._run)

    def post(self, message: Message) -> None:
        """Have a message of our own applied and delivered in its place; never blocks."""
        self._posted.put(message)
        self._wakeup.ring()

    def stop(self) -> None:
        """Stop waiting for room in the high lane; reading ends with the connection."""
        self._stopping = True
        self._wakeup.ring()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; return whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def take_rest(self) -> None:
        """
        Deliver what was posted as the connection ended, whatever the bound.

        Called by the supervisor once the thread has ended, and nothing is posted any
        more.
        """
        self._stopping = True
        try:
            self._take([])
        except Exception:
            log.exception("the last messages of a connection could not be applied")

    def _run(self) -> None:
        try:
            error = self._read()
        except StreamLostError as lost:
            error = lost
        except BaseException as bug:
            # Without this a mistake of ours would be a stream that is silent for
            # ever; with it, it is one more reconnect.
            log.exception("the reader failed; the connection is given up")
            error = StreamLostError(f"the reader failed: {bug!r}")
            error.__cause__ = bug
        self._on_end(error)

    def _read(self) -> StreamLostError:
        self._take([])
        while True:
            self._take(self._transport.recv_batch())
            if self._stopping and self._lanes.is_full():
                return StreamLostError("closed while the high lane was full")

    def _take(self, texts: list[bytes]) -> None:
        highs: list[E] = []
        lows: list[E] = []
        try:
            self._apply(texts, highs, lows)
        finally:
            # Also after a mistake of ours: what was applied must be delivered.
            if lows:
                self.last_low = self._transport.last_byte
            if highs or lows:
                self._lanes.put_within_bound(
                    highs, lows, self._wait_for_room, self._wakeup.ring
                )

    def _apply(self, texts: list[bytes], highs: list[E], lows: list[E]) -> None:
        apply = self._applier.apply
        self._applier.begin(self._transport.last_byte)
        self._take_posted(highs, lows)
        if texts:
            for message in self._on_batch():
                apply(message, highs, lows)
            watchers = self._watchers
            for text in texts:
                try:
                    message = decode_server_message(text)
                except DecodeError as error:
                    message = Undecodable(raw=text[:RAW_LIMIT], problem=str(error))
                watch = watchers.get(type(message))
                if watch is not None:
                    for ours in watch(message) or ():
                        apply(ours, highs, lows)
                apply(message, highs, lows)
        for payload in self._take_binaries():
            apply(payload, highs, lows)

    def _take_posted(self, highs: list[E], lows: list[E]) -> None:
        while not self._posted.empty():
            message = self._posted.get()
            watch = self._watchers.get(type(message))
            before = None if watch is None else watch(message)
            for ours in (*(before or ()), message):
                self._applier.apply(ours, highs, lows)

    def _take_binaries(self) -> list[Undecodable]:
        binaries = self._transport.binaries
        if not binaries:
            return []
        self._transport.binaries = []
        return [
            Undecodable(
                raw=b[:RAW_LIMIT],
                problem="the protocol has no binary frames",
                binary=True,
            )
            for b in binaries
        ]

    def _wait_for_room(self) -> bool:
        if self._stopping:
            return False
        if not self._complained:
            self._complained = True
            log.error(
                "the high lane is full with %d events; reading from the server has stopped "
                "until recv() takes some",
                self._lanes.high_capacity,
            )
        self._wakeup.wait()
        self._transport.excuse_backlog()
        return not self._stopping
