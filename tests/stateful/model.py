"""
What a session must know, say and tell, by the rules of the documents alone.

The model knows the truth (which holding a message is about), so it needs no rule for
recognising positions. Times are seconds of the fake clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from lasersell.protocol.client import ClientMessage
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.positions import PositionHandle
from tests.clock import FakeClock
from tests.stateful.world import Holding, Server
from tests.unit.session.frames import START_MS

__all__ = ["MAX_AGE", "RETRY", "WINDOW", "Expected", "Known", "Model", "as_told"]

RETRY = 4.713
MAX_AGE = 31.377
WINDOW = 5.0
GRACE = 5.0
TOMBSTONE = 600.0
MOST_ASKS = 3
NEVER = float("-inf")
SLACK = 1e-4

Told = tuple[object, ...]


def as_told(message: ClientMessage) -> Told:
    """Return a command as plain values that can be compared."""
    return (message.type, *attrs.astuple(message, recurse=False))


@attrs.define(eq=False)
class Known:
    """A position as the session must know it."""

    holding: Holding
    position_id: int
    tokens: int
    counts_from: float
    has_time: bool
    """Whether its latest ``position_opened`` told the time of opening."""
    is_here: bool = True
    excused_until: float = NEVER
    is_fired: bool = False
    is_untracked: bool = False
    override: StrategyConfig | None = None
    attempts: dict[int | None, int] = attrs.field(factory=dict)
    handle: PositionHandle | None = None
    """The session's object, once one of its events was seen."""

    @property
    def name(self) -> str:
        return self.holding.account.name


@attrs.define
class Want:
    """An exit that is wanted and not answered."""

    since: float
    slippage_bps: int | None = None
    by_user: bool = False
    by_deadline: bool = False
    asks: int = 0

    @property
    def is_held(self) -> bool:
        return self.asks == 0 and not self.by_deadline


@attrs.frozen
class Expected:
    """An event that must come."""

    type: str
    known: Known | None = None
    detail: object = None


class Model:
    """
    The session's part, by the rules.

    Attributes:
        highs: High events that must come and have not been compared yet.
        lows: The same of the low lane, before anything is dropped.
        told: What the server must have been told since the last comparison.
    """

    def __init__(
        self, clock: FakeClock, server: Server, strategy: StrategyConfig, timeout: float
    ) -> None:
        self.strategy = strategy
        self.wallets: tuple[str, ...] = ()
        self.timeout = timeout
        self.open: dict[str, Known] = {}
        self.untracked: dict[str, Known] = {}
        self.tombs: dict[str, tuple[Known, float]] = {}
        self.wants: dict[str, Want] = {}
        self.mirror: dict[str, tuple[bool, float]] = {}
        self.is_live = False
        self.resync_at: float | None = None
        self.highs: list[Expected] = []
        self.lows: list[Expected] = []
        self.told: list[Told] = []
        self._connections = 0
        self._clock = clock
        self._server = server
        self.watches: dict[type, Callable[[Any], None]] = {
            PositionOpened: self._opened,
            PositionClosed: self._closed,
            BalanceUpdate: self._balance,
            ExitSignalWithTx: self._exit,
            PnlUpdate: self._pnl,
        }

    @property
    def now(self) -> float:
        return self._clock.monotonic()

    # Connections

    def connect(self) -> None:
        """The session is about to be live."""
        self._connections += 1
        self.is_live = True
        self.told.append(("configure", self.wallets, self.strategy))
        self.highs += [Expected("connected"), Expected("hello_ok")]
        if self._connections > 1:
            self.highs.append(Expected("gap"))
            self.resync_at = self.now + WINDOW
        for mint, (success, _) in self.mirror.items():
            self.told.append(("mirror_buy_result", mint, success))
        self.mirror.clear()

    def drop(self) -> None:
        """The connection is lost."""
        self.is_live = False
        self.resync_at = None
        for known in (*self.open.values(), *self.untracked.values()):
            known.is_here = False
        self.highs.append(Expected("disconnected"))

    # What the server says

    def see(self, message: Any) -> None:
        """The session is about to take a message."""
        self.run_due()
        self.watches[type(message)](message)
        self.run_due()

    def _opened(self, message: PositionOpened) -> None:
        holding = self._server.by_id[message.position_id]
        name = holding.account.name
        existing, put_aside = self.open.get(name), self.untracked.pop(name, None)
        lost, since = self.tombs.pop(name, (None, NEVER))
        if self.now - since >= TOMBSTONE:
            lost = None
        known = existing or put_aside or lost
        if known is not None and known.holding is holding:
            if known is not lost and not known.is_here and self.resync_at is not None:
                self.resync_at = self.now + WINDOW
            self._name_again(known, message, is_open=existing is not None)
            return
        if existing is not None:
            self._give_up(name)
            del self.open[name]
            self.highs.append(Expected("position_lost", existing, "replaced"))
        new = Known(
            holding, message.position_id, message.tokens, self.now, has_time=False
        )
        self._take_time(new, message)
        self.open[name] = new
        is_overdue = (
            self._has_deadline(new) and new.counts_from + self.timeout <= self.now
        )
        if is_overdue:
            new.excused_until = self.now + GRACE
        self.highs.append(Expected("position_opened", new, (False, is_overdue)))

    def _name_again(
        self, known: Known, message: PositionOpened, *, is_open: bool
    ) -> None:
        reopened = not (known.is_here and is_open)
        known.position_id, known.tokens = message.position_id, message.tokens
        known.is_here = True
        self._take_time(known, message)
        self.open[known.name] = known
        self.highs.append(Expected("position_opened", known, (reopened, False)))
        if reopened:
            self._restore(known)

    def _take_time(self, known: Known, message: PositionOpened) -> None:
        known.has_time = message.opened_at_ms is not None
        if message.opened_at_ms is not None:
            opened_at = (message.opened_at_ms - START_MS) / 1000
            known.counts_from = min(known.counts_from, opened_at)

    def _restore(self, known: Known) -> None:
        if known.is_untracked:
            self.told.append(("close_position", known.position_id, None))
            return
        if known.override is not None:
            self.told.append(
                ("update_position_strategy", known.position_id, known.override)
            )
        want = self.wants.get(known.name)
        if want is not None and (want.by_deadline or want.asks < MOST_ASKS):
            self._ask(known.name, want)

    def _closed(self, message: PositionClosed) -> None:
        name = message.token_account
        assert name is not None
        known = self.open.get(name)
        if (
            known is not None
            and known.is_here
            and known.position_id != message.position_id
        ):
            known = None
        if known is not None:
            del self.open[name]
            self.wants.pop(name, None)
            if known.is_untracked:
                self.untracked[name] = known
        self.highs.append(Expected("position_closed", known))

    def _balance(self, message: BalanceUpdate) -> None:
        assert message.token_account is not None
        known = self.open.get(message.token_account)
        if known is not None:
            known.tokens = message.tokens
        self.highs.append(Expected("balance_update", known))

    def _exit(self, message: ExitSignalWithTx) -> None:
        assert message.token_account is not None
        known = self.open[message.token_account]
        level = message.level_index
        known.attempts[level] = known.attempts.get(level, 0) + 1
        self.highs.append(Expected("exit_signal_with_tx", known, known.attempts[level]))
        if level is None:
            self.wants.pop(known.name, None)

    def _pnl(self, message: PnlUpdate) -> None:
        name = self._server.by_id[message.position_id].account.name
        self.lows.append(Expected("pnl_update", self.open[name], message.profit_units))

    # What the user says

    def update_strategy(self, strategy: StrategyConfig, timeout: float | None) -> None:
        """Replace the strategy, and the deadline if given."""
        self.strategy = strategy
        if self.is_live:
            self.told.append(("update_strategy", strategy))
        if timeout is None:
            return
        self.timeout = timeout
        for name, want in list(self.wants.items()):
            want.by_deadline = False
            if not want.by_user:
                del self.wants[name]
        for known in self.open.values():
            if self._has_deadline(known):
                known.is_fired = False
        self.run_due()

    def update_wallets(self, wallets: tuple[str, ...]) -> None:
        """Replace the own wallets."""
        self.wallets = wallets
        if self.is_live:
            self.told.append(("update_wallets", wallets))

    def override(self, known: Known, strategy: StrategyConfig) -> None:
        """Give a position a strategy of its own."""
        known.override = strategy
        if self.is_live and known.is_here:
            self.told.append(("update_position_strategy", known.position_id, strategy))

    def untrack(self, known: Known) -> None:
        """Stop tracking a position."""
        known.is_untracked = True
        self.wants.pop(known.name, None)
        if self.is_live and known.is_here:
            self.told.append(("close_position", None, known.name))

    def request_exit(self, known: Known, slippage_bps: int | None) -> None:
        """Ask for an exit."""
        former = self.wants.get(known.name)
        want = Want(self.now, slippage_bps, by_user=True)
        want.by_deadline = former is not None and former.by_deadline
        self.wants[known.name] = want
        if self._can_be_asked(known.name):
            self._ask(known.name, want)

    def mirror_buy_result(self, mint: str, success: bool) -> None:
        """Report a mirror buy."""
        if self.is_live:
            self.told.append(("mirror_buy_result", mint, success))
        else:
            self.mirror[mint] = (success, self.now)

    # Time

    def deadline_of(self, known: Known) -> float | None:
        """Return when a position's exit must be asked for."""
        if known.is_fired or not self._has_deadline(known):
            return None
        return max(known.counts_from + self.timeout, known.excused_until)

    def next_command(self) -> float | None:
        """Return when something that waits for the server, or for an answer, is due."""
        return min(self._commands(), default=None)

    def next_due(self) -> float | None:
        """Return when :meth:`run_due` has something to do."""
        return min((*self._commands(), *self._deadlines()), default=None)

    def _commands(self) -> Iterator[float]:
        for name, want in self.wants.items():
            at = self._due_at(name, want)
            if at is not None:
                yield at
        for _, since in self.mirror.values():
            yield since + MAX_AGE
        if self.resync_at is not None:
            yield self.resync_at

    def _deadlines(self) -> Iterator[float]:
        for known in self.open.values():
            at = self.deadline_of(known)
            if at is not None:
                yield at

    def run_due(self) -> None:
        """Do what is due by now, give or take the rounding of both sides."""
        now = self.now + SLACK
        for known in self.open.values():
            at = self.deadline_of(known)
            if at is not None and at <= now:
                self._fire(known)
        for name, want in list(self.wants.items()):
            at = self._due_at(name, want)
            if at is None or at > now:
                continue
            if want.by_deadline or 0 < want.asks < MOST_ASKS:
                self._ask(name, want)
            else:
                self._give_up(name)
        for mint, (_, since) in list(self.mirror.items()):
            if since + MAX_AGE <= now:
                del self.mirror[mint]
                self.highs.append(Expected("command_expired", None))
        if self.resync_at is not None and self.resync_at <= now:
            self._end_resync()

    def _fire(self, known: Known) -> None:
        known.is_fired = True
        former = self.wants.get(known.name, Want(self.now))
        want = attrs.evolve(former, since=self.now, by_deadline=True, asks=0)
        self.wants[known.name] = want
        if self._can_be_asked(known.name):
            self._ask(known.name, want)

    def _end_resync(self) -> None:
        self.resync_at = None
        lost = [known for known in self.open.values() if not known.is_here]
        for known in lost:
            self._give_up(known.name)
        for known in lost:
            del self.open[known.name]
            known.is_fired = False
            self.tombs[known.name] = (known, self.now)
            self.highs.append(Expected("position_lost", known, "not_reemitted"))
        for known in list(self.untracked.values()):
            if not known.is_here:
                del self.untracked[known.name]
                self.tombs[known.name] = (known, self.now)

    def _has_deadline(self, known: Known) -> bool:
        return (
            self.timeout > 0
            and not known.is_untracked
            and not known.holding.account.watched
        )

    def _can_be_asked(self, name: str) -> bool:
        return self.is_live and name in self.open and self.open[name].is_here

    def _due_at(self, name: str, want: Want) -> float | None:
        if want.is_held:
            return want.since + MAX_AGE
        return want.since + RETRY if self._can_be_asked(name) else None

    def _ask(self, name: str, want: Want) -> None:
        want.asks += 1
        want.since = self.now
        # Of two that are due in the same moment, the one first asked for comes first.
        self.wants[name] = self.wants.pop(name)
        self.told.append(("request_exit_signal", None, name, want.slippage_bps))

    def _give_up(self, name: str) -> None:
        want = self.wants.pop(name, None)
        if want is not None and want.by_user:
            kind = "exit_request_unanswered" if want.asks else "command_expired"
            self.highs.append(Expected(kind, self.open.get(name)))
