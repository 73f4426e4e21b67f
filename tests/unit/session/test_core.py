from __future__ import annotations

import threading
from typing import Any

import pytest

from lasersell.protocol.client import (
    ClosePosition,
    RequestExitSignal,
    UpdatePositionStrategy,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import Pong, ServerError, UnknownMessage
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import Fresh, PositionLost, Undecodable
from lasersell.stream.options import StreamConfigure
from tests.clock import FakeClock
from tests.stateful.twin import CONFIGURE, Twin
from tests.unit.session.frames import (
    OTHER_WALLET,
    START_MS,
    WALLET,
    balance,
    closed,
    exit_signal,
    hello,
    liquidity,
    opened,
    pnl,
    tick,
)

TIMEOUT = CONFIGURE.deadline_timeout_sec
GRACE = 5.0
RETRY = 5.0


def _configure(deadline_timeout_sec: float) -> StreamConfigure:
    return StreamConfigure(
        wallet_pubkeys=[WALLET],
        strategy=CONFIGURE.strategy,
        deadline_timeout_sec=deadline_timeout_sec,
        watch_wallets=[WatchWallet(pubkey=OTHER_WALLET)],
    )


def _asked(account: str = "A", slippage_bps: int | None = None) -> RequestExitSignal:
    return RequestExitSignal(token_account=account, slippage_bps=slippage_bps)


def _now_opened(clock: FakeClock, number: int = 1, account: str = "A") -> Any:
    return opened(number, account, opened_at_ms=clock.wall_ms(), slot=50 + number)


@pytest.fixture
def twin(clock: FakeClock) -> Twin:
    """Return a live session with a deadline of a minute, and no positions."""
    twin = Twin(clock).connect()
    twin.events()
    twin.take_told()
    return twin


@pytest.fixture
def handle(twin: Twin) -> PositionHandle:
    """Return a position that has just been opened."""
    twin.feed(opened())
    (event,) = twin.events()
    assert event.handle is not None
    return event.handle


# Events


@pytest.mark.parametrize(
    "message",
    [
        opened(),
        pnl(),
        liquidity(),
        tick(),
        balance(5),
        exit_signal(),
        closed(),
    ],
    ids=lambda message: str(message.type),
)
def test_an_event_about_a_position_has_its_handle(
    twin: Twin, handle: PositionHandle, message: Any
) -> None:
    """The live one, the same in all its events."""
    twin.feed(message)
    (event,) = twin.events()
    assert event.message is message
    assert event.handle is handle


@pytest.mark.parametrize(
    "message",
    [
        Pong(server_time_ms=1),
        ServerError(code="c", message="m"),
        UnknownMessage(type="new", raw={}),
        Undecodable(raw=b"x", problem="no JSON"),
        Fresh(),
        pnl(99),
        liquidity(99),
        tick(99),
        balance(5, "Z"),
        closed(99, "Z"),
    ],
)
def test_an_event_about_no_known_position_has_no_handle(
    twin: Twin, handle: PositionHandle, message: Any
) -> None:
    """It is delivered all the same."""
    twin.feed(message)
    (event,) = twin.events()
    assert event.message is message
    assert event.handle is None


def test_profit_reaches_the_handle_though_its_event_is_dropped(
    clock: FakeClock,
) -> None:
    """A slow consumer still sees the latest, and the peak that it slept through (13.1, P31)."""
    twin = Twin(clock, low_capacity=2).connect()
    twin.feed(opened())
    for profit in (10, 500, -20, 40, 30):
        twin.feed(pnl(profit_units=profit))
    handle = twin.session.positions()[0]
    assert handle.profit_units == 30
    assert handle.peak_profit_units == 500
    profits = [e.message for e in twin.events() if e.type == "pnl_update"]
    assert profits == [pnl(profit_units=40), pnl(profit_units=30)]


def test_a_peak_may_be_a_loss(twin: Twin, handle: PositionHandle) -> None:
    """The highest profit of a position that never made one."""
    twin.feed(pnl(profit_units=-30), pnl(profit_units=-10), pnl(profit_units=-20))
    assert handle.peak_profit_units == -10


def test_liquidity_reaches_the_handle(twin: Twin, handle: PositionHandle) -> None:
    """Like profit does."""
    twin.feed(liquidity())
    assert handle.liquidity == liquidity()


def test_an_exit_event_says_which_attempt_it_is(
    twin: Twin, handle: PositionHandle
) -> None:
    """The second of the same identity is a replacement."""
    twin.feed(exit_signal(), exit_signal(level_index=0), exit_signal())
    assert [event.exit_attempt for event in twin.events()] == [1, 1, 2]


def test_an_exit_of_an_unknown_position_is_delivered(twin: Twin) -> None:
    """With a handle made from its own fields."""
    twin.feed(exit_signal(9, "Z"))
    (event,) = twin.events()
    assert event.handle is not None
    assert not event.handle.known
    assert event.exit_attempt == 1


def test_events_of_one_batch_share_their_arrival(clock: FakeClock) -> None:
    """The age is counted from it, however late the event is looked at."""
    twin = Twin(clock).connect()
    clock.advance(0.25)
    twin.feed(exit_signal(), pnl())
    clock.advance(100.0)
    assert [e.age_ms for e in twin.events() if e.age_ms][-2:] == [250.0, 250.0]


# Reconnects


def test_nothing_of_a_connection_comes_after_its_end(
    twin: Twin, handle: PositionHandle
) -> None:
    """And each begins with ``connected``, ``hello_ok`` and, but for the first, ``gap``."""
    twin.drop()
    twin.connect()
    assert twin.types() == ["disconnected", "connected", "hello_ok", "gap"]


def test_low_events_of_a_connection_come_before_its_end(
    twin: Twin, handle: PositionHandle
) -> None:
    """Though the high lane goes first otherwise."""
    twin.feed(pnl(), pnl())
    twin.drop()
    assert twin.types() == ["pnl_update", "pnl_update", "disconnected"]


def test_low_events_of_a_connection_never_come_after_its_end(
    twin: Twin, handle: PositionHandle
) -> None:
    """Nor does anything newer wait for them: they are dropped, and counted."""
    twin.feed(pnl(), pnl())
    twin.drop()
    twin.connect()
    assert twin.types() == ["disconnected", "connected", "hello_ok", "gap"]
    assert twin.lanes.low_stats().dropped == 2
    twin.feed(opened(7), pnl(7))
    assert twin.types() == ["position_opened", "pnl_update"]


def test_a_reopened_position_keeps_its_handle(
    twin: Twin, handle: PositionHandle
) -> None:
    """The event says so, and which id it had (13.1, P3)."""
    twin.drop()
    twin.connect()
    twin.feed(opened(7))
    event = twin.events()[-1]
    assert event.handle is handle
    assert event.reopened
    assert event.previous_position_id == 1
    assert twin.session.positions() == [handle]


def test_a_replaced_position_is_lost_before_its_successor_opens(
    twin: Twin, handle: PositionHandle
) -> None:
    """In this order, and with a handle each."""
    twin.drop()
    twin.connect()
    twin.events()
    twin.feed(opened(7, tokens=5, entry_quote_units=5, opened_at_ms=7, slot=7))
    lost, new = twin.events()
    assert isinstance(lost.message, PositionLost)
    assert (lost.message.reason, lost.message.position_id) == ("replaced", 1)
    assert lost.handle is handle
    assert new.type == "position_opened"
    assert new.handle is not handle
    assert not new.reopened


def test_what_is_not_named_again_is_lost_after_the_window(
    twin: Twin, handle: PositionHandle
) -> None:
    """Not before, and with the handle (13.1, P4)."""
    twin.drop()
    twin.connect()
    twin.events()
    twin.advance(4.9)
    assert twin.types() == []
    assert handle.is_open
    twin.advance(0.1)
    (lost,) = twin.events()
    assert isinstance(lost.message, PositionLost)
    assert lost.message.reason == "not_reemitted"
    assert lost.handle is handle
    assert handle.status == "lost"


def test_each_reemission_gives_the_others_more_time(twin: Twin) -> None:
    """The window is one of quiet."""
    twin.feed(opened(1, "A"), opened(2, "B"))
    twin.drop()
    twin.connect()
    twin.advance(4.0)
    twin.feed(opened(1, "A"))
    twin.events()
    twin.advance(4.0)
    assert twin.types() == []
    twin.advance(1.0)
    assert twin.types() == ["position_lost"]


def test_another_disconnect_starts_the_window_again(
    twin: Twin, handle: PositionHandle
) -> None:
    """A position is not lost because the stream was never there for long enough."""
    for _ in range(3):
        twin.drop()
        twin.advance(10.0)
        twin.connect()
        twin.advance(4.0)
    assert handle.is_open
    assert "position_lost" not in twin.types()


def test_a_late_reemission_revives(twin: Twin, handle: PositionHandle) -> None:
    """The same handle, open again."""
    twin.drop()
    twin.connect()
    twin.advance(10.0)
    assert handle.status == "lost"
    twin.events()
    twin.feed(opened(7))
    (event,) = twin.events()
    assert event.handle is handle
    assert event.reopened
    assert handle.is_open


def test_the_wishes_for_a_revived_position_are_told_again(
    twin: Twin, handle: PositionHandle
) -> None:
    """By its new id: neither ages."""
    own = StrategyConfig(stop_loss_pct=1.0)
    twin.session.update_position_strategy(handle, own)
    twin.drop()
    twin.connect()
    twin.advance(10.0)
    twin.take_told()
    twin.feed(opened(7))
    assert twin.take_told() == [UpdatePositionStrategy(position_id=7, strategy=own)]


def test_the_intent_and_the_book_agree_on_what_is_lost(
    twin: Twin, handle: PositionHandle
) -> None:
    """An exit that was asked for is given up together with its position, just before it."""
    twin.session.request_exit_signal(handle)
    twin.drop()
    twin.connect()
    twin.events()
    twin.advance(5.0)
    events = twin.events()
    assert [(e.type, e.handle) for e in events] == [
        ("exit_request_unanswered", handle),
        ("position_lost", handle),
    ]


def test_the_report_about_a_replaced_position_has_its_own_handle(
    twin: Twin, handle: PositionHandle
) -> None:
    """Not that of its successor, which nobody asked to exit."""
    twin.drop()
    twin.session.request_exit_signal(handle)
    twin.connect()
    twin.events()
    twin.feed(opened(7, tokens=5, entry_quote_units=5, opened_at_ms=7, slot=7))
    events = twin.events()
    assert [e.type for e in events] == [
        "command_expired",
        "position_lost",
        "position_opened",
    ]
    assert [e.handle is handle for e in events] == [True, True, False]


def test_reports_about_an_exit_have_the_handle(
    twin: Twin, handle: PositionHandle
) -> None:
    """So that one can wait for them by position."""
    twin.session.request_exit_signal(handle)
    twin.advance(4 * RETRY)
    (event,) = twin.events()
    assert event.type == "exit_request_unanswered"
    assert event.handle is handle


def test_an_expired_exit_has_the_handle(twin: Twin, handle: PositionHandle) -> None:
    """Though the stream is away."""
    twin.drop()
    twin.session.request_exit_signal(handle)
    twin.session.mirror_buy_result("mint", True)
    twin.events()
    twin.advance(31.0)
    assert [(e.type, e.handle) for e in twin.events()] == [
        ("command_expired", handle),
        ("command_expired", None),
    ]


# What a deadline counts from


def test_a_deadline_asks_by_token_account(twin: Twin, handle: PositionHandle) -> None:
    """Once it has passed, not before, and nobody calls ``recv()`` meanwhile."""
    twin.advance(TIMEOUT - 0.1)
    assert twin.take_told() == []
    assert twin.session.deadline_remaining(handle) == pytest.approx(0.1)
    twin.advance(0.1)
    assert twin.take_told() == [_asked()]
    assert twin.session.deadline_remaining(handle) is None


def test_a_deadline_counts_from_the_opening_by_the_servers_clock(
    clock: FakeClock,
) -> None:
    """The server's clock is an hour ahead, and the position 20 seconds old."""
    ahead = 3_600_000
    twin = Twin(clock).connect(hello(server_time_ms=START_MS + ahead))
    twin.feed(opened(opened_at_ms=START_MS + ahead - 20_000))
    twin.take_told()
    twin.advance(TIMEOUT - 20.1)
    assert twin.take_told() == []
    twin.advance(0.2)
    assert twin.take_told() == [_asked()]


def test_the_servers_clock_does_not_follow_ours(clock: FakeClock) -> None:
    """Someone sets the wall clock an hour ahead: no position grows older by it."""
    twin = Twin(clock).connect()
    clock.wall_ms = lambda: START_MS + 3_600_000  # type: ignore[method-assign]
    twin.feed(opened(opened_at_ms=START_MS))
    assert not twin.events()[-1].deadline_overdue
    assert twin.session.deadline_remaining("A") == TIMEOUT


def test_a_deadline_may_count_from_arrival(clock: FakeClock) -> None:
    """``deadline_from="seen"`` looks at no other clock."""
    twin = Twin(clock, counted_from="seen").connect()
    twin.feed(opened(opened_at_ms=START_MS - 1_000_000))
    assert not twin.events()[-1].deadline_overdue
    assert twin.session.deadline_remaining("A") == TIMEOUT


def test_without_a_time_of_opening_a_deadline_counts_from_arrival(twin: Twin) -> None:
    """The server may leave it out."""
    twin.feed(opened(opened_at_ms=None))
    assert twin.session.deadline_remaining("A") == TIMEOUT


def test_an_opening_in_the_future_does_not_put_the_deadline_off(twin: Twin) -> None:
    """The clocks are never quite the same."""
    twin.feed(opened(opened_at_ms=START_MS + 30_000))
    assert twin.session.deadline_remaining("A") == TIMEOUT


def test_half_a_second_is_a_deadline(clock: FakeClock) -> None:
    """It is no whole number of seconds that is rounded to off (13.1, P9)."""
    twin = Twin(clock, configure=_configure(0.5)).connect()
    twin.feed(opened())
    twin.take_told()
    twin.advance(0.49)
    assert twin.take_told() == []
    twin.advance(0.01)
    assert twin.take_told() == [_asked()]


# Overdue when first seen


def test_an_overdue_position_is_marked_and_left_alone_for_the_grace(
    twin: Twin,
) -> None:
    """As when this process has just been started again."""
    twin.feed(opened(opened_at_ms=START_MS - 3_600_000))
    assert twin.events()[-1].deadline_overdue
    twin.advance(GRACE - 0.1)
    assert twin.take_told() == []
    twin.advance(0.1)
    assert twin.take_told() == [_asked()]


def test_an_overdue_position_can_be_spared(twin: Twin) -> None:
    """That is what the grace is for."""
    twin.feed(opened(opened_at_ms=START_MS - 3_600_000))
    twin.session.close_position("A")
    twin.take_told()
    twin.advance(100.0)
    assert twin.take_told() == []


def test_a_later_deadline_spares_an_overdue_position_until_then(twin: Twin) -> None:
    """It counts from the opening, not from the grace."""
    twin.feed(opened(opened_at_ms=START_MS - 100_000))
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=150)
    assert twin.session.deadline_remaining("A") == 50.0


def test_a_change_does_not_end_the_grace(twin: Twin) -> None:
    """The position is as overdue as before, and the user has just as long to stop it."""
    twin.feed(opened(opened_at_ms=START_MS - 3_600_000))
    twin.advance(1.0)
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=30)
    assert twin.session.deadline_remaining("A") == GRACE - 1.0


def test_a_reemission_does_not_end_the_grace(twin: Twin) -> None:
    """Nor does it start a new one."""
    twin.feed(opened(opened_at_ms=START_MS - 3_600_000))
    twin.advance(1.0)
    twin.drop()
    twin.connect()
    twin.feed(opened(7, opened_at_ms=START_MS - 3_600_000))
    assert not twin.events()[-1].deadline_overdue
    assert twin.session.deadline_remaining("A") == GRACE - 1.0


def test_a_position_that_grew_old_here_is_not_overdue(
    twin: Twin, handle: PositionHandle
) -> None:
    """Only what had passed before this process came is marked."""
    twin.drop()
    twin.advance(TIMEOUT + 10.0)
    twin.connect()
    twin.feed(opened(7))
    assert not twin.events()[-1].deadline_overdue


# Which positions have a deadline


def test_a_watched_position_has_no_deadline(twin: Twin) -> None:
    """It is somebody else's wallet (13.1, P7)."""
    twin.feed(opened(wallet_pubkey=OTHER_WALLET, watched=True))
    assert twin.session.deadline_remaining("A") is None
    twin.advance(1000.0)
    assert twin.take_told() == []


def test_an_untracked_position_has_no_deadline(
    twin: Twin, handle: PositionHandle
) -> None:
    """Whichever way the user said so."""
    twin.session.sender.close_position(token_account="A")
    assert handle.is_untracked
    assert twin.take_told() == [ClosePosition(token_account="A")]
    twin.advance(1000.0)
    assert twin.take_told() == []


def test_an_untracked_position_has_none_after_a_reconnect_either(
    twin: Twin, handle: PositionHandle
) -> None:
    """The server closes it, names it again on the next connection, and is told again."""
    twin.session.close_position(handle)
    twin.feed(closed())
    twin.drop()
    twin.connect()
    twin.take_told()
    twin.feed(opened(7))
    assert twin.take_told() == [ClosePosition(position_id=7)]
    twin.advance(1000.0)
    assert twin.take_told() == []


def test_an_untracked_position_that_is_bought_again_has_a_deadline(
    twin: Twin, handle: PositionHandle, clock: FakeClock
) -> None:
    """For the same cost, on the same account and connection: the wish is not for it."""
    twin.session.close_position(handle)
    twin.feed(closed())
    twin.advance(5.0)
    twin.feed(_now_opened(clock, 2))
    assert twin.session.deadline_remaining("A") == TIMEOUT


def test_a_closed_position_has_no_deadline(twin: Twin, handle: PositionHandle) -> None:
    """It fires never again."""
    twin.advance(10.0)
    twin.feed(closed())
    assert twin.session.deadline_remaining(handle) is None
    twin.advance(1000.0)
    assert twin.take_told() == []


def test_the_next_position_on_an_account_has_a_deadline_of_its_own(
    twin: Twin, handle: PositionHandle, clock: FakeClock
) -> None:
    """That of its predecessor does not fire on it."""
    twin.advance(50.0)
    twin.feed(closed(), _now_opened(clock, 2))
    twin.advance(TIMEOUT - 0.1)
    assert twin.take_told() == []
    twin.advance(0.1)
    assert twin.take_told() == [_asked()]


# A deadline fires once and asks until it is answered


@pytest.mark.parametrize("answer", [exit_signal(), closed()], ids=lambda m: m.type)
def test_a_deadline_asks_until_it_is_answered(
    twin: Twin, handle: PositionHandle, answer: Any
) -> None:
    """Every five seconds, for ever; an exit signal or the close is the answer (13.1, P8)."""
    twin.advance(TIMEOUT + 10 * RETRY)
    assert twin.take_told() == [_asked()] * 11
    twin.feed(answer)
    twin.advance(1000.0)
    assert twin.take_told() == []


def test_a_rung_of_the_ladder_does_not_answer_a_deadline(
    twin: Twin, handle: PositionHandle
) -> None:
    """It sells a part; what is left is held too long."""
    twin.advance(TIMEOUT)
    twin.feed(exit_signal(level_index=0, sell_tokens=20))
    twin.take_told()
    twin.advance(RETRY)
    assert twin.take_told() == [_asked()]


def test_a_deadline_fires_once(twin: Twin, handle: PositionHandle) -> None:
    """An exit that was signalled and not carried out is the user's affair."""
    twin.advance(TIMEOUT)
    twin.feed(exit_signal())
    for number in range(2, 6):
        twin.drop()
        twin.connect()
        twin.feed(opened(number))
        twin.advance(20.0)
    assert twin.take_told(but_configure=True) == [_asked()]


# Deadlines over disconnects


def test_a_deadline_is_not_restarted_by_a_reconnect(
    twin: Twin, handle: PositionHandle
) -> None:
    """Ten reconnects, and it fires when it would have (13.1, P5, P6)."""
    for number in range(2, 12):
        twin.advance(5.5)
        twin.drop()
        twin.connect()
        twin.feed(opened(number))
    assert twin.session.deadline_remaining(handle) == pytest.approx(5.0)
    twin.take_told()
    twin.advance(5.0)
    assert twin.take_told() == [_asked()]


def test_a_deadline_that_falls_while_offline_is_asked_for_at_the_reemission(
    twin: Twin, handle: PositionHandle
) -> None:
    """Held until then, since the account may hold another position by now."""
    twin.drop()
    twin.advance(TIMEOUT + 30.0)
    twin.connect()
    assert twin.take_told(but_configure=True) == []
    twin.feed(opened(7))
    assert twin.take_told() == [_asked()]


def test_a_deadline_that_falls_before_the_reemission_waits_for_it(
    twin: Twin, handle: PositionHandle
) -> None:
    """Connected again, but the account has not been named."""
    twin.advance(TIMEOUT - 2.0)
    twin.drop()
    twin.connect()
    twin.take_told()
    twin.advance(4.0)
    assert twin.take_told() == []
    twin.feed(opened(7))
    assert twin.take_told() == [_asked()]


def test_a_deadline_that_fell_while_offline_spares_the_successor(
    twin: Twin, handle: PositionHandle, clock: FakeClock
) -> None:
    """Sold and bought again meanwhile: the exit was meant for the former one."""
    twin.drop()
    twin.advance(TIMEOUT + 30.0)
    bought = _now_opened(clock, 7)
    twin.advance(1.0)
    twin.connect()
    twin.take_told()
    twin.feed(bought)
    assert [e.type for e in twin.events()][-2:] == ["position_lost", "position_opened"]
    assert twin.take_told() == []
    twin.advance(TIMEOUT - 1.1)
    assert twin.take_told() == []
    twin.advance(0.1)
    assert twin.take_told() == [_asked()]


def test_the_deadline_of_a_lost_position_does_not_fire(
    twin: Twin, handle: PositionHandle
) -> None:
    """It was sold, as far as is known."""
    twin.drop()
    twin.connect()
    twin.advance(5.0)
    twin.take_told()
    twin.advance(1000.0)
    assert twin.take_told() == []


@pytest.mark.parametrize("is_late", [False, True])
def test_a_revived_position_has_its_deadline_back(
    twin: Twin, handle: PositionHandle, is_late: bool
) -> None:
    """If it passed meanwhile, the exit is asked for at once."""
    twin.drop()
    twin.connect()
    twin.advance(100.0 if is_late else 20.0)
    twin.take_told()
    twin.feed(opened(7))
    assert twin.take_told() == ([_asked()] if is_late else [])
    twin.advance(0.0 if is_late else 40.0)
    assert twin.take_told() == ([] if is_late else [_asked()])


def test_a_deadline_that_had_fired_is_asked_for_again_when_revived(
    twin: Twin, handle: PositionHandle
) -> None:
    """Its exit was given up with it, unanswered."""
    twin.advance(TIMEOUT)
    twin.drop()
    twin.connect()
    twin.advance(10.0)
    twin.take_told()
    twin.feed(opened(7))
    assert twin.take_told() == [_asked()]


def test_a_machine_that_slept_is_told_its_deadline_by_the_server(
    twin: Twin, handle: PositionHandle, clock: FakeClock
) -> None:
    """Its own monotonic clock stood still meanwhile."""
    twin.drop()
    slept_ms = 3_600_000
    twin.connect(hello(2, server_time_ms=clock.wall_ms() + slept_ms))
    twin.take_told()
    twin.feed(opened(7))
    assert twin.take_told() == [_asked()]


# Changing the deadline


def test_a_change_retimes_every_open_position_at_once(
    twin: Twin, clock: FakeClock
) -> None:
    """Each from its own opening; what has passed by that fires now."""
    twin.feed(_now_opened(clock, 1, "A"))
    twin.advance(20.0)
    twin.feed(_now_opened(clock, 2, "B"))
    twin.advance(5.0)
    twin.take_told()
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=22.5)
    twin.settle()
    asked = [m for m in twin.take_told() if isinstance(m, RequestExitSignal)]
    assert asked == [_asked("A")]
    assert twin.session.deadline_remaining("B") == 17.5


def test_a_deadline_can_be_turned_off(twin: Twin, handle: PositionHandle) -> None:
    """Zero is off, for open positions and for those to come."""
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=0)
    twin.feed(opened(2, "B"))
    twin.take_told()
    twin.advance(1000.0)
    assert twin.take_told() == []


def test_a_deadline_can_be_turned_on_later(clock: FakeClock) -> None:
    """It counts from the opening, not from the change."""
    twin = Twin(clock, configure=_configure(0.0)).connect()
    twin.feed(opened())
    twin.advance(50.0)
    assert twin.session.deadline_remaining("A") is None
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=60)
    assert twin.session.deadline_remaining("A") == 10.0


def test_another_strategy_leaves_the_deadline_alone(
    twin: Twin, handle: PositionHandle
) -> None:
    """Only a deadline that is given changes it."""
    twin.advance(10.0)
    twin.session.update_strategy(StrategyConfig(stop_loss_pct=3.0))
    twin.session.update_strategy_optional(trailing_stop_pct=2.0)
    assert twin.session.deadline_remaining(handle) == TIMEOUT - 10.0


def test_a_change_calls_off_what_the_former_deadline_asked_for(
    twin: Twin, handle: PositionHandle
) -> None:
    """The later deadline fires once more, when it is due."""
    twin.advance(TIMEOUT)
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=100)
    twin.take_told()
    twin.advance(39.9)
    assert twin.take_told() == []
    twin.advance(0.1)
    assert twin.take_told() == [_asked()]


def test_a_change_does_not_call_off_what_the_user_asked_for(
    twin: Twin, handle: PositionHandle
) -> None:
    """The user's own request outlives the deadline that fell on top of it."""
    twin.advance(TIMEOUT - 1.0)
    twin.session.request_exit_signal(handle, slippage_bps=300)
    twin.advance(1.0)
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=0)
    twin.take_told()
    twin.advance(RETRY)
    assert twin.take_told() == [_asked(slippage_bps=300)]


def test_a_deadline_keeps_the_slippage_that_the_user_asked_for(
    twin: Twin, handle: PositionHandle
) -> None:
    """It asks for the same exit, not for a cheaper one."""
    twin.advance(TIMEOUT - 1.0)
    twin.session.request_exit_signal(handle, slippage_bps=300)
    twin.take_told()
    twin.advance(1.0)
    assert twin.take_told() == [_asked(slippage_bps=300)]


def test_a_deadline_taken_off_the_heap_before_a_change_does_not_fire_after_it(
    twin: Twin, handle: PositionHandle
) -> None:
    """The Timer's thread was held up in between: the settings of now decide."""
    twin.advance(TIMEOUT - 1.0)
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=600)
    twin.take_told()
    twin.core._ask_for_exits([handle])
    twin.settle()
    assert twin.take_told() == []
    twin.session.update_strategy(CONFIGURE.strategy, deadline_timeout_sec=0)
    twin.take_told()
    twin.core._ask_for_exits([handle])
    twin.settle()
    assert twin.take_told() == []


def test_a_deadline_between_the_two_looks_at_a_successor_does_not_fire(
    twin: Twin, handle: PositionHandle, clock: FakeClock
) -> None:
    """The intent knows of the successor already, the book not yet."""
    twin.drop()
    twin.advance(10.0)
    bought = _now_opened(clock, 1)
    twin.advance(1.0)
    twin.connect()
    twin.take_told()
    twin.recall.opened(bought, clock.monotonic())
    twin.core.scheduler.disarm(handle)
    twin.core._ask_for_exits([handle])
    twin.settle()
    assert twin.take_told() == []


def test_a_deadline_between_the_two_looks_at_a_reemission_fires(
    twin: Twin, handle: PositionHandle, clock: FakeClock
) -> None:
    """It is the same position, and the intent knows that it is there."""
    twin.drop()
    twin.connect()
    twin.take_told()
    twin.recall.opened(opened(7), clock.monotonic())
    twin.core.scheduler.disarm(handle)
    twin.core._ask_for_exits([handle])
    twin.settle()
    assert twin.take_told() == [_asked()]


# The end of the stream


def test_nothing_fires_after_the_close(twin: Twin, handle: PositionHandle) -> None:
    """Not even what the Timer's thread had in its hands."""
    twin.session.close()
    twin.timers.advance(1000.0)
    twin.core._ask_for_exits([handle])
    twin.settle()
    assert twin.take_told() == []


def test_an_order_for_a_connection_that_ended_is_dropped(
    twin: Twin, handle: PositionHandle
) -> None:
    """On the next one the account may hold another position: it is asked for anew (P10)."""
    twin.clock.advance(TIMEOUT)
    twin.timers.fire_due()
    twin.drop()
    twin.connect()
    assert twin.take_told(but_configure=True) == []
    twin.feed(opened(7))
    assert twin.take_told() == [_asked()]


def test_where_no_timer_starts_the_supervisor_serves_the_deadlines(
    clock: FakeClock,
) -> None:
    """At the limit of the process, or at its end."""
    twin = Twin(clock)
    twin.timers.can_start = False
    twin.connect()
    twin.feed(opened())
    twin.take_told()
    twin.advance(TIMEOUT - 0.1)
    assert twin.take_told() == []
    twin.advance(0.1)
    assert twin.take_told() == [_asked()]


def test_a_change_and_new_positions_do_not_cross() -> None:
    """Two threads: whatever comes first, nothing keeps a deadline that was turned off."""
    clock = FakeClock()
    twin = Twin(clock).connect()
    start = threading.Barrier(2)

    def change() -> None:
        start.wait(5.0)
        for round_ in range(200):
            twin.core.set_deadline_timeout(60.0 if round_ % 2 else 0.0)
        twin.core.set_deadline_timeout(0.0)

    changer = threading.Thread(target=change)
    changer.start()
    start.wait(5.0)
    for number in range(1, 400):
        twin.feed(opened(number, f"A{number}"))
    changer.join(20.0)
    assert all(
        twin.session.deadline_remaining(handle) is None
        for handle in twin.session.positions()
    )
