"""
What the server must be told after a reconnect. Pure: no I/O, no thread, no clock.

The server forgets everything when a connection ends. What the user last asked for
is kept here: the session's strategy and wallets, and of each position, by its
token account (ids change), the strategy of its own, whether it is no longer
tracked, and an exit that was asked for and not yet answered.

Not thread-safe: its owner guards it with a lock. ``now`` is monotonic seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count

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
from lasersell.stream.options import StreamConfigure, check_count
from lasersell.stream.recognition import TOMBSTONE_SEC, Recognition, is_about

__all__ = ["HoldSettings", "Intent"]

MOST_ASKS = 3
HEAP_SLACK = 64
"""Times that no longer hold which may stay on the heap beyond as many as do."""

Report = CommandExpired | ExitRequestUnanswered


def _check_capacity(_: object, __: object, value: object) -> None:
    check_count("hold_capacity", value, 0)


@attrs.frozen(kw_only=True)
class HoldSettings:
    """How commands wait for the server. Times are in seconds."""

    capacity: int = attrs.field(default=256, validator=_check_capacity)
    """Commands given while offline that are held at most."""
    max_age: float = 30.0
    """After this long offline, a held command is no longer what the user wants."""
    retry_after: float = 5.0
    """After this long without an answer, an exit is asked for again."""


@attrs.define
class _ExitRequest:
    """An exit that is wanted; ``since`` is when it was last asked for, or else given."""

    slippage_bps: int | None
    since: float
    by_user: bool
    by_deadline: bool
    asks: int = 0

    @property
    def is_held(self) -> bool:
        """Whether it is a command that the server has not been told, and that ages."""
        return self.asks == 0 and not self.by_deadline


@attrs.define
class _Holding:
    """What is known of one token account."""

    opened: PositionOpened | None
    """How it was last named; None while it never was."""
    is_here: bool
    """Whether this connection has named it."""
    is_closed: bool = False
    """Closed since; kept because the user does not want it tracked."""
    heard_until_ms: float | None = None
    """When the last connection that had named it was last heard."""
    is_untracked: bool = False
    override: StrategyConfig | None = None

    @property
    def has_wishes(self) -> bool:
        """Whether the user asked for something that a reconnect must not undo."""
        return self.is_untracked or self.override is not None


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
        self.recognition = Recognition()
        self._configure = configure
        self._hold = hold
        self._holdings: dict[str, _Holding] = {}
        # Of positions that were given up, and may be named late: the wishes, and
        # since when; oldest first.
        self._lost: dict[str, tuple[_Holding, float]] = {}
        self._accounts: dict[int, str] = {}
        self._requests: dict[str, _ExitRequest] = {}
        self._mirror_results: dict[str, tuple[bool, float]] = {}
        # When each request is due, so that a look does not walk through all of them.
        # A time that no longer holds is skipped when it comes up.
        self._times: list[tuple[float, int, str]] = []
        self._times_while_live: bool | None = None
        """Whether they are those of a live stream; None: to be made anew."""
        self._sequence = count()

    # The session's settings

    def configure(self) -> Configure:
        """Return the ``configure`` that says what is wanted now."""
        return attrs.evolve(
            self._configure.message(),
            wallet_pubkeys=self.wallet_pubkeys,
            strategy=self.strategy,
            watch_wallets=self.watch_wallets,
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
        """
        Return the token account of a position.

        By its id on this connection, or on the last one while it was not named again.
        """
        account = self._accounts.get(position_id)
        if account is not None:
            return account
        for former, holding in self._holdings.items():
            opened = holding.opened
            if not holding.is_here and opened and opened.position_id == position_id:
                return former
        return None

    def present_id(self, token_account: str) -> int | None:
        """Return the id by which this connection has named an account; None if it has not."""
        holding = self._holdings.get(token_account)
        if holding is None or holding.opened is None or not holding.is_here:
            return None
        return holding.opened.position_id

    def is_here(self, account: str) -> bool:
        """Tell whether this connection has named the account, or none ever has."""
        holding = self._holdings.get(account)
        return holding is None or holding.is_here or holding.opened is None

    def is_current(
        self,
        opened: PositionOpened,
        *,
        is_here: bool,
        heard_until_ms: float | None = None,
    ) -> bool:
        """
        Tell whether a position is still the one on its account, as far as is known.

        Args:
            opened: Its latest ``position_opened`` that the caller knows.
            is_here: Whether that came on this connection.
            heard_until_ms: See :meth:`Recognition.is_same`.
        """
        holding = self._holdings.get(opened.token_account)
        return (
            holding is not None
            and holding.opened is not None
            and self.recognition.is_same(
                opened, holding.opened, is_here=is_here, heard_until_ms=heard_until_ms
            )
        )

    def is_reemitted(self, message: PositionOpened) -> bool:
        """Tell whether a position of an earlier connection is named again."""
        holding = self._holdings.get(message.token_account)
        return (
            holding is not None
            and not holding.is_here
            and self._is_same(holding, message)
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
            self._check_room(1)
        request = _ExitRequest(slippage_bps, now, not by_deadline, by_deadline)
        if former is not None:
            request.by_user |= former.by_user
            request.by_deadline |= former.by_deadline
            if by_deadline:
                request.slippage_bps = former.slippage_bps
        self._requests[token_account] = request
        self._note_time(token_account)
        return self._ask(token_account, request, now) if is_live else None

    def exit_not_sent(self, token_account: str) -> None:
        """
        Note that the message of :meth:`request_exit` did not go out: it is held.

        Raises:
            HoldFullError: Too many commands are held already.
        """
        request = self._requests.get(token_account)
        if request is None:
            return
        request.asks = max(0, request.asks - 1)
        self._note_time(token_account)
        if request.is_held:
            try:
                self._check_room(0)
            except HoldFullError:
                del self._requests[token_account]
                raise

    def cancel_deadlines(self) -> None:
        """Forget the exits that only deadlines asked for."""
        self._times_while_live = None
        for account, request in list(self._requests.items()):
            request.by_deadline = False
            if not request.by_user:
                del self._requests[account]

    def hold_mirror_result(self, mint: str, success: bool, now: float) -> None:
        """
        Hold the outcome of a mirror buy for the next connection.

        Raises:
            HoldFullError: Too many commands are held already.
        """
        if mint not in self._mirror_results:
            self._check_room(1)
        self._mirror_results[mint] = (success, now)

    # What the server says

    def opened(
        self, message: PositionOpened, now: float
    ) -> tuple[list[ClientMessage], list[Report]]:
        """Take note of a position; return what to tell the server, and what is given up."""
        account = message.token_account
        self._revive(message, now)
        holding = self._holding(account)
        if holding.opened is None or self._is_same(holding, message):
            is_news = not holding.is_here or holding.is_closed
            self._name(holding, message)
            return (self._restore(message, holding, now) if is_news else []), []
        # Another position on the same account: nothing that was wished for the
        # former one holds for it.
        if holding.is_here:
            self._accounts.pop(holding.opened.position_id, None)
        reports = self._give_up(account, now)
        self._holdings[account] = holding = _Holding(None, is_here=False)
        self._name(holding, message)
        return [], reports

    def closed(self, message: PositionClosed) -> None:
        """Take note that a position is over, or no longer tracked."""
        account = self._account_named(message)
        if account is None:
            return
        present_id = self.present_id(account)
        if present_id is not None:
            self._accounts.pop(present_id, None)
        self._requests.pop(account, None)
        holding = self._holdings.get(account)
        if holding is None:
            return
        # An untracked one is kept: this is either the answer to close_position
        # or a sale, and only a re-emission tells which.
        holding.is_closed = True
        if not holding.is_untracked:
            del self._holdings[account]

    def exit_signalled(self, message: ExitSignalWithTx) -> None:
        """Take note of an exit; a full one answers what was asked."""
        account = self._account_named(message)
        if account is not None and _sells_all(message):
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
        self._times_while_live = None
        self._accounts.clear()
        for holding in self._holdings.values():
            if holding.is_here:
                holding.is_here = False
                holding.heard_until_ms = self.recognition.heard_until_ms

    def resynced(self, now: float) -> list[Report]:
        """Give up what the new connection did not name; return what that costs the user."""
        self._forget_old(now)
        reports: list[Report] = []
        for account, holding in list(self._holdings.items()):
            if holding.is_here:
                continue
            del self._holdings[account]
            reports += self._give_up(account, now)
            if holding.opened is not None and holding.has_wishes:
                self._lost.pop(account, None)
                self._lost[account] = (holding, now)
        return reports

    # Time

    def next_due(self, *, is_live: bool) -> float | None:
        """Return when :meth:`due` has something to do; None if nothing waits."""
        times = [
            since if is_live else since + self._hold.max_age
            for _, since in self._mirror_results.values()
        ]
        first = self._first_due(is_live)
        if first is not None:
            times.append(first[0])
        return min(times, default=None)

    def due(
        self, now: float, *, is_live: bool
    ) -> tuple[list[ClientMessage], list[Report]]:
        """Return what to tell the server by now, and what is given up."""
        asks: list[ClientMessage] = []
        reports: list[Report] = []
        while (first := self._first_due(is_live)) is not None and first[0] <= now:
            account = first[2]
            request = self._requests[account]
            if request.by_deadline or 0 < request.asks < MOST_ASKS:
                asks.append(self._ask(account, request, now))
            else:
                reports += self._give_up(account, now)
        if is_live:
            return asks + self.take_mirror_results(), reports
        for mint, (success, since) in list(self._mirror_results.items()):
            if now >= since + self._hold.max_age:
                del self._mirror_results[mint]
                result = MirrorBuyResult(mint=mint, success=success)
                reports.append(CommandExpired(command=result, held_sec=now - since))
        return asks, reports

    # Private

    def _holding(self, token_account: str) -> _Holding:
        return self._holdings.setdefault(token_account, _Holding(None, is_here=False))

    def _is_same(self, holding: _Holding, message: PositionOpened) -> bool:
        return holding.opened is not None and self.recognition.is_same(
            holding.opened,
            message,
            is_here=holding.is_here,
            is_over=holding.is_closed,
            heard_until_ms=holding.heard_until_ms,
        )

    def _name(self, holding: _Holding, message: PositionOpened) -> None:
        holding.opened, holding.is_here, holding.is_closed = message, True, False
        self._accounts[message.position_id] = message.token_account
        self._note_time(message.token_account)

    def _account_named(self, frame: PositionClosed | ExitSignalWithTx) -> str | None:
        """
        Return the token account of the position that a frame is about.

        By the id of this connection, then the token account, then wallet and mint
        where only one position has them; nothing else in the frame may contradict.
        """
        for account in self._candidates(frame):
            holding = self._holdings.get(account)
            if holding is None or holding.opened is None:
                return account  # only the user and this frame know of it
            if is_about(frame, holding.opened, is_here=holding.is_here):
                return account
        return None

    def _candidates(self, frame: PositionClosed | ExitSignalWithTx) -> Iterator[str]:
        if frame.position_id in self._accounts:
            yield self._accounts[frame.position_id]
        if frame.token_account is not None:
            yield frame.token_account
        matches = [
            account
            for account, holding in self._holdings.items()
            if holding.opened is not None
            and not holding.is_closed
            and holding.opened.wallet_pubkey == frame.wallet_pubkey
            and holding.opened.mint == frame.mint
        ]
        if len(matches) == 1:
            yield matches[0]

    def _revive(self, message: PositionOpened, now: float) -> None:
        """Take the wishes back for a position that was given up and is named late."""
        self._forget_old(now)
        account = message.token_account
        lost, _ = self._lost.pop(account, (None, 0.0))
        if lost is None or lost.opened is None or account in self._holdings:
            return
        if self.recognition.is_same(lost.opened, message, is_here=False, is_over=True):
            self._holdings[account] = lost

    def _forget_old(self, now: float) -> None:
        for account, (_, since) in list(self._lost.items()):
            if now - since < TOMBSTONE_SEC:
                return
            del self._lost[account]

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
        if request is not None and (request.by_deadline or request.asks < MOST_ASKS):
            told.append(self._ask(message.token_account, request, now))
        return told

    def _ask(
        self, account: str, request: _ExitRequest, now: float
    ) -> RequestExitSignal:
        request.asks += 1
        request.since = now
        self._note_time(account)
        return self._message(account, request)

    @staticmethod
    def _message(account: str, request: _ExitRequest) -> RequestExitSignal:
        return RequestExitSignal(
            token_account=account, slippage_bps=request.slippage_bps
        )

    def _give_up(self, account: str, now: float) -> list[Report]:
        """Forget an exit that was asked for; return what the user must know of it."""
        request = self._requests.pop(account, None)
        if request is None or not request.by_user:
            return []
        if request.asks:
            return [ExitRequestUnanswered(token_account=account, asks=request.asks)]
        command = self._message(account, request)
        return [CommandExpired(command=command, held_sec=now - request.since)]

    def _due_at(
        self, account: str, request: _ExitRequest, is_live: bool
    ) -> float | None:
        # One that was sent waits for an answer, which only a live connection can
        # bring; one that was not sent ages while it waits for a connection.
        if request.is_held:
            return request.since + self._hold.max_age
        if is_live and self.is_here(account):
            return request.since + self._hold.retry_after
        return None

    def _note_time(self, account: str) -> None:
        """Note when a request is due, after anything that moves that."""
        request = self._requests.get(account)
        if request is None or self._times_while_live is None:
            return
        if len(self._times) > 2 * len(self._requests) + HEAP_SLACK:
            self._times_while_live = None
            return
        at = self._due_at(account, request, self._times_while_live)
        if at is not None:
            heapq.heappush(self._times, (at, next(self._sequence), account))

    def _first_due(self, is_live: bool) -> tuple[float, int, str] | None:
        if self._times_while_live is not is_live:
            self._times.clear()
            self._times_while_live = is_live
            for account in self._requests:
                self._note_time(account)
        while self._times:
            at, _, account = self._times[0]
            request = self._requests.get(account)
            if request is not None and self._due_at(account, request, is_live) == at:
                return self._times[0]
            heapq.heappop(self._times)
        return None

    def _check_room(self, more: int) -> None:
        held = len(self._mirror_results) + more
        held += sum(1 for request in self._requests.values() if request.is_held)
        if held > self._hold.capacity:
            raise HoldFullError(self._hold.capacity)


def _sells_all(message: ExitSignalWithTx) -> bool:
    if message.sell_tokens is None:
        return message.level_index is None
    return (
        message.position_tokens is not None
        and message.sell_tokens >= message.position_tokens
    )
