"""A message that is expected: of which class, and with which fields; pure."""

from __future__ import annotations

from typing import get_args

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.server import ServerMessage, UnknownMessage

__all__ = ["Wanted"]

_CLASSES: dict[str, type[object]] = {
    message.type: message
    for message in (*get_args(ClientMessage), *get_args(ServerMessage))
    if message is not UnknownMessage
}


@attrs.frozen
class Wanted:
    """
    What a message must be.

    Attributes:
        kind: Its class.
        fields: What its fields must be; those not named may be anything.
    """

    kind: type[object]
    fields: dict[str, object]

    @classmethod
    def of(cls, kind: type[object] | str, fields: dict[str, object]) -> Wanted:
        """
        Return it for a class, or for a type as the wire names it.

        Raises:
            ConfigurationError: If no message has that type.
        """
        if not isinstance(kind, str):
            return cls(kind, fields)
        if kind not in _CLASSES:
            raise ConfigurationError(
                f"no message has the type {kind!r}; "
                f"there are {', '.join(sorted(_CLASSES))}"
            )
        return cls(_CLASSES[kind], fields)

    def __str__(self) -> str:
        name = getattr(self.kind, "type", self.kind.__name__)
        details = [f"{field}={value!r}" for field, value in self.fields.items()]
        return " ".join([str(name), *details])

    def is_met_by(self, message: object) -> bool:
        """Tell whether a message of that class has those fields."""
        return all(
            getattr(message, name, None) == value for name, value in self.fields.items()
        )
