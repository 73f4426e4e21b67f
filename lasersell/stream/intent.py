"""
What the server must be told after a reconnect. Pure: no I/O, no thread, no clock.

The server forgets everything when a connection ends. What the user last asked for
is kept here: the session's strategy and wallets, and of each position, by its
token account (ids change), the strategy of its own, whether it is no longer
tracked, and an exit that was asked for and not yet answered.

Not thread-safe: its owner guards it with a lock. ``now`` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from lasersell.errors import HoldFullError
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    Configure,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.server import ExitSignalWithTx, PositionClosed, PositionOpened
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.lifecycle import CommandExpired, ExitRequestUnanswered
from lasersell.stream.options import StreamConfigure

__all__ = ["HoldSettings", "Intent", "is_reemission"]

MOST_ASKS = 3

Report = CommandExpired | ExitRequestUnanswered


def is_reemission(before: PositionOpened, after: PositionOpened) -> bool:
    """
    Tell whether ``after``, on the same token account, is the same holding sent again.

    Which field a server repeats is not documented, so any of three will do: the
    time of opening, the slot, or the entry cost with no more tokens than before.
    """
    if after.opened_at_ms is not None and after.opened_at_ms == before.opened_at_ms:
        return True
    if after.slot == before.slot:
        return True
    return (
        after.entry_quote_units == before.entry_quote_units
        and after.tokens <= before.tokens
    )


@attrs.frozen(kw_only=True)
class HoldSettings:
    """How commands wait for the server. Times are in seconds."""

    capacity: int = 256
    """Commands given while offline that are held at most."""
    max_age: float = 30.0
    """After this long offline, a held command is no longer what the user wants."""
    retry_after: float = 5.0
    """After this long without an answer, an exit is asked for again."""


@attrs.define
class _ExitRequest:
    """An exit that was asked for; ``since`` is when it was last sent, or else given."""

    slippage_bps: int | None
    since: float
    by_deadline: bool
    asks: int = 0


@attrs.define
class _Holding:
    """What is known of one token account."""

    opened: PositionOpened | None
    is_here: bool
    """Whether this connection has named it."""
    is_untracked: bool = False
    override: StrategyConfig | None = None


class Intent:
    """
    Everything the user wants the server to know.

    Args:
        configure: What the user asked for first.
        hold: How commands wait.
    """

    def __init__(self, configure: StreamConfigure, hold: HoldSettings) -> None:
        self.strategy = configure.strategy
        self.wallet_pubkeys = configure.wallet_pubkeys
        self.watch_wallets = configure.watch_wallets
        self._configure = configure
        self._hold = hold
        self._holdings: dict[str, _Holding] = {}
        self._accounts: dict[int, str] = {}
        self._requests: dict[str, _ExitRequest] = {}
        self._mirror_results: dict[str, tuple[bool, float]] = {}

    # The session's settings

    def configure(self) -> Configure:
        """Return the ``configure`` that says what is wanted now."""
        return Configure(
            wallet_pubkeys=self.wallet_pubkeys,
            strategy=self.strategy,
            send_mode=self._configure.send_mode,
            tip_lamports=self._configure.tip_lamports,
            watch_wallets=self.watch_wallets,
            mirror_config=self._configure.mirror_config,
        )

    def strategy_update(self) -> UpdateStrategy:
        """Return the message that tells the strategy wanted now."""
        return UpdateStrategy(strategy=self.strategy)

    def wallets_update(self) -> UpdateWallets:
        """Return the message that tells the wallets wanted now."""
        return UpdateWallets(wallet_pubkeys=self.wallet_pubkeys)

    def watch_wallets_update(self) -> UpdateWatchWallets:
        """Return the message that tells the watched wallets wanted now."""
        return UpdateWatchWallets(watch_wallets=self.watch_wallets)

    def updates_since(self, told: Configure) -> list[Callable[[], ClientMessage]]:
        """
        Return what changed since ``told`` was written: the user did not wait for us.

        As functions, to be called in sending order: the user may change it again.
        """
        updates: list[Callable[[], ClientMessage]] = []
        if told.strategy != self.strategy:
            updates.append(self.strategy_update)
        if told.wallet_pubkeys != self.wallet_pubkeys:
            updates.append(self.wallets_update)
        if told.watch_wallets != self.watch_wallets:
            updates.append(self.watch_wallets_update)
        return updates

    # Positions

    @property
    def open_positions(self) -> int:
        """How many positions this connection has named and not closed."""
        return len(self._accounts)

    def account_of(self, position_id: int) -> str | None:
        """Return the token account of a position of this connection."""
        return self._accounts.get(position_id)

    def is_here(self, account: str) -> bool:
        """Tell whether this connection has named the account, or none ever has."""
        holding = self._holdings.get(account)
        return holding is None or holding.is_here

    def is_reemitted(self, message: PositionOpened) -> bool:
        """Tell whether a position of an earlier connection is named again."""
        holding = self._holdings.get(message.token_account)
        return (
            holding is not None
            and not holding.is_here
            and holding.opened is not None
            and is_reemission(holding.opened, message)
        )

    def override(self, token_account: str, strategy: StrategyConfig) -> None:
        """Remember a position's own strategy."""
        self._holding(token_account).override = strategy

    def untrack(self, token_account: str) -> None:
        """Remember that the user does not want this position tracked."""
        self._holding(token_account).is_untracked = True
        self._requests.pop(token_account, None)

    def request_exit(
        self,
        token_account: str,
        slippage_bps: int | None,
        now: float,
        *,
        is_live: bool,
        by_deadline: bool = False,
    ) -> RequestExitSignal | None:
        """
        Remember that an exit is wanted; return the message that asks for it now.

        None means that it is held: the stream is offline, or the position has not
        been named on this connection yet, so its account may hold another by now.

        Raises:
            HoldFullError: Offline, and too many commands are held already.
        """
        former = self._requests.get(token_account)
        is_live = is_live and self.is_here(token_account)
        if not is_live and former is None and not by_deadline:
            self._check_capacity()
        request = _ExitRequest(slippage_bps, now, by_deadline)
        if former is not None:
            request.by_deadline |= former.by_deadline
        self._requests[token_account] = request
        return self._ask(token_account, request, now) if is_live else None

    def exit_not_sent(self, token_account: str) -> None:
        """Note that the message of :meth:`request_exit` did not go out: it is held."""
        request = self._requests.get(token_account)
        if request is not None:
            request.asks = max(0, request.asks - 1)

    def cancel_deadlines(self) -> None:
        """Forget the exits that only deadlines asked for."""
        for account in [
            a for a, request in self._requests.items() if request.by_deadline
        ]:
            del self._requests[account]

    def hold_mirror_result(self, mint: str, success: bool, now: float) -> None:
        """
        Hold the outcome of a mirror buy for the next connection.

        Raises:
            HoldFullError: Too many commands are held already.
        """
        if mint not in self._mirror_results:
            self._check_capacity()
        self._mirror_results[mint] = (success, now)

    # What the server says

    def opened(self, message: PositionOpened, now: float) -> list[ClientMessage]:
        """Take note of a position; return what the server must be told about it."""
        account = message.token_account
        self._accounts[message.position_id] = account
        holding = self._holding(account)
        if holding.opened is None or self.is_reemitted(message):
            holding.opened, holding.is_here = message, True
            return self._restore(message, holding, now)
        if not holding.is_here or holding.opened.position_id != message.position_id:
            # Another position on the same account: nothing that was wished for
            # the former one holds for it.
            self._requests.pop(account, None)
            self._holdings[account] = _Holding(message, is_here=True)
        return []

    def closed(self, message: PositionClosed) -> None:
        """Take note that a position is over, or no longer tracked."""
        account = self._accounts.pop(message.position_id, None) or message.token_account
        if account is None:
            return
        self._requests.pop(account, None)
        holding = self._holdings.get(account)
        # An untracked one is kept: this is either the answer to close_position
        # or a sale, and only a re-emission after a reconnect tells which.
        if holding is not None and not holding.is_untracked:
            del self._holdings[account]

    def exit_signalled(self, message: ExitSignalWithTx) -> None:
        """Take note of an exit; a full one answers what was asked."""
        account = message.token_account
        if account is None and message.position_id is not None:
            account = self._accounts.get(message.position_id)
        if account is not None and message.level_index is None:
            self._requests.pop(account, None)

    # Connections

    def take_mirror_results(self) -> list[ClientMessage]:
        """Return the outcomes that were held, for a new connection."""
        results: list[ClientMessage] = [
            MirrorBuyResult(mint=mint, success=success)
            for mint, (success, _) in self._mirror_results.items()
        ]
        self._mirror_results.clear()
        return results

    def disconnected(self) -> None:
        """Take note that ids mean nothing any more."""
        self._accounts.clear()
        for holding in self._holdings.values():
            holding.is_here = False

    def resynced(self, now: float) -> list[Report]:
        """Forget what the new connection did not name; return what that costs the user."""
        reports: list[Report] = []
        for account in [a for a, h in self._holdings.items() if not h.is_here]:
            del self._holdings[account]
            request = self._requests.pop(account, None)
            if request is not None and not request.by_deadline:
                reports.append(self._expired(account, request, now))
        return reports

    # Time

    def next_due(self, *, is_live: bool) -> float | None:
        """Return when :meth:`due` has something to do; None if nothing waits."""
        times = [
            request.since + self._waits(request)
            for account, request in self._requests.items()
            if self._is_timed(account, request, is_live)
        ]
        times += [
            since + self._hold.max_age for _, since in self._mirror_results.values()
        ]
        return min(times, default=None)

    def due(
        self, now: float, *, is_live: bool
    ) -> tuple[list[ClientMessage], list[Report]]:
        """Return the exits to ask for again, and what is given up."""
        asks: list[ClientMessage] = []
        reports: list[Report] = []
        for account, request in list(self._requests.items()):
            if not self._is_timed(account, request, is_live):
                continue
            if now < request.since + self._waits(request):
                continue
            if request.asks == 0 and not request.by_deadline:
                del self._requests[account]
                reports.append(self._expired(account, request, now))
            elif request.asks >= MOST_ASKS and not request.by_deadline:
                del self._requests[account]
                reports.append(
                    ExitRequestUnanswered(token_account=account, asks=request.asks)
                )
            else:
                asks.append(self._ask(account, request, now))
        for mint, (success, since) in list(self._mirror_results.items()):
            if now >= since + self._hold.max_age:
                del self._mirror_results[mint]
                result = MirrorBuyResult(mint=mint, success=success)
                reports.append(CommandExpired(command=result, held_sec=now - since))
        return asks, reports

    # Private

    def _holding(self, token_account: str) -> _Holding:
        return self._holdings.setdefault(token_account, _Holding(None, is_here=False))

    def _restore(
        self, message: PositionOpened, holding: _Holding, now: float
    ) -> list[ClientMessage]:
        if holding.is_untracked:
            return [ClosePosition(position_id=message.position_id)]
        told: list[ClientMessage] = []
        if holding.override is not None:
            told.append(
                UpdatePositionStrategy(
                    position_id=message.position_id, strategy=holding.override
                )
            )
        request = self._requests.get(message.token_account)
        if request is not None:
            told.append(self._ask(message.token_account, request, now))
        return told

    def _ask(
        self, account: str, request: _ExitRequest, now: float
    ) -> RequestExitSignal:
        request.asks += 1
        request.since = now
        return self._message(account, request)

    @staticmethod
    def _message(account: str, request: _ExitRequest) -> RequestExitSignal:
        return RequestExitSignal(
            token_account=account, slippage_bps=request.slippage_bps
        )

    def _expired(
        self, account: str, request: _ExitRequest, now: float
    ) -> CommandExpired:
        return CommandExpired(
            command=self._message(account, request), held_sec=now - request.since
        )

    def _is_timed(self, account: str, request: _ExitRequest, is_live: bool) -> bool:
        # One that was sent waits for an answer, which only a live connection can
        # bring; one that was not sent ages while it waits for a connection.
        if request.asks or request.by_deadline:
            return is_live and self.is_here(account)
        return True

    def _waits(self, request: _ExitRequest) -> float:
        return (
            self._hold.retry_after
            if request.asks or request.by_deadline
            else self._hold.max_age
        )

    def _check_capacity(self) -> None:
        held = len(self._mirror_results)
        held += sum(1 for request in self._requests.values() if request.asks == 0)
        if held >= self._hold.capacity:
            raise HoldFullError(self._hold.capacity)
