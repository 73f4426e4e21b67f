"""
The publisher's side of commands: carry out, store, answer.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import attrs

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import (
    ConfigurationError,
    LaserSellError,
    RelayConnectError,
    RelayError,
    RelayTimeoutError,
)
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.codec import decode_client_message
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay.commands import Command, answer_of, command_of
from lasersell.relay.intent import fields_of
from lasersell.relay.keys import Keys
from lasersell.relay.lease import Lease
from lasersell.relay.link import BLOCK_SEC, RedisLink
from lasersell.relay.scripts import ANSWER
from lasersell.session.session import StreamSession

__all__ = ["Orders"]

log = logging.getLogger(__name__)

RETRY_SEC = 0.5
ANSWER_KEPT_SEC = 60


class Orders:
    """
    Takes commands while a publisher leads; :meth:`run` in a thread of its own.

    A command is carried out at least once if somebody waits for it: a leader that dies
    before it answered leaves it to the next one.

    Args:
        session: What they are about.
        strategy: What the session was configured with.
        link: The way to Redis, for this thread alone.
        keys: Of the relay.
        lease: Whoever does not hold it answers nothing.
        stop: Ends :meth:`run`.
    """

    def __init__(
        self,
        session: StreamSession,
        strategy: StrategyConfig,
        link: RedisLink,
        keys: Keys,
        lease: Lease,
        stop: threading.Event,
    ) -> None:
        self._session = session
        self._strategy = strategy
        self._link = link
        self._keys = keys
        self._lease = lease
        self._stop = stop
        self.connection: int | None = None
        """The id of our connection, by which Redis can be told to let us go."""

    def run(self) -> None:
        """Take commands until it is stopped; what Redis does meanwhile ends nothing."""
        cursor: bytes | None = None
        while not self._stop.is_set():
            try:
                if self.connection is None:
                    self.connection = self._link.execute("CLIENT", "ID")
                if cursor is None:
                    cursor = self._cursor()
                cursor = self._take(cursor)
            except RelayConnectError as error:
                log.debug("no commands: %s", error)
                self.connection = None
                # Redis is away; asked again until it is back.
                self._stop.wait(RETRY_SEC)

    def _cursor(self) -> bytes:
        found = self._link.execute("HGET", self._keys.meta, "command")
        return b"0-0" if found is None else bytes(found)

    def _take(self, cursor: bytes) -> bytes:
        found = self._link.execute(
            "XREAD",
            "BLOCK",
            int(1000 * BLOCK_SEC),
            "STREAMS",
            self._keys.commands,
            cursor,
        )
        for _, entries in found or []:
            for entry, fields in entries:
                self._deal_with(bytes(entry), fields)
                cursor = bytes(entry)
        return cursor

    def _deal_with(self, entry: bytes, fields: dict[bytes, bytes]) -> None:
        try:
            command = command_of(fields)
        except RelayError as error:
            log.error("a command was not understood: %s", error)
            return
        problem: LaserSellError | None = None
        stored: dict[str, bytes] = {}
        try:
            self._check_age(entry, command)
            stored = self._carry_out(command)
        except LaserSellError as error:
            problem = error
        except Exception as error:
            log.exception("a mistake of ours; a command was not carried out")
            problem = RelayError(f"a mistake of ours: {error!r}")
        self._answer(entry, command, problem, stored)

    def _answer(
        self,
        entry: bytes,
        command: Command,
        error: LaserSellError | None,
        stored: dict[str, bytes],
    ) -> None:
        keys = self._keys
        pairs = [part for pair in stored.items() for part in pair]
        self._link.run(
            ANSWER,
            [keys.lease, keys.meta, keys.answer(command.id), keys.intent],
            [
                self._lease.value,
                entry,
                answer_of(error),
                ANSWER_KEPT_SEC,
                0,
                *pairs,
            ],
        )

    def _check_age(self, entry: bytes, command: Command) -> None:
        given_at = float(entry.partition(b"-")[0])
        now = self._link.clock.to_redis(SYSTEM_CLOCK.monotonic())
        if now - given_at > 1000 * command.timeout:
            raise RelayTimeoutError("the command was too old when a publisher saw it")

    def _carry_out(self, command: Command) -> dict[str, bytes]:
        """Carry a command out; return what is to be stored of it."""
        message = decode_client_message(bytes(command.message))
        session = self._session
        if isinstance(message, RequestExitSignal):
            session.request_exit_signal(
                _account_of(command), slippage_bps=message.slippage_bps
            )
        elif isinstance(message, ClosePosition):
            session.close_position(_account_of(command))
        elif isinstance(message, UpdatePositionStrategy):
            session.update_position_strategy(_account_of(command), message.strategy)
        elif isinstance(message, UpdateStrategy):
            message = self._update_strategy(message, command)
        elif isinstance(message, UpdateWallets):
            session.update_wallets(message.wallet_pubkeys)
        elif isinstance(message, UpdateWatchWallets):
            session.update_watch_wallets(message.watch_wallets)
        elif isinstance(message, MirrorBuyResult):
            session.mirror_buy_result(message.mint, message.success)
        else:
            raise ConfigurationError(f"a relay takes no {message.type}")
        return fields_of(message, command.account, command.deadline)

    def _update_strategy(
        self, message: UpdateStrategy, command: Command
    ) -> ClientMessage:
        strategy = message.strategy
        if command.changes is not None:
            changes: dict[str, Any] = {
                name: getattr(strategy, name) for name in command.changes
            }
            strategy = attrs.evolve(self._strategy, **changes)
        self._session.update_strategy(strategy, command.deadline)
        self._strategy = strategy
        return UpdateStrategy(strategy=strategy)


def _account_of(command: Command) -> str:
    if not command.account:
        raise ConfigurationError("the command names no token account")
    return command.account
