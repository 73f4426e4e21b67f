"""
Commands of subscribers, and what the publisher answers.
"""

from __future__ import annotations

import uuid
from typing import Any

import attrs
import msgspec

from lasersell import errors
from lasersell.errors import (
    LaserSellError,
    RelayError,
    RelayTimeoutError,
)
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.codec import encode_client_message
from lasersell.relay.codec import from_json, to_json
from lasersell.relay.keys import Keys
from lasersell.relay.link import BLOCK_SEC, RedisLink

__all__ = ["Answer", "Command", "CommandSender", "answer_of"]

KEPT = 1000
"""Commands kept in the stream; each is dealt with in a moment."""
FIELD = "c"


class Command(msgspec.Struct, omit_defaults=True):
    """A command on its way to the publisher."""

    id: str
    message: msgspec.Raw
    """As a client sends it, but for ids, which only a publisher knows."""
    timeout: float
    """Seconds for which somebody waits for the answer; it is not carried out later."""
    account: str | None = None
    """The token account of the position it is about."""
    deadline: float | None = None
    """Of a strategy: the ``deadline_timeout_sec`` that comes with it."""
    changes: list[str] | None = None
    """Of a strategy: the fields that are to be changed; None is all."""


class Answer(msgspec.Struct, omit_defaults=True):
    """How a command ended; without an error it was carried out."""

    error: str | None = None
    """The name of the error's class."""
    args: list[Any] = []
    fields: dict[str, Any] = {}

    def raise_error(self) -> None:
        """Raise the error that the publisher met."""
        if self.error is None:
            return
        kind = getattr(errors, self.error, LaserSellError)
        error: LaserSellError = kind.__new__(kind)
        error.args = tuple(self.args)
        error.__dict__.update(self.fields)
        raise error


def answer_of(error: LaserSellError | None) -> bytes:
    """Return the answer to a command that met an error, or none."""
    if error is None:
        return to_json(Answer())
    name = type(error).__name__
    try:
        return to_json(
            Answer(error=name, args=list(error.args), fields=vars(error).copy())
        )
    except TypeError:
        # A field that no JSON can carry.
        return to_json(Answer(error=name, args=[str(error)]))


@attrs.frozen
class CommandSender:
    """
    Sends commands to whoever publishes, and waits for the answers; any thread.

    Attributes:
        link: The way to Redis.
        keys: Of the relay.
        timeout: Seconds to wait for an answer.
    """

    link: RedisLink
    keys: Keys
    timeout: float

    def ask(
        self,
        message: ClientMessage,
        *,
        account: str | None = None,
        deadline: float | None = None,
        changes: list[str] | None = None,
    ) -> None:
        """
        Have a command carried out; blocks until it was, ``timeout`` seconds at most.

        Raises:
            RelayTimeoutError: Nobody answered in time.
            RelayConnectError: Redis is away.
            LaserSellError: What the publisher met.
        """
        command = Command(
            id=uuid.uuid4().hex,
            message=msgspec.Raw(encode_client_message(message)),
            timeout=self.timeout,
            account=account,
            deadline=deadline,
            changes=changes,
        )
        keys = self.keys
        self.link.execute(
            "XADD", keys.commands, "MAXLEN", "~", KEPT, "*", FIELD, to_json(command)
        )
        self._wait(message.type, keys.answer(command.id))

    def _wait(self, what: str, key: str) -> None:
        waited = 0.0
        while waited < self.timeout:
            patience = min(BLOCK_SEC, self.timeout - waited)
            found = self.link.execute("BLPOP", key, max(0.01, patience))
            if found is not None:
                answer: Answer = from_json(found[1], Answer)
                answer.raise_error()
                return
            waited += patience
        raise RelayTimeoutError(
            f"no publisher of the relay {self.keys.name!r} answered {what} within "
            f"{self.timeout:g} seconds; is one running (lasersell relay)?"
        )


def command_of(fields: dict[bytes, bytes]) -> Command:
    """
    Return the command of an entry.

    Raises:
        RelayError: Another version wrote it.
    """
    raw = fields.get(FIELD.encode())
    if raw is None:
        raise RelayError("an entry of the stream of commands holds none")
    command: Command = from_json(raw, Command)
    return command
