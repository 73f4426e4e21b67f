"""One live connection of a stream: what is due on it, and how it is taken down."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Generic, TypeVar

from lasersell._clock import Clock
from lasersell.errors import StreamLostError
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.codec import encode_client_message
from lasersell.stream.frames import Opcode
from lasersell.stream.heartbeat import FLOW_SILENCE_MIN, Action, Heartbeat
from lasersell.stream.lanes import Lanes
from lasersell.stream.lifecycle import Resynced, Stale
from lasersell.stream.reader import Reader
from lasersell.stream.recall import Recall
from lasersell.stream.roundtrip import PendingPing, RoundTrips
from lasersell.stream.transport import Transport

__all__ = ["Link"]

log = logging.getLogger(__name__)

E = TypeVar("E")

CLOSE_PATIENCE = 0.5
"""Seconds the peer gets to answer our close frame."""
READER_PATIENCE = 5.0
"""Seconds a reader whose socket is shut may need to put what it still had."""


class Link(Generic[E]):
    """
    A connection between its ``hello_ok`` and its end.

    Its methods are for the supervisor's thread. None waits for the peer, but for
    :meth:`end_reader` and :meth:`take_down`, each within its patience above.

    Args:
        transport: Open and greeted; users write to it from their own threads.
        reader: Reads it; may not have been started yet.
        heartbeat: Its liveness.
        recall: What the server must be told of again.
        round_trips: Measures it.
        lanes: Where the reader puts what it reads.
        configured_at: When ``configure`` was written, monotonic seconds.
        clock: Where time comes from.
    """

    def __init__(
        self,
        transport: Transport,
        reader: Reader[E],
        heartbeat: Heartbeat,
        *,
        recall: Recall,
        round_trips: RoundTrips,
        lanes: Lanes[E],
        configured_at: float,
        clock: Clock,
    ) -> None:
        self.transport = transport
        self.reader = reader
        self.live_since = clock.monotonic()
        self.configured_at = configured_at
        self.is_accepted = False
        """Whether a frame about a wallet showed that ``configure`` was taken."""
        self.is_rejected = False
        self._heartbeat = heartbeat
        self._recall = recall
        self._round_trips = round_trips
        self._lanes = lanes
        self._clock = clock

    def next_due(self, now: float) -> float | None:
        """Return when :meth:`tick` may have something to do; None if it has ended."""
        if self.transport.is_lost:
            return None  # the reader is about to say so
        beat = self._heartbeat.next_check(now, flowing=self._is_flowing())
        due = [
            now + beat,
            self._recall.next_due(is_live=True),
            self.transport.gives_up_at(),
        ]
        if self._recall.intent.open_positions:
            # Frames may start to flow at any moment, and no one says so.
            due.append(now + FLOW_SILENCE_MIN)
        return min(at for at in due if at is not None)

    def tick(self, now: float) -> None:
        """Do what is due: beats, commands that are asked again, the end of a resync."""
        if self.transport.is_lost:
            return
        self._beat(now)
        asks, reports = self._recall.due(now, is_live=True)
        self.write_soon(asks)
        for report in reports:
            self.reader.post(report)
        busy_until = now if self._lanes.held_back else self._lanes.released_at
        if self._recall.ends_resync(now, busy_until):
            self.reader.post(Resynced())

    def write_soon(self, messages: Iterable[ClientMessage]) -> None:
        """Write messages without waiting for the peer to take them."""
        texts = [encode_client_message(message) for message in messages]
        if texts:
            self.transport.post(Opcode.TEXT, *texts)

    def end_reader(self) -> None:
        """Close in order, so that what had arrived is still delivered."""
        self.transport.begin_close()
        self.reader.stop()
        if not self.reader.join(CLOSE_PATIENCE):
            self.transport.abort()

    def take_down(self) -> None:
        """Let go of the socket and of the reader thread; deliver what that had not taken."""
        self.transport.abort()
        if self.reader.join(READER_PATIENCE):
            self.reader.take_rest()
        else:
            log.error("the reader thread did not end; this is a bug, please report it")
        self.transport.dispose()

    def _beat(self, now: float) -> None:
        transport = self.transport
        action = self._heartbeat.check(
            now,
            transport.last_byte,
            flowing=self._is_flowing(),
            held_back=self._lanes.held_back,
        )
        if self._takes_no_bytes(now):
            transport.lose(StreamLostError("the server takes no bytes"))
        elif Action.RECONNECT in action:
            silent = now - transport.last_byte
            transport.lose(
                StreamLostError(f"the server has been silent for {silent:.1f} seconds")
            )
        if Action.PROTOCOL_PING in action:
            transport.post(Opcode.PING, b"")
        if Action.APPLICATION_PING in action:
            transport.post(Opcode.TEXT, lambda: self._round_trips.begin(PendingPing()))
        if Action.REPORT_STALE in action:
            self.reader.post(Stale(silent_sec=now - transport.last_byte))

    def _takes_no_bytes(self, now: float) -> bool:
        transport = self.transport
        if transport.gives_up_at() is None:
            return False
        # While the reader is held back nobody waits for room in the socket.
        transport.flush()
        if self._lanes.held_back:
            transport.excuse_backlog()
        at = transport.gives_up_at()
        return at is not None and at <= now

    def _is_flowing(self) -> bool:
        return self._heartbeat.is_flow(
            self.transport.last_byte,
            self.reader.last_low,
            self._recall.intent.open_positions,
        )
