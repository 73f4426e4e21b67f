"""Messages that get lost, come twice, or come too late; pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import ServerMessage

__all__ = ["Duplicate", "Lose", "Swap", "Tamper"]


@attrs.define(eq=False)
class Tamper(ABC):
    """
    An order to tamper with messages of a kind.

    Attributes:
        kind: Class of the messages.
        times: With how many more of them, over all clients.
    """

    kind: type[object]
    times: int

    def __attrs_post_init__(self) -> None:
        if self.times < 1:
            raise ConfigurationError("a fault happens once or more often")

    def apply(
        self, session_id: int, messages: Sequence[ServerMessage]
    ) -> list[ServerMessage]:
        """Return what a session is sent instead of ``messages``."""
        return [sent for message in messages for sent in self._one(session_id, message)]

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.times == 0

    @abstractmethod
    def _one(self, session_id: int, message: ServerMessage) -> list[ServerMessage]:
        """Return what is sent instead of one message."""

    def _is_meant(self, message: ServerMessage) -> bool:
        """Tell whether to tamper with a message, counting it if so."""
        if self.times == 0 or not isinstance(message, self.kind):
            return False
        self.times -= 1
        return True


class Lose(Tamper):
    """Messages are not sent."""

    def _one(self, session_id: int, message: ServerMessage) -> list[ServerMessage]:  # noqa: ARG002
        return [] if self._is_meant(message) else [message]


class Duplicate(Tamper):
    """Messages are sent twice."""

    def _one(self, session_id: int, message: ServerMessage) -> list[ServerMessage]:  # noqa: ARG002
        return [message, message] if self._is_meant(message) else [message]


@attrs.define(eq=False)
class Swap(Tamper):
    """Messages change places with the one after them, whenever that comes."""

    _held: dict[int, ServerMessage] = attrs.field(init=False, factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.times == 0 and not self._held

    def _one(self, session_id: int, message: ServerMessage) -> list[ServerMessage]:
        held = self._held.pop(session_id, None)
        if held is not None:
            return [message, held]
        if self._is_meant(message):
            self._held[session_id] = message
            return []
        return [message]
