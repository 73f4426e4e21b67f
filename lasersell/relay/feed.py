"""
A subscriber's reading of both streams, from a snapshot on: every event, in order.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import DecodeError, RelayConnectError, RelayError
from lasersell.protocol.codec import decode_server_message
from lasersell.protocol.server import (
    ExitSignalWithTx,
    HelloOk,
    LiquiditySnapshot,
    MirrorBuySignal,
    PnlUpdate,
    TradeTick,
)
from lasersell.relay.codec import (
    HighEntry,
    LowEntry,
    StreamState,
    decode_message,
    from_json,
)
from lasersell.relay.events import RelayEvent
from lasersell.relay.keys import Keys
from lasersell.relay.lanes import RelayLanes
from lasersell.relay.link import BLOCK_SEC, RedisLink
from lasersell.relay.replica import Replica
from lasersell.relay.snapshot import Snapshot, load_snapshot
from lasersell.session.events import Arrival, EventMessage, StreamEvent
from lasersell.stream.lifecycle import Disconnected, Fresh, Gap, PositionLost, Stale
from lasersell.stream.stats import State

__all__ = ["SIGNALS", "Feed", "entry_of", "order_of", "place_of"]

log = logging.getLogger(__name__)

SIGNALS = (ExitSignalWithTx, MirrorBuySignal)
"""What a group shares out: each goes to one worker."""
READ_AT_ONCE = 512
RETRY_FIRST_SEC = 0.1
RETRY_MOST_SEC = 2.0


def order_of(entry: bytes) -> tuple[int, int]:
    """Return the id of an entry as something that can be compared."""
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number or b"0")


def entry_of(fields: Mapping[bytes, bytes]) -> HighEntry:
    """
    Return the event in an entry of the high stream.

    Raises:
        RelayError: Another version wrote it.
    """
    entry: HighEntry = from_json(fields[b"e"], HighEntry)
    return entry


def place_of(fields: Mapping[bytes, bytes]) -> tuple[int, int]:
    """
    Return the token of the leader that wrote an event, and the event's number.

    A Redis that has forgotten events may count again from where it is, but not under the
    same leader.
    """
    return int(fields[b"t"]), int(fields[b"n"])


@contextlib.contextmanager
def _skipping_unreadable() -> Iterator[None]:
    """Skip what another version wrote; what comes after it is read all the same."""
    try:
        yield
    except (RelayError, DecodeError) as error:
        log.error("an entry of the relay is skipped: %s", error)


class Feed:
    """
    Reads until it is stopped; :meth:`run` in a thread of its own.

    Args:
        link: The way to Redis, for this thread alone.
        keys: Of the relay.
        lanes: Where the events go.
        replica: What follows the publisher's positions.
        stale_after: Seconds of silence after which the publisher counts as stale.
        with_signals: Whether signals are among the events; a group shares them out.
    """

    def __init__(
        self,
        link: RedisLink,
        keys: Keys,
        lanes: RelayLanes,
        replica: Replica,
        *,
        stale_after: float,
        with_signals: bool,
    ) -> None:
        self._link = link
        self._keys = keys
        self._lanes = lanes
        self._replica = replica
        self._stale_after = stale_after
        self._with_signals = with_signals
        self._stop = threading.Event()
        self._room = threading.Event()
        self._high = self._low = b"0-0"
        self._sequence = 0
        self._token = 0
        self._heard_at = SYSTEM_CLOCK.monotonic()
        self._is_stale = False
        self._retry = RETRY_FIRST_SEC
        self._must_join = False
        # Guards the id and the place of the last high event that was handed over.
        self._passed = threading.Condition()
        self._passed_place = (0, 0)
        self.about: StreamState | None = None
        """What the publisher last said of its stream."""
        self.connection: int | None = None
        """The id of our connection, by which Redis can be told to let us go."""

    # From any thread

    @property
    def state(self) -> State:
        """How the stream is, as far as is known here."""
        if self.about is None:
            return "connecting"
        if self._is_stale:
            return "stale"
        # A publisher whose stream is over is followed by another one.
        state = self.about.state
        return state if state in ("live", "stale") else "reconnecting"

    @property
    def silent(self) -> float:
        """Seconds since the publisher was last heard."""
        return SYSTEM_CLOCK.monotonic() - self._heard_at

    def stop(self) -> None:
        """End :meth:`run` soon."""
        self._stop.set()
        self._room.set()
        with self._passed:
            self._passed.notify_all()

    def is_next(self, place: tuple[int, int]) -> bool:
        """Tell whether everything before the event at a place was handed over, no more."""
        token, number = place
        return self._passed_place == (token, number - 1)

    def wait_for_those_before(
        self, place: tuple[int, int], entry: bytes, timeout: float
    ) -> bool:
        """
        Block until everything before an event was handed over; return whether it was.

        Args:
            place: Of the event.
            entry: The id of the entry it is in.
            timeout: Seconds to wait.
        """
        wanted = order_of(entry)
        with self._passed:
            return self._passed.wait_for(
                lambda: (
                    self.is_next(place)
                    # Of another leader than the one before it, or further back.
                    or order_of(self._high) >= wanted
                    or self._stop.is_set()
                ),
                timeout,
            )

    # Joining

    def join(self) -> None:
        """
        Begin with all that is known now.

        Raises:
            RelayConnectError: Redis is away.
            RelayError: Another version wrote what is there.
        """
        snapshot = load_snapshot(self._link, self._keys)
        if snapshot.state:
            self._hear(snapshot.state)
        events = self._events_of(snapshot)
        self._must_join = False
        # Over the bound if need be: nobody takes any before connect() has returned.
        self._lanes.put(events, [])
        self._sequence, self._token = snapshot.sequence, snapshot.token
        self._low = snapshot.low
        self._pass(snapshot.high, (snapshot.token, snapshot.sequence))

    def _events_of(self, snapshot: Snapshot) -> list[StreamEvent]:
        new, gone = self._replica.replace(snapshot.positions, snapshot.sequence)
        for field, raw in snapshot.latest.items():
            key, _, _ = field.rpartition(" ")
            message = decode_server_message(raw)
            if isinstance(message, (PnlUpdate, LiquiditySnapshot)):
                self._replica.take_latest(key, message)
        if self.about is not None:
            self._replica.epoch = self.about.epoch
        arrival = self._now()
        events: list[StreamEvent] = [
            RelayEvent(
                PositionLost(
                    position_id=handle.position_id,
                    wallet_pubkey=handle.wallet_pubkey,
                    mint=handle.mint,
                    token_account=handle.token_account,
                    reason="not_reemitted",
                ),
                handle,
                arrival,
            )
            for handle in gone
        ]
        events += [RelayEvent(handle.opened, handle, arrival) for handle in new]
        return events

    # Reading

    def run(self) -> None:
        """Read until it is stopped; a Redis that is away is asked until it is back."""
        while not self._stop.is_set():
            try:
                if self._must_join:
                    self.join()
                self._read()
                self._retry = RETRY_FIRST_SEC
            except RelayConnectError as error:
                self._note_away(error)
            except (RelayError, DecodeError) as error:
                log.error("the relay cannot be joined: %s", error)
                self._stop.wait(RETRY_MOST_SEC)
            except Exception:
                log.exception("a mistake of ours; the relay is joined anew")
                self._lose_track()
                self._stop.wait(RETRY_MOST_SEC)

    def _note_away(self, error: RelayConnectError) -> None:
        if not self._stop.is_set():
            self.connection = None
            self._say_stale(f"Redis is away: {error}")
            # Nobody says when Redis is back.
            self._stop.wait(self._retry)
            self._retry = min(RETRY_MOST_SEC, 2 * self._retry)

    def _read(self) -> None:
        if self.connection is None:
            self.connection = self._link.execute("CLIENT", "ID")
            self._link.sync_clock()
        found = self._link.execute(
            "XREAD",
            "COUNT",
            READ_AT_ONCE,
            "BLOCK",
            int(1000 * BLOCK_SEC),
            "STREAMS",
            self._keys.high,
            self._keys.low,
            self._high,
            self._low,
        )
        # Before a consumer that is slow holds us up: no publisher is silent for that.
        read_at = SYSTEM_CLOCK.monotonic()
        streams = {bytes(name).decode(): entries for name, entries in found or []}
        # The high stream first: it says what the ids in the low one mean.
        self._take_highs(streams.get(self._keys.high, []))
        self._take_lows(streams.get(self._keys.low, []))
        silent = read_at - self._heard_at
        if silent > self._stale_after:
            self._say_stale(f"no publisher was heard for {silent:.0f} s")

    def _take_highs(self, entries: list[Any]) -> None:
        highs: list[StreamEvent] = []
        is_gap = False
        for _, fields in entries:
            is_gap = self._is_gap(fields)
            if is_gap:
                break
            with _skipping_unreadable():
                event = self._event_of(fields)
                if event is not None:
                    highs.append(event)
        if highs:
            self._heard()
            self._lanes.put_within_bound(highs, [], self._wait_for_room, self._room.set)
        if is_gap:
            self._lose_track()
        elif entries:
            entry, fields = entries[-1]
            self._pass(bytes(entry), place_of(fields))

    def _is_gap(self, fields: Mapping[bytes, bytes]) -> bool:
        number = int(fields[b"n"])
        is_next = number == self._sequence + 1
        if not is_next:
            log.warning(
                "events %d to %d of the relay %r were dropped before they were read; "
                "what is true now is read instead",
                self._sequence + 1,
                number - 1,
                self._keys.name,
            )
        self._sequence = number
        return not is_next

    def _lose_track(self) -> None:
        """Say that events are missing, and have what is true now read instead."""
        if not self._must_join:
            self._must_join = True
            now = SYSTEM_CLOCK.wall_ms()
            silent_ms = int(1000 * self.silent)
            self._announce(
                Gap(from_ms=now - silent_ms, to_ms=now, attempts=1, restored=())
            )

    def _event_of(self, fields: Mapping[bytes, bytes]) -> StreamEvent | None:
        self._token = max(self._token, int(fields[b"t"]))
        entry = entry_of(fields)
        replica = self._replica
        replica.epoch = entry.epoch
        handle = None
        if entry.position is not None:
            handle = replica.apply(entry.position, self._sequence)
        if entry.exit_attempt is not None and not self._with_signals:
            # Whose signal it is decodes it.
            return None
        message = decode_message(bytes(entry.message), entry.born_here)
        if isinstance(message, Disconnected):
            replica.disconnected()
        elif isinstance(message, HelloOk):
            self._greet(message, entry)
        if isinstance(message, SIGNALS) and not self._with_signals:
            return None
        return RelayEvent(
            message,
            handle,
            self._arrival(entry.arrived_ms, entry.server_ms),
            entry.facts,
            fields[b"i"].decode(),
        )

    def _greet(self, message: HelloOk, entry: HighEntry) -> None:
        # Before the consumer sees it, which may ask for what it says.
        self.about = StreamState(
            state="live",
            publisher="" if self.about is None else self.about.publisher,
            epoch=entry.epoch,
            session_id=message.session_id,
            limits=message.limits,
        )

    def _take_lows(self, entries: list[Any]) -> None:
        for entry, fields in entries:
            self._low = bytes(entry)
            # One that leads no more says nothing of the present.
            if int(fields[b"t"]) < self._token:
                continue
            self._token = int(fields[b"t"])
            with _skipping_unreadable():
                if fields[b"s"]:
                    self._hear(fields[b"s"])
                self._heard()
                if fields[b"e"]:
                    self._take_batch(from_json(fields[b"e"], LowEntry))

    def _take_batch(self, batch: LowEntry) -> None:
        if batch.epoch != self._replica.epoch:
            return
        arrival = self._arrival(batch.arrived_ms, batch.server_ms)
        self._lanes.put([], [self._low_event(raw, arrival) for raw in batch.messages])

    def _low_event(self, raw: msgspec.Raw, arrival: Arrival) -> StreamEvent:
        message = decode_server_message(bytes(raw))
        handle = None
        if isinstance(message, (PnlUpdate, LiquiditySnapshot, TradeTick)):
            handle = self._replica.with_id(message.position_id)
        if handle is not None and isinstance(message, PnlUpdate):
            self._replica.take_pnl(handle, message)
        elif handle is not None and isinstance(message, LiquiditySnapshot):
            handle.liquidity = message
        return RelayEvent(message, handle, arrival)

    def _pass(self, entry: bytes, place: tuple[int, int]) -> None:
        with self._passed:
            self._high = entry
            self._passed_place = place
            self._passed.notify_all()

    def _wait_for_room(self) -> bool:
        # A consumer that makes room rings; a stop puts the rest over the bound.
        self._room.wait()
        self._room.clear()
        if not self._stop.is_set():
            return True
        # For what is left after the room there is: nobody rings any more.
        self._room.set()
        return False

    # Life

    def _hear(self, state: bytes) -> None:
        self.about = from_json(state, StreamState)

    def _heard(self) -> None:
        self._heard_at = SYSTEM_CLOCK.monotonic()
        if self._is_stale:
            self._is_stale = False
            log.info("the relay %r is heard again", self._keys.name)
            self._announce(Fresh())

    def _say_stale(self, why: str) -> None:
        if not self._is_stale:
            self._is_stale = True
            log.warning("the relay %r is stale: %s", self._keys.name, why)
            self._announce(Stale(silent_sec=self.silent))

    def _announce(self, message: EventMessage) -> None:
        self._lanes.put([RelayEvent(message, None, self._now())], [])

    def _now(self) -> Arrival:
        return Arrival(SYSTEM_CLOCK.monotonic(), None)

    def _arrival(self, arrived_ms: float, server_ms: float | None) -> Arrival:
        return Arrival(self._link.clock.to_local(arrived_ms), server_ms)
