from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasersell.errors import ConfigurationError
from lasersell.exits.auto_plan import (
    IDLE,
    AccountPlan,
    Ask,
    Attempt,
    AutoExitSettings,
    Conditions,
    End,
    Holding,
    Look,
    Resend,
    Sale,
    Signal,
    Step,
    Submit,
    WaitUntil,
)
from lasersell.exits.transaction import SignedTransaction

SETTINGS = AutoExitSettings()
AT_ZERO = Conditions(now=0.0)


def at(now: float, **changes: Any) -> Conditions:
    """Return the conditions at a moment."""
    return attrs.evolve(AT_ZERO, now=now, **changes)


def new_plan(**changes: Any) -> AccountPlan:
    """Return the plan of an account that holds something."""
    return AccountPlan(attrs.evolve(SETTINGS, **changes), Holding(id=1))


def offer(plan: AccountPlan, level: int | None = None, born_at: float = 0.0) -> Sale:
    """Give a plan a signal and return its sale."""
    sale = plan.sales.get(level) or Sale(id=1, holding_id=1, level=level)
    plan.take(sale, Signal(id=1, born_at=born_at, payload=None))
    return sale


def begin(plan: AccountPlan, sale: Sale, now: float = 0.0) -> Attempt:
    """Submit a transaction of a sale."""
    attempt = Attempt(
        id=1,
        sale=sale,
        signed=SignedTransaction(raw=b"", signature="s", wallet="w", blockhash="b"),
        born_at=now,
        begun_at=now,
        sent_at=now,
        looked_at=now,
    )
    plan.begun(attempt)
    return attempt


def test_nothing_is_done_without_a_signal() -> None:
    """A position that no strategy wants to sell is left alone."""
    assert new_plan().next_step(AT_ZERO) == IDLE


def test_a_signal_is_submitted() -> None:
    """A fresh transaction is submitted."""
    plan = new_plan()
    sale = offer(plan)
    assert plan.next_step(AT_ZERO) == Submit(sale, sale.signal)  # type: ignore[arg-type]


def test_a_newer_signal_takes_the_place_of_one_not_submitted() -> None:
    """Of two transactions for the same sale the newer one is submitted."""
    plan = new_plan()
    sale = offer(plan)
    newer = Signal(id=2, born_at=0.0, payload=None)
    plan.take(sale, newer)
    assert plan.next_step(AT_ZERO) == Submit(sale, newer)


def test_a_stale_signal_is_asked_for_anew() -> None:
    """A transaction older than the limit is not submitted."""
    plan = new_plan(max_signal_age=30.0)
    sale = offer(plan, born_at=0.0)
    assert isinstance(plan.next_step(at(30.0)), Submit)
    assert plan.next_step(at(30.1)) == Ask(sale, None, "stream")


def test_what_is_under_way_is_never_replaced() -> None:
    """A newer transaction waits while the one that was submitted may land."""
    plan = new_plan()
    sale = offer(plan)
    attempt = begin(plan, sale)
    offer(plan, born_at=0.1)
    assert plan.next_step(at(0.1)) == WaitUntil(SETTINGS.look_interval)
    assert plan.next_step(at(0.5)) == Look(attempt)
    plan.dead(attempt, "expired", 0.5, by_program=False)
    assert isinstance(plan.next_step(at(1.0)), Submit)


def test_the_same_bytes_are_sent_again() -> None:
    """What is not seen after a while is submitted once more, unchanged."""
    plan = new_plan(resend_interval=2.0, look_interval=0.4)
    attempt = begin(plan, offer(plan))
    attempt.looked_at = 1.9
    assert plan.next_step(at(1.95)) == WaitUntil(2.0)
    assert plan.next_step(at(2.0)) == Resend(attempt)


@pytest.mark.parametrize(
    ("status", "conditions"),
    [
        ("closed", at(3.0)),
        ("lost", at(3.0)),
        ("open", at(3.0, is_paused=True)),
        ("open", at(31.0)),
    ],
)
def test_nothing_old_or_unwanted_is_sent_again(
    status: Any, conditions: Conditions
) -> None:
    """Closed, lost, paused or too old: the chain is only looked at."""
    plan = new_plan()
    attempt = begin(plan, offer(plan))
    attempt.looked_at = conditions.now
    plan.holding.status = status
    look_at = conditions.now + SETTINGS.look_interval
    assert plan.next_step(conditions) == WaitUntil(look_at)


def test_a_sale_that_landed_is_not_repeated() -> None:
    """After it landed, further signals of the position are refused."""
    plan = new_plan()
    sale = offer(plan)
    plan.landed(begin(plan, sale), slot=7)
    assert sale.outcome == "sold"
    assert plan.judge(None) == "sold"
    assert plan.judge(0) == "sold"
    assert plan.next_step(AT_ZERO) == IDLE


def test_a_level_that_landed_is_not_repeated_but_others_are() -> None:
    """Each level is sold once; the next one and the rest are still to be sold."""
    plan = new_plan()
    plan.landed(begin(plan, offer(plan, level=0)), slot=7)
    assert plan.judge(0) == "sold"
    assert plan.judge(1) == "taken"
    assert plan.judge(None) == "taken"


def test_levels_queue() -> None:
    """A second level is submitted when the first has landed, and not before."""
    plan = new_plan()
    first, second = offer(plan, level=0), offer(plan, level=1)
    attempt = begin(plan, first)
    assert isinstance(plan.next_step(at(0.1)), WaitUntil)
    plan.landed(attempt, slot=7)
    step = plan.next_step(at(0.2))
    assert isinstance(step, Submit)
    assert step.sale is second


def test_a_full_exit_comes_before_levels_that_wait() -> None:
    """Levels that were not submitted end when the whole position is to be sold."""
    plan = new_plan()
    level = offer(plan, level=0)
    full = offer(plan)
    assert plan.next_step(AT_ZERO) == End(level, "superseded")
    plan.ended(level, "superseded")
    assert plan.next_step(AT_ZERO) == Submit(full, full.signal)  # type: ignore[arg-type]
    assert plan.judge(1) == "superseded"


def test_a_full_exit_waits_for_the_level_under_way() -> None:
    """Once that has landed, a transaction for less than before is asked for."""
    plan = new_plan()
    attempt = begin(plan, offer(plan, level=0))
    full = offer(plan)
    assert isinstance(plan.next_step(at(0.1)), WaitUntil)
    plan.landed(attempt, slot=7)
    assert plan.next_step(at(0.2)) == Ask(full, None, "stream")


def test_a_level_that_failed_is_left_to_the_full_exit() -> None:
    """A level whose transaction died while a full exit waits is not tried again."""
    plan = new_plan()
    level = offer(plan, level=0)
    attempt = begin(plan, level)
    offer(plan)
    plan.dead(attempt, "failed", 0.0, by_program=True)
    assert plan.next_step(AT_ZERO) == End(level, "superseded")


def test_a_failure_asks_for_more_slippage_up_to_the_cap() -> None:
    """Each failure of the program raises what is asked for, never over the cap."""
    plan = new_plan(slippage_bps=2900, slippage_step_bps=60, max_slippage_bps=3000)
    asked = []
    for _ in range(3):
        sale = offer(plan)
        plan.dead(begin(plan, sale), "slippage", 0.0, by_program=True)
        step = plan.next_step(AT_ZERO)
        assert isinstance(step, Ask)
        asked.append(step.slippage_bps)
    assert asked == [2900, 2960, 3000]


def test_an_expiry_asks_for_no_more_slippage() -> None:
    """What only came too late is asked for as it was."""
    plan = new_plan()
    plan.dead(begin(plan, offer(plan)), "expired", 0.0, by_program=False)
    assert plan.next_step(at(0.1)) == WaitUntil(SETTINGS.retry_delay)
    step = plan.next_step(at(SETTINGS.retry_delay))
    assert isinstance(step, Ask)
    assert step.slippage_bps is None


def test_attempts_are_bounded() -> None:
    """After as many failures as allowed the sale is given up, with the last problem."""
    plan = new_plan(max_attempts=2)
    for _ in range(2):
        plan.dead(begin(plan, offer(plan)), "slippage", 0.0, by_program=True)
    assert plan.next_step(AT_ZERO) == End(plan.sales[None], "gave_up", "slippage")


def test_refusals_of_the_guard_are_bounded() -> None:
    """What is never signed is not asked for without an end."""
    plan = new_plan(max_attempts=2)
    for _ in range(2):
        sale = offer(plan)
        signal = sale.signal
        assert signal is not None
        plan.refused(sale, signal, "drains the wallet", 0.0)
    step = plan.next_step(AT_ZERO)
    assert step == End(plan.sales[None], "gave_up", "drains the wallet")


def test_what_was_submitted_before_uses_up_no_attempt() -> None:
    """It is as if nothing had come: the pause doubles, and a new one is submitted."""
    plan = new_plan(max_attempts=1, max_asks=3, retry_delay=0.5)
    now = 0.0
    for pause in (0.5, 1.0, 2.0):
        sale = offer(plan, born_at=now)
        assert sale.signal is not None
        plan.repeated(sale, sale.signal, "submitted before", now)
        assert plan.next_step(at(now)) == WaitUntil(now + pause)
        now += pause
    sale = offer(plan, born_at=now)
    assert isinstance(plan.next_step(at(now)), Submit)
    begin(plan, sale, now)
    assert sale.repeats == 0


def test_what_was_submitted_before_is_not_awaited_for_ever() -> None:
    """A service that has nothing new is not asked without an end."""
    plan = new_plan(max_asks=2)
    for _ in range(3):
        sale = offer(plan)
        assert sale.signal is not None
        plan.repeated(sale, sale.signal, "submitted before", 0.0)
    step = plan.next_step(AT_ZERO)
    assert step == End(plan.sales[None], "gave_up", "submitted before")


def test_a_refusal_leaves_a_newer_signal_alone() -> None:
    """What came while another transaction was checked is submitted next."""
    plan = new_plan()
    sale = offer(plan)
    old = sale.signal
    assert old is not None
    offer(plan, born_at=1.0)
    plan.refused(sale, old, "no", 0.0)
    assert isinstance(plan.next_step(at(1.0)), Submit)


def test_a_signal_for_what_was_given_up_is_another_chance() -> None:
    """When the server says so again, the sale is tried again from the start."""
    plan = new_plan(max_attempts=1)
    sale = offer(plan)
    plan.dead(begin(plan, sale), "slippage", 0.0, by_program=True)
    plan.ended(sale, "gave_up")
    assert plan.judge(None) == "taken"
    offer(plan)
    assert sale.is_pending
    assert isinstance(plan.next_step(AT_ZERO), Submit)


def test_asking_has_patience_and_an_end() -> None:
    """An unanswered request is repeated after a while, a bounded number of times."""
    plan = new_plan(ask_timeout=5.0, max_asks=2)
    sale = offer(plan, born_at=-100.0)
    assert isinstance(plan.next_step(at(0.0)), Ask)
    plan.asked(sale, 0.0)
    assert plan.next_step(at(1.0)) == WaitUntil(5.0)
    assert isinstance(plan.next_step(at(5.0)), Ask)
    plan.asked(sale, 5.0)
    assert plan.next_step(at(10.0)) == End(sale, "gave_up", "no fresh transaction came")


def test_the_api_is_asked_where_the_stream_cannot_be() -> None:
    """While the stream is away the REST API builds the transaction."""
    plan = new_plan()
    sale = offer(plan, born_at=-100.0)
    away = at(0.0, is_live=False, has_api=True)
    assert plan.next_step(away) == Ask(sale, None, "api")


def test_stream_and_api_are_asked_in_turns() -> None:
    """A stream that stays silent is not all that is asked."""
    plan = new_plan()
    sale = offer(plan, born_at=-100.0)
    whom = []
    for turn in range(4):
        step = plan.next_step(at(turn * 10.0, has_api=True))
        assert isinstance(step, Ask)
        whom.append(step.source)
        plan.asked(sale, turn * 10.0)
    assert whom == ["stream", "api", "stream", "api"]


def test_a_level_is_never_asked_of_the_stream() -> None:
    """The stream would build a sale of everything, so only the API is asked."""
    plan = new_plan()
    sale = offer(plan, level=0, born_at=-100.0)
    assert plan.next_step(at(0.0, has_api=True)) == Ask(sale, None, "api")
    assert plan.next_step(at(0.0)) == Ask(sale, None, None)


def test_nobody_can_be_asked_while_the_stream_is_away() -> None:
    """Without an API the sale waits for the stream, and is not given up."""
    plan = new_plan()
    offer(plan, born_at=-1000.0)
    assert plan.next_step(at(0.0, is_live=False)) == IDLE


def test_stopping_asks_for_nothing_more() -> None:
    """What is here is submitted, and nothing is asked for."""
    plan = new_plan()
    offer(plan)
    assert isinstance(plan.next_step(at(0.0, is_stopping=True)), Submit)
    assert plan.next_step(at(31.0, is_stopping=True)) == IDLE


def test_the_kill_switch_stops_everything_new() -> None:
    """Nothing is submitted or asked for; what is under way is looked at."""
    plan = new_plan()
    sale = offer(plan)
    paused = at(1.0, is_paused=True)
    assert plan.next_step(paused) == IDLE
    attempt = begin(plan, sale)
    assert plan.next_step(paused) == Look(attempt)


def test_a_closed_position_is_not_sold() -> None:
    """Its sales end, and further signals are refused."""
    plan = new_plan()
    sale = offer(plan)
    plan.holding.status = "closed"
    assert plan.next_step(AT_ZERO) == End(sale, "closed")
    assert plan.judge(None) == "closed"


def test_a_lost_position_waits_for_its_return() -> None:
    """Nothing is submitted while the stream does not name it; a signal brings it back."""
    plan = new_plan()
    offer(plan)
    plan.holding.status = "lost"
    assert plan.next_step(AT_ZERO) == IDLE
    offer(plan)
    assert isinstance(plan.next_step(AT_ZERO), Submit)


def test_what_is_left_of_a_sale_can_be_sold() -> None:
    """Tokens that are there after the sale landed may be sold by another signal."""
    plan = new_plan()
    plan.landed(begin(plan, offer(plan)), slot=7)
    assert not plan.see_balance(0, 8)
    assert not plan.see_balance(5, 6)
    assert plan.see_balance(5, 9)
    assert plan.judge(None) == "taken"


def test_a_balance_that_came_before_the_news_counts_too() -> None:
    """A remainder that was told before the landing was known is a remainder all the same."""
    plan = new_plan()
    attempt = begin(plan, offer(plan))
    plan.see_balance(5, 9)
    plan.landed(attempt, slot=7)
    assert plan.judge(None) == "taken"


def test_an_old_balance_says_nothing() -> None:
    """What was held before the sale is not left of it."""
    plan = new_plan()
    plan.see_balance(5, 6)
    plan.see_balance(9, 5)
    plan.landed(begin(plan, offer(plan)), slot=7)
    assert plan.judge(None) == "sold"


def test_a_successor_waits_for_what_is_under_way() -> None:
    """Nothing of a new position is submitted while the old one's sale may land."""
    plan = new_plan()
    old, waiting = offer(plan, level=0), offer(plan, level=1)
    attempt = begin(plan, old)
    assert plan.replace(Holding(id=2)) == [waiting]
    new = offer(plan)
    assert not plan.is_current(old)
    assert isinstance(plan.next_step(at(0.1)), WaitUntil)
    plan.landed(attempt, slot=7)
    assert plan.holding.sold_slot is None
    assert plan.next_step(at(0.2)) == Submit(new, new.signal)  # type: ignore[arg-type]


def test_a_cap_below_the_start_is_refused() -> None:
    """Slippage that starts over its cap is a mistake."""
    with pytest.raises(ConfigurationError, match="max_slippage_bps"):
        AutoExitSettings(slippage_bps=3000, max_slippage_bps=2000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_signal_age": 0},
        {"max_attempts": 0},
        {"slippage_bps": 10_001},
        {"resend_interval": "2"},
        {"dry_run": "no"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """A setting that makes no sense is named."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        AutoExitSettings(**wrong)


# Whatever the network does


class _World:
    """A chain that does what a seed says, and plays the part of the threads."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.plan = new_plan(max_attempts=3, max_asks=3)
        self.draw = draw
        self.now = 0.0
        self.floating: Attempt | None = None
        self.landed_unseen = False
        self.failed_unseen = False
        self.sold: list[int | None] = []

    def signal(self) -> None:
        level = self.draw(st.sampled_from([None, 0, 1]))
        if self.plan.judge(level) == "taken":
            offer(self.plan, level, self.now - self.draw(st.sampled_from([0.0, 40.0])))

    def play(self) -> None:
        """Let the transaction that floats do something."""
        if self.floating is None or self.landed_unseen or self.failed_unseen:
            return
        fate = self.draw(st.sampled_from(["float", "land", "fail"]))
        if fate == "land":
            assert self.floating.sale.level not in self.sold, "sold twice"
            assert None not in self.sold, "sold after everything was"
            self.sold.append(self.floating.sale.level)
            self.landed_unseen = True
        elif fate == "fail":
            self.failed_unseen = True

    def do(self, step: Step) -> None:
        if isinstance(step, Submit):
            self.submit(step)
        elif isinstance(step, Resend):
            assert step.attempt is self.floating
            step.attempt.sent_at = self.now
        elif isinstance(step, Look):
            self.look(step.attempt)
        elif isinstance(step, Ask):
            self.plan.asked(step.sale, self.now)
            if self.draw(st.booleans()):
                offer(self.plan, step.sale.level, self.now)
        elif isinstance(step, End):
            self.plan.ended(step.sale, step.outcome)
        elif isinstance(step, WaitUntil):
            assert step.at > self.now, "a wait that is over"
            self.now = step.at

    def submit(self, step: Submit) -> None:
        assert self.now - step.signal.born_at <= SETTINGS.max_signal_age
        assert self.floating is None, "two transactions may land"
        fate = self.draw(st.sampled_from(["refused", "repeated", "rejected", "sent"]))
        if fate == "refused":
            self.plan.refused(step.sale, step.signal, "refused", self.now)
            return
        if fate == "repeated":
            self.plan.repeated(step.sale, step.signal, "repeated", self.now)
            return
        attempt = begin(self.plan, step.sale, self.now)
        if fate == "rejected":
            self.plan.dead(attempt, "rejected", self.now, by_program=True)
        else:
            self.floating = attempt

    def look(self, attempt: Attempt) -> None:
        attempt.looked_at = self.now
        if self.landed_unseen:
            self.plan.landed(attempt, slot=len(self.sold))
        elif self.failed_unseen:
            self.plan.dead(attempt, "failed", self.now, by_program=True)
        elif self.draw(st.booleans()):
            return
        else:
            self.plan.dead(attempt, "expired", self.now, by_program=False)
        self.floating = None
        self.landed_unseen = self.failed_unseen = False


@given(st.data())
@settings(max_examples=100)
def test_nothing_is_sold_twice_and_everything_ends(data: st.DataObject) -> None:
    """Whatever is lost, refused, late or repeated: each sale happens once at most."""
    world = _World(data.draw)
    for _ in range(data.draw(st.integers(1, 30))):
        event = data.draw(st.sampled_from(["signal", "play", "step", "step", "lose"]))
        if event == "signal":
            world.signal()
        elif event == "play":
            world.play()
        elif event == "lose":
            world.plan.holding.status = data.draw(st.sampled_from(["lost", "open"]))
        else:
            world.do(world.plan.next_step(at(world.now)))
    world.plan.holding.status = "open"
    for _ in range(300):
        step = world.plan.next_step(at(world.now))
        if step == IDLE:
            break
        world.play()
        world.do(step)
    assert world.floating is None
    assert not any(sale.is_pending for sale in world.plan.sales.values())
