"""
A session against a model of it, through any sequence of what can happen.

A few sequences with every test run, 1,000 with the slow ones, and as many as
``LASERSELL_SEQUENCES`` says with ``make stress``.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lasersell.protocol.server import PnlUpdate
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.events import StreamEvent
from lasersell.stream.intent import HoldSettings
from lasersell.stream.lifecycle import PositionLost
from lasersell.stream.options import StreamConfigure
from lasersell.stream.reader import Message
from tests.clock import FakeClock
from tests.stateful.model import MAX_AGE, RETRY, Expected, Known, Model, as_told
from tests.stateful.twin import Twin
from tests.stateful.world import (
    ACCOUNTS,
    FIRST,
    SECOND,
    Account,
    Facts,
    Holding,
    Server,
)
from tests.unit.session.frames import pnl

A_FEW = 60
SEQUENCES = int(os.environ.get("LASERSELL_SEQUENCES", "1000"))
STEPS = 40
LOW_CAPACITY = 3
SAME_COST = 77_777
ROUNDING = 1e-7
"""Seconds after which both sides agree that a moment has passed."""
BETWEEN = 0.013
"""Seconds that pass around a buy or a request: no two have the same moment."""

accounts = st.sampled_from(ACCOUNTS)
numbers = st.integers(0, 7)
strategies = st.integers(1, 5).map(lambda n: StrategyConfig(target_profit_pct=float(n)))
timeouts = st.sampled_from([0.0, 20.423, 20.423, 61.911, 3600.0])
durations = st.sampled_from([0.307, 1.909, 4.103, 5.503, 13.701, 61.703, 599.009])
facts = st.sampled_from(["all", "time", "slot", "cost"])
some_accounts = st.frozensets(accounts, max_size=2)
moves = st.lists(
    st.tuples(accounts, st.sampled_from(["open", "sell", "sell_part", "again"])),
    max_size=3,
)


class SessionMachine(RuleBasedStateMachine):
    """One session, one server, and the model that knows what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.server = Server(self.clock)
        self.costs = 1000
        self.is_slow = False

    @initialize(
        strategy=strategies, timeout=timeouts, held=some_accounts, is_mute=st.booleans()
    )
    def start(
        self,
        strategy: StrategyConfig,
        timeout: float,
        held: frozenset[Account],
        is_mute: bool,
    ) -> None:
        """Connect for the first time, with something held already."""
        configure = StreamConfigure(
            wallet_pubkeys=[FIRST], strategy=strategy, deadline_timeout_sec=timeout
        )
        self.model = Model(self.clock, self.server, strategy, timeout)
        self.model.wallets = configure.wallet_pubkeys
        self.twin = Twin(
            self.clock,
            configure=configure,
            hold=HoldSettings(max_age=MAX_AGE, retry_after=RETRY),
            low_capacity=LOW_CAPACITY,
            answer=self.server.answer,
            before=self._before,
        )
        self.server.is_mute = is_mute
        for account in sorted(held, key=lambda account: account.name):
            self._buy(account)
        self._connect()

    def _before(self, message: Message) -> None:
        if type(message) in self.model.watches:
            self.model.see(message)

    # The chain

    @rule(
        account=accounts, move=st.sampled_from(["open", "sell", "sell_part", "again"])
    )
    def trade(self, account: Account, move: str) -> None:
        """A buy lands, a sale of all or of a part, or both on the same account."""
        self._trade(account, move)
        self.settle()

    def _trade(self, account: Account, move: str) -> None:
        holding = self.server.holdings.get(account.name)
        if holding is None:
            if move == "open":
                self._buy(account)
        elif move == "sell_part":
            self._sell_part(holding)
        elif move in ("sell", "again"):
            self._sell(account)
            if move == "again":
                self._buy(account)

    @rule(account=accounts)
    def buy_again_out_of_order(self, account: Account) -> None:
        """The server tells of a second buy first, and of the sale before it last."""
        if account.name in self.server.named:
            number = self.server.ids[account.name]
            self.server.stop_tracking(account.name)
            former = self.server.sell(account.name)
            self._buy(account)
            if self.server.is_wanted(account):
                self.twin.feed(self.server.closed(former, number))
            self.settle()

    @rule(account=accounts)
    def grow(self, account: Account) -> None:
        """More is bought, and the server names the position again with all that it is now."""
        if account.name in self.server.named:
            self.advance(BETWEEN)
            self.costs += 1
            self.twin.feed(self.server.grow(account.name, entry=self.costs))
            self.advance(BETWEEN)
            self.settle()

    def _sell_part(self, holding: Holding) -> None:
        if holding.tokens > 10:
            holding.tokens -= 10
            if holding.account.name in self.server.named:
                self.twin.feed(self.server.balance(holding))

    def _sell(self, account: Account) -> None:
        holding = self.server.sell(account.name)
        if account.name in self.server.named:
            self.twin.feed(
                self.server.balance(holding, 0), self.server.stop_tracking(account.name)
            )

    def _buy(self, account: Account) -> None:
        """Buy for the same as always, unless the cost alone could tell two apart."""
        self.advance(BETWEEN)
        self.costs += 1
        same_cost = self._time_tells(account)
        self.server.buy(
            account, entry=SAME_COST if same_cost else self.costs, tells_all=same_cost
        )
        if self.model.is_live and self.server.is_wanted(account):
            self.twin.feed(*self.server.name(account.name))
        self.advance(BETWEEN)

    def _time_tells(self, account: Account) -> bool:
        """Whether the time of opening tells a new position from what was on the account."""
        known = self.model.open.get(account.name)
        if known is not None and not known.is_here and self.model.is_live:
            return False
        others = [
            self.model.untracked.get(account.name),
            self.model.tombs.get(account.name, (None, 0.0))[0],
        ]
        return all(one is None or one.has_time for one in (known, *others))

    @rule(profit=st.integers(-900, 900))
    def move_price(self, profit: int) -> None:
        """All that is tracked is worth something else now."""
        updates = [pnl(number, profit + number) for number in self.server.ids.values()]
        if self.model.is_live and updates:
            self.twin.feed(*updates)
            self.settle()

    @rule(account=accounts, level=st.sampled_from([None, 0, 0, 1]))
    def signal(self, account: Account, level: int | None) -> None:
        """A strategy triggers, for the whole or for a rung of the ladder."""
        if self.model.is_live and account.name in self.server.named:
            self.twin.feed(self.server.exit(account.name, level))
            self.settle()

    @rule()
    def mute(self) -> None:
        """The server begins, or ceases, to pass over requests for an exit."""
        self.server.is_mute = not self.server.is_mute

    # The user

    @rule(strategy=strategies, timeout=timeouts)
    def change_strategy(self, strategy: StrategyConfig, timeout: float | None) -> None:
        """Another strategy, and perhaps another deadline."""
        self.model.update_strategy(strategy, timeout)
        self.twin.session.update_strategy(strategy, timeout)
        self.settle()

    @rule(number=numbers, strategy=strategies)
    def override(self, number: int, strategy: StrategyConfig) -> None:
        """A strategy for one position."""
        known = self._pick(number)
        if known is not None:
            self.model.override(known, strategy)
            self.twin.session.update_position_strategy(self._handle(known), strategy)
            self.settle()

    @rule(number=numbers)
    def untrack(self, number: int) -> None:
        """One position is no longer tracked."""
        known = self._pick(number)
        if known is not None:
            self.model.untrack(known)
            self.twin.session.close_position(self._handle(known))
            self.settle()

    @rule(number=numbers, slippage=st.sampled_from([None, 300, 500]))
    def request_exit(self, number: int, slippage: int | None) -> None:
        """An exit is asked for by hand."""
        # No two in the same moment: which of them is due first would be anybody's guess.
        self.advance(BETWEEN)
        known = self._pick(number)
        if known is not None:
            self.model.request_exit(known, slippage)
            self.twin.session.request_exit_signal(self._handle(known), slippage)
            self.settle()

    @rule(has_second=st.booleans())
    def change_wallets(self, has_second: bool) -> None:
        """One wallet or two."""
        wallets = (FIRST, SECOND) if has_second else (FIRST,)
        self.model.update_wallets(wallets)
        self.twin.session.update_wallets(wallets)
        self.settle()

    @rule(mint=st.sampled_from(["m", "n"]), success=st.booleans())
    def report_mirror_buy(self, mint: str, success: bool) -> None:
        """What became of a copied buy."""
        self.model.mirror_buy_result(mint, success)
        self.twin.session.mirror_buy_result(mint, success)
        self.settle()

    def _pick(self, number: int) -> Known | None:
        known = list(self.model.open.values())
        return known[number % len(known)] if known else None

    def _handle(self, known: Known) -> Any:
        """Name a position by its account, or by its handle where the test has seen it."""
        return known.handle or known.name

    # The connection

    @precondition(lambda self: self.model.is_live)
    @rule()
    def drop(self) -> None:
        """The connection is lost."""
        self.server.hang_up()
        self.model.drop()
        self.twin.drop()
        self.settle()

    @precondition(lambda self: not self.model.is_live)
    @rule(
        repeats=facts,
        renews_ids=st.booleans(),
        is_reversed=st.booleans(),
        withheld=some_accounts,
    )
    def reconnect(
        self,
        repeats: Facts,
        renews_ids: bool,
        is_reversed: bool,
        withheld: frozenset[Account],
    ) -> None:
        """The stream is back; the server names what it holds, in one way or another."""
        self.server.prepare(
            facts=repeats,
            renews_ids=renews_ids,
            is_reversed=is_reversed,
            withheld=frozenset(account.name for account in withheld),
        )
        self._connect()

    @rule(
        profit=st.none() | st.integers(-900, 900),
        moves=moves,
        away=st.sampled_from([0.103, 7.001, 33.003]),
        repeats=facts,
        renews_ids=st.booleans(),
        is_reversed=st.booleans(),
        withheld=some_accounts,
        late=st.none() | durations,
    )
    def outage(
        self,
        profit: int | None,
        moves: list[tuple[Account, str]],
        away: float,
        repeats: Facts,
        renews_ids: bool,
        is_reversed: bool,
        withheld: frozenset[Account],
        late: float | None,
    ) -> None:
        """A whole outage: trades meanwhile, a reconnect, and what is named late."""
        if not self.model.is_live:
            return
        if profit is not None:
            self.move_price(profit)
        self.drop()
        for account, move in moves:
            self._trade(account, move)
        self.advance(away)
        self.reconnect(repeats, renews_ids, is_reversed, withheld)
        if late is not None:
            self.wait(late)
            for account in sorted(withheld, key=lambda account: account.name):
                self.name_late(account)

    def _connect(self) -> None:
        self.model.connect()
        self.twin.connect()
        self.settle()

    @rule(account=accounts)
    def name_late(self, account: Account) -> None:
        """The server names what it had kept back."""
        name = account.name
        if (
            self.model.is_live
            and name in self.server.holdings
            and name not in self.server.ids
            and self.server.is_wanted(account)
            and self.server.holdings[name] not in self.server.by_id.values()
        ):
            self.twin.feed(*self.server.name(name))
            self.settle()

    # Time and the consumer

    @rule(seconds=durations)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.advance(seconds)
        self.settle()

    @rule()
    def change_consumer(self) -> None:
        """The consumer falls asleep, or wakes up and takes all that there is."""
        self.is_slow = not self.is_slow
        self.settle()

    def advance(self, seconds: float) -> None:
        """Let time pass for both, from one moment that matters to the next."""
        end = self.clock.monotonic() + seconds
        while True:
            self._adopt_deadlines()
            at = self.model.next_due()
            if at is None or at > end:
                break
            self.twin.advance(at - self.clock.monotonic() + ROUNDING)
            self.model.run_due()
        self.twin.advance(max(0.0, end - self.clock.monotonic()))

    # Comparing

    def settle(self) -> None:
        """Do all that needs no more time, and compare."""
        self.twin.settle()
        self.model.run_due()
        self._compare_told()
        self._compare_positions()
        self._compare_server()
        if not self.is_slow:
            self._compare_events()

    def _compare_told(self) -> None:
        told = [_told(message) for message in self.twin.take_told()]
        expected, self.model.told = self.model.told, []
        assert sorted(map(repr, told)) == sorted(map(repr, expected))
        waits = self.twin.recall.next_due(is_live=self.model.is_live)
        assert _close(waits, self.model.next_command())

    def _compare_positions(self) -> None:
        session = self.twin.session
        handles = session.positions()
        assert [h.token_account for h in handles] == list(self.model.open)
        for handle, known in zip(handles, self.model.open.values(), strict=True):
            assert known.handle in (None, handle)
            assert (handle.tokens, handle.is_open) == (known.tokens, True)
            assert handle.is_untracked == known.is_untracked
            assert handle.position_id == known.position_id
            assert (session._core.book.by_id.get(known.position_id) is handle) == (
                known.is_here
            )
            assert session.position_by_token_account(known.name) is handle
        self._adopt_deadlines()

    def _adopt_deadlines(self) -> None:
        """Compare deadlines, and take the session's fraction of a millisecond."""
        for known in self.model.open.values():
            at = self.twin.core.scheduler.due_at(
                self.twin.core.book.by_account(known.name)  # type: ignore[arg-type]
            )
            expected = self.model.deadline_of(known)
            assert _close(at, expected)
            if at is not None and expected is not None:
                known.counts_from += at - expected
                known.excused_until += at - expected

    def _compare_server(self) -> None:
        if not self.model.is_live:
            return
        assert self.server.strategy == self.model.strategy
        assert self.server.wallets == self.model.wallets
        for name in self.server.named:
            known = self.model.open[name]
            assert not known.is_untracked
            assert self.server.overrides.get(name) == known.override

    def _compare_events(self) -> None:
        events = self.twin.events()
        expected = self._expected()
        assert [_described(event) for event in events] == [
            (one.type, one.detail) for one in expected
        ]
        for event, one in zip(events, expected, strict=True):
            if one.known is None:
                assert event.handle is None
            elif one.known.handle is None:
                one.known.handle = event.handle
            assert one.known is None or event.handle is one.known.handle

    def _expected(self) -> list[Expected]:
        highs, self.model.highs = self.model.highs, []
        lows, self.model.lows = self.model.lows[-LOW_CAPACITY:], []
        ends = [at for at, one in enumerate(highs) if one.type == "disconnected"]
        if not ends:
            return highs + lows
        if ends == [len(highs) - 1]:
            return highs[:-1] + lows + highs[-1:]
        return highs


def _told(message: Any) -> tuple[object, ...]:
    if message.type == "configure":
        return ("configure", message.wallet_pubkeys, message.strategy)
    return as_told(message)


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < 0.002


def _described(event: StreamEvent) -> tuple[str, object]:
    """Return what an event says, as the model says it."""
    message = event.message
    detail: object = None
    if event.type == "position_opened":
        detail = (event.reopened, event.deadline_overdue)
    elif event.type == "exit_signal_with_tx":
        detail = event.exit_attempt
    elif isinstance(message, PositionLost):
        detail = message.reason
    elif isinstance(message, PnlUpdate):
        detail = message.profit_units
    return event.type, detail


def test_a_session_does_what_the_model_says() -> None:
    """Positions, deadlines, events, and what the server is told, after every step."""
    _try(A_FEW)


@pytest.mark.slow
@pytest.mark.timeout(60 + SEQUENCES)
def test_a_session_does_what_the_model_says_for_long() -> None:
    """The same, through many more sequences."""
    _try(SEQUENCES)


def _try(sequences: int) -> None:
    run_state_machine_as_test(
        SessionMachine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_model_is_not_the_session() -> None:
    """It shares no rule with what it is compared to: it knows holdings, not facts."""
    names = {attribute.name for attribute in attrs.fields(Known)}
    assert "holding" in names
    assert "opened" not in names
