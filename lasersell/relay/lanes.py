"""
The hand-over to a subscriber's consumer, which says when an event was dealt with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lasersell.session.callbacks import Callback, CallbackRegistry
from lasersell.session.events import StreamEvent
from lasersell.stream.lanes import Lanes, Receiver

__all__ = ["RelayCallbacks", "RelayLanes"]

Done = Callable[[StreamEvent], None]


class RelayLanes(Lanes[StreamEvent]):
    """
    The lanes of a subscriber.

    Args:
        high_capacity: Events in the high lane at which no more are read from Redis.
        low_capacity: Events in the low lane at which the oldest is dropped.
        on_done: Called with each high event when its consumer asks for the next one.
    """

    def __init__(self, high_capacity: int, low_capacity: int, on_done: Done) -> None:
        super().__init__(high_capacity, low_capacity)
        self._on_done = on_done

    def receiver(self, *, high: bool = True, low: bool = True) -> Receiver[StreamEvent]:
        """Return the one consumer's side."""
        del high, low  # a subscriber has one consumer, of both
        receiver = _Receiver(self, self._high.queue, self._low, self._on_done)
        self._receivers.append(receiver)
        return receiver


class _Receiver(Receiver[StreamEvent]):
    __slots__ = ("_on_done",)

    def __init__(self, lanes: Any, highs: Any, lows: Any, on_done: Done) -> None:
        super().__init__(lanes, highs, lows)
        self._on_done = on_done

    def _release(self) -> None:
        if self._out is not None:
            # First: interrupted here, it is dealt with again rather than not at all.
            self._on_done(self._out)
        super()._release()


class RelayCallbacks(CallbackRegistry):
    """Callbacks that remember whether one of them failed on an event."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: StreamEvent | None = None

    def _report(self, event: StreamEvent, callback: Callback, error: Exception) -> None:
        self._failed = event
        super()._report(event, callback, error)

    def has_failed(self, event: StreamEvent) -> bool:
        """Tell whether a callback raised on an event, the one dispatched last."""
        return self._failed is event
