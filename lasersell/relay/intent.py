"""
What subscribers asked for, kept in Redis: the next publisher starts with it.

It belongs to what the stream is configured with. Publishers that are started with another
configuration begin anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import attrs

from lasersell.errors import DecodeError
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.codec import decode_client_message, encode_client_message
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.options import StreamConfigure

__all__ = ["BASE", "StoredIntent", "digest_of", "of_account", "of_exit"]

BASE = "base"
DEADLINE = "deadline"

_PER_ACCOUNT = (UpdatePositionStrategy, ClosePosition, RequestExitSignal)


def digest_of(configure: StreamConfigure) -> str:
    """Return what tells one configuration from another."""
    text = encode_client_message(configure.message())
    deadline = f"{configure.deadline_timeout_sec:g}".encode()
    return hashlib.sha256(text + deadline).hexdigest()


def of_exit(account: str) -> str:
    """Return the field of a request for an exit."""
    return f"{RequestExitSignal.type} {account}"


def of_account(account: str) -> list[str]:
    """Return every field that an account can have."""
    return [f"{kind.type} {account}" for kind in _PER_ACCOUNT]


class StoredIntent:
    """
    What was asked for, as Redis has it.

    Args:
        fields: The hash.
        configure: What the stream is configured with.
    """

    def __init__(self, fields: Mapping[str, bytes], configure: StreamConfigure) -> None:
        self._configure = configure
        digest = digest_of(configure)
        self.is_of_this = fields.get(BASE, b"").decode() == digest
        """Whether it was asked of this configuration."""
        self.stale = [] if self.is_of_this else list(fields)
        """Fields that belong to another one."""
        self._messages: dict[str, ClientMessage] = {}
        self._deadline = configure.deadline_timeout_sec
        if self.is_of_this:
            self._read(fields)

    def _read(self, fields: Mapping[str, bytes]) -> None:
        for name, value in fields.items():
            if name == DEADLINE:
                self._deadline = float(value)
            elif name != BASE:
                try:
                    self._messages[name] = decode_client_message(value)
                except DecodeError:
                    self.stale.append(name)

    @property
    def configure(self) -> StreamConfigure:
        """What to configure the stream with now."""
        changes: dict[str, Any] = {"deadline_timeout_sec": self._deadline}
        for message in self._messages.values():
            if isinstance(message, UpdateStrategy):
                changes["strategy"] = message.strategy
            elif isinstance(message, UpdateWallets):
                changes["wallet_pubkeys"] = message.wallet_pubkeys
            elif isinstance(message, UpdateWatchWallets):
                changes["watch_wallets"] = message.watch_wallets
        return attrs.evolve(self._configure, **changes)

    def strategy_of(self, account: str) -> StrategyConfig | None:
        """Return the strategy that a position was given for itself."""
        message = self._messages.get(f"{UpdatePositionStrategy.type} {account}")
        if isinstance(message, UpdatePositionStrategy):
            return message.strategy
        return None

    def is_untracked(self, account: str) -> bool:
        """Tell whether tracking of a position was stopped."""
        return f"{ClosePosition.type} {account}" in self._messages

    def exit_of(self, account: str) -> RequestExitSignal | None:
        """Return the request for an exit that no signal has answered."""
        message = self._messages.get(of_exit(account))
        return message if isinstance(message, RequestExitSignal) else None


def fields_of(
    message: ClientMessage, account: str | None, deadline: float | None
) -> dict[str, bytes]:
    """Return what is to be stored once a command was carried out."""
    text = encode_client_message(message)
    if isinstance(message, _PER_ACCOUNT):
        return {} if account is None else {f"{message.type} {account}": text}
    if isinstance(message, UpdateStrategy):
        stored = {message.type: text}
        if deadline is not None:
            stored[DEADLINE] = f"{deadline:g}".encode()
        return stored
    if isinstance(message, (UpdateWallets, UpdateWatchWallets)):
        return {message.type: text}
    return {}
