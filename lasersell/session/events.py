"""
What ``recv()`` returns and callbacks get.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from lasersell.protocol.server import ServerMessage
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import LifecycleMessage

__all__ = ["Arrival", "CallbackError", "EventFacts", "EventMessage", "StreamEvent"]


@attrs.frozen
class CallbackError:
    """A callback raised; delivered to the callbacks of ``callback_error`` only."""

    type = "callback_error"

    event: StreamEvent
    """The event it was called with."""
    callback: object
    """The callback."""
    error: BaseException
    """What it raised."""


EventMessage = ServerMessage | LifecycleMessage | CallbackError

_TIME_FIELDS = ("triggered_at_ms", "server_time_ms", "time_ms", "opened_at_ms")


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """When a batch of messages arrived; its events share one."""

    at: float
    """Monotonic seconds."""
    server_ms: float | None
    """By the server's clock, Unix epoch ms; None if that is not known yet."""


@attrs.frozen(kw_only=True)
class EventFacts:
    """What is true of few events, so that the others need not carry it."""

    exit_attempt: int | None = None
    reopened: bool = False
    previous_position_id: int | None = None
    deadline_overdue: bool = False


_NO_FACTS = EventFacts()


# One is made per frame, and a Struct costs a third of any other class. Not tracked
# by the garbage collector: nothing an event refers to refers back to it.
class StreamEvent(msgspec.Struct, eq=False, gc=False):
    """
    One event of a session.

    What is true of the event is on the event and never changes. ``handle`` is the
    live position, shared by all its events, and may be newer than the event.
    """

    message: EventMessage
    """The message, from the server or born on our side."""
    handle: PositionHandle | None
    """The position it is about; None if about none, or about one not known."""
    arrival: Arrival
    """When it arrived."""
    facts: EventFacts = _NO_FACTS

    @property
    def type(self) -> str:
        """The message's type, such as ``exit_signal_with_tx`` or ``disconnected``."""
        return self.message.type

    @property
    def exit_attempt(self) -> int | None:
        """
        Of an exit signal: 1 for the first of its identity, 2 and up for a replacement.

        The identity is the token account, this opening of it, and the ladder level.
        A replacement carries a fresher transaction of the same sale, not a second
        sale. None for anything else.
        """
        return self.facts.exit_attempt

    @property
    def reopened(self) -> bool:
        """Of ``position_opened``: whether a known position was named again."""
        return self.facts.reopened

    @property
    def previous_position_id(self) -> int | None:
        """Of a reopened position: the id it had before."""
        return self.facts.previous_position_id

    @property
    def deadline_overdue(self) -> bool:
        """
        Of ``position_opened``: whether it was past its deadline when first seen.

        Its exit is asked for after ``deadline_grace_sec``, unless you stop it with
        ``close_position`` or another deadline.
        """
        return self.facts.deadline_overdue

    @property
    def age_ms(self) -> float | None:
        """
        How old the message's own time was when it arrived, in ms, by the server's clock.

        None if the message has no time, or the server's clock is not known.
        """
        if self.arrival.server_ms is None:
            return None
        for name in _TIME_FIELDS:
            value: int | None = getattr(self.message, name, None)
            if value is not None:
                return max(0.0, self.arrival.server_ms - value)
        return None

    def to_dict(self) -> dict[str, Any]:
        """
        Return the event as plain values, ready for JSON.

        Fields that are None are left out of ``message``; bytes become text, with
        backslash escapes for what is not UTF-8.
        """
        message = self.message
        return {
            "type": self.type,
            "message": attrs.asdict(message, filter=_is_known, value_serializer=_plain),
            "position": None if self.handle is None else self.handle.to_dict(),
            "exit_attempt": self.exit_attempt,
            "reopened": self.reopened,
            "previous_position_id": self.previous_position_id,
            "deadline_overdue": self.deadline_overdue,
            "age_ms": self.age_ms,
        }


def _is_known(_: object, value: object) -> bool:
    return value is not None


def _plain(_: object, __: object, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, StreamEvent):
        return value.to_dict()
    if isinstance(value, BaseException) or callable(value):
        return repr(value)
    return value
