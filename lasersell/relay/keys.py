"""
The keys of one relay in Redis, and what each one holds.

The braces keep all of them together wherever keys are spread, as the scripts need it.
"""

from __future__ import annotations

import re

import attrs

from lasersell.errors import ConfigurationError

__all__ = ["Keys", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,100}")


def check_name(what: str, name: object) -> str:
    """
    Return a name that may be part of a key.

    Raises:
        ConfigurationError: It may not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} must be 1 to 100 letters, digits, '.', '_', ':' or '-', not {name!r}"
        )
    return name


@attrs.frozen
class Keys:
    """
    The keys of the relay with a name.

    Raises:
        ConfigurationError: The name cannot be part of a key.
    """

    name: str = attrs.field(
        validator=lambda _, attribute, value: _check(attribute.name, value)
    )

    def _key(self, part: str) -> str:
        return f"lasersell:{{{self.name}}}:{part}"

    @property
    def lease(self) -> str:
        """Who leads: its fencing token and its name; expires."""
        return self._key("lease")

    @property
    def meta(self) -> str:
        """A hash: the last token, the last number given, the state of the stream."""
        return self._key("meta")

    @property
    def high(self) -> str:
        """The stream of the high lane, one entry for each event."""
        return self._key("high")

    @property
    def low(self) -> str:
        """The stream of the low lane, one entry for each batch."""
        return self._key("low")

    @property
    def positions(self) -> str:
        """A hash: the record of each open position, by its key."""
        return self._key("positions")

    @property
    def latest(self) -> str:
        """A hash: the latest profit and liquidity, by the position's key."""
        return self._key("latest")

    @property
    def intent(self) -> str:
        """A hash: what was asked for since the stream was configured."""
        return self._key("intent")

    @property
    def commands(self) -> str:
        """The stream of commands."""
        return self._key("commands")

    def answer(self, command: str) -> str:
        """Return the list that the answer to a command is pushed to; expires."""
        return self._key(f"answer:{command}")

    def workers(self, group: str) -> str:
        """Return the beginning of the keys of a group's living workers; they expire."""
        return self._key(f"worker:{group}:")

    def owners(self, group: str) -> str:
        """Return the beginning of the keys that say whose an account is; they expire."""
        return self._key(f"owner:{group}:")


def _check(name: str, value: object) -> None:
    check_name(name, value)
