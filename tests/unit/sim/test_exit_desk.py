from __future__ import annotations

from typing import Any

import pytest

from lasersell.protocol.client import (
    RequestExitSignal,
    UpdateStrategy,
)
from lasersell.protocol.server import (
    PnlUpdate,
    PositionClosed,
    PositionOpened,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.readings import Readings
from tests.unit.sim.tracked import LADDER, land_last, open_position, signals_in
from tests.unit.sim.world import World, swap_of, types

# --- partial exits ------------------------------------------------------------


def test_a_level_sells_its_part_and_the_rest_stays_under_the_rules() -> None:
    """Landed, the part is gone; what is left has its share of the entry, and its stop."""
    world = World()
    holding = open_position(world, profits_pct=[10])
    (signal,) = signals_in(world.tick())
    assert (signal.level_index, signal.sell_tokens) == (0, 250)
    assert (signal.position_tokens, signal.profit_units) == (1000, 100_000)
    assert types(land_last(world, holding)) == ["balance_update"]
    (pnl,) = world.tick()
    assert isinstance(pnl, PnlUpdate)
    assert pnl.proceeds_units - pnl.profit_units == 750_000
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    world.chain.set_profit(left, -10)
    (stop,) = signals_in(world.tick())
    assert (stop.reason, stop.position_tokens, stop.sell_tokens) == (
        "stop_loss",
        750,
        None,
    )


def test_the_transaction_of_a_level_sells_only_its_part() -> None:
    """Amount and least proceeds in the transaction are those of the part."""
    world = World()
    open_position(world, profits_pct=[10])
    (signal,) = signals_in(world.tick())
    swap = swap_of(signal.unsigned_tx_b64)
    assert swap.spent == 250
    pool = world.chain.market(signal.mint).pool
    assert swap.received == pool.proceeds(250) * 90 // 100


def test_a_level_that_sells_everything_is_a_full_exit() -> None:
    """With nothing under way the last level says its index, but no part; then it is quiet."""
    world = World()
    holding = open_position(world, profits_pct=[10, 10, 20, -50])
    world.tick()
    land_last(world, holding)
    world.tick()
    (signal,) = signals_in(world.tick())
    assert (signal.level_index, signal.sell_tokens) == (1, None)
    assert signal.position_tokens == 750
    assert signals_in(world.tick()) == []


def test_a_level_sells_of_what_no_other_exit_takes() -> None:
    """While a part is under way the next level counts without it."""
    world = World()
    open_position(world, profits_pct=[10, 20])
    world.tick()
    (signal,) = signals_in(world.tick())
    assert (signal.level_index, signal.sell_tokens) == (1, 750)


def test_a_full_exit_sells_what_parts_under_way_would_have_sold() -> None:
    """A stop is for all that is held, and lands as one sale."""
    world = World()
    holding = open_position(world, profits_pct=[10, -10])
    world.tick()
    (stop,) = signals_in(world.tick())
    assert (stop.reason, stop.sell_tokens) == ("stop_loss", None)
    balance, closed = land_last(world, holding)
    assert balance.type == "balance_update"
    assert isinstance(closed, PositionClosed)
    assert closed.reason == "stop_loss"


def test_parts_land_by_themselves_where_asked_for() -> None:
    """With a delay each level's sale lands in its time, and then the position closes."""
    world = World(auto_sell_after_ms=0)
    open_position(world, profits_pct=[10, 10, 20])
    seen = [types(world.tick()) for _ in range(4)]
    assert seen == [
        ["exit_signal_with_tx", "pnl_update"],
        ["balance_update", "pnl_update"],
        ["exit_signal_with_tx", "pnl_update"],
        ["balance_update", "position_closed"],
    ]


def test_a_trail_survives_the_sale_of_a_part() -> None:
    """A peak is a percentage: half the position at the same profit has not fallen."""
    world = World()
    world.configure(trailing_stop_pct=5)
    holding = open_position(world, profits_pct=[10])
    world.tick()
    world.session.see_trade(world.chain.sell(holding, tokens=500, reason="manual"))
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    world.chain.set_profit(left, 9)
    assert signals_in(world.tick()) == []
    world.chain.set_profit(left, 5)
    assert [s.reason for s in signals_in(world.tick())] == ["trailing_stop"]


# --- refreshed signals --------------------------------------------------------


def test_a_signal_that_does_not_land_is_refreshed() -> None:
    """Sent again with the same slippage and a fresh blockhash, until the sale lands."""
    world = World(refresh_after_ms=1000)
    holding = open_position(world, profits_pct=[-10])
    (first,) = signals_in(world.tick())
    again = [signal for _ in range(25) for signal in signals_in(world.tick())]
    assert len(again) == 2
    assert {signal.reason for signal in again} == {"stop_loss"}
    assert {signal.level_index for signal in again} == {None}
    transactions = {s.unsigned_tx_b64 for s in (first, *again)}
    assert len(transactions) == 3
    land_last(world, holding)
    assert [world.tick() for _ in range(15)] == [[]] * 15


def test_an_exit_is_not_decided_again_for_a_sale_by_hand() -> None:
    """While a stop is under way the wallet may sell a part; there is no second signal."""
    world = World()
    holding = open_position(world, profits_pct=[-10])
    assert len(signals_in(world.tick())) == 1
    world.session.see_trade(world.chain.sell(holding, tokens=100, reason="manual"))
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    world.chain.set_profit(left, -20)
    assert types(world.tick()) == ["pnl_update"]


def test_a_refreshed_exit_sells_no_more_than_is_left() -> None:
    """A level's sale is rebuilt for what the wallet has not sold by itself meanwhile."""
    world = World(refresh_after_ms=100)
    holding = open_position(world, profits_pct=[10])
    (first,) = signals_in(world.tick())
    assert first.sell_tokens == 250
    world.session.see_trade(world.chain.sell(holding, tokens=900, reason="manual"))
    (again,) = signals_in(world.tick())
    assert (again.level_index, again.position_tokens) == (0, 100)
    assert (again.sell_tokens, swap_of(again.unsigned_tx_b64).spent) == (None, 100)


def test_a_requested_exit_keeps_its_slippage_when_refreshed() -> None:
    """What was asked for by hand is rebuilt as it was asked for."""
    world = World(refresh_after_ms=100)
    holding = open_position(world)
    request = RequestExitSignal(
        token_account=holding.token_account, slippage_bps=10_000
    )
    world.session.receive(request)
    (signal,) = signals_in(world.tick())
    swap = swap_of(signal.unsigned_tx_b64)
    assert (swap.spent, swap.received) == (1000, 0)


# --- the liquidity guard ------------------------------------------------------


def test_a_deferred_exit_waits_and_the_pnl_goes_on() -> None:
    """A stop in a thin pool is held back, and comes when the pool takes it."""
    world = World(readings=Readings(liquidity_guard="defer"))
    world.configure(stop_loss_pct=10, liquidity_guard=True)
    # A large position in a thin pool; the price of the walk is kept still.
    mint = world.chain.markets.add(liquidity=10**9).mint
    holding = open_position(world, mint=mint, quote_units=10**9, tokens=None)
    world.chain.set_profit(holding, -10)
    assert types(world.tick()) == ["pnl_update"]
    world.chain.market(mint).set_liquidity(10**12)
    (signal,) = signals_in(world.tick())
    assert signal.reason == "stop_loss"


def test_a_deferred_full_exit_replaces_deferred_parts() -> None:
    """What a part would have sold is sold by the stop that comes after it."""
    world = World(readings=Readings(liquidity_guard="defer"), guard_timeout_ms=10**9)
    world.configure(take_profit_levels=LADDER, stop_loss_pct=10, liquidity_guard=True)
    mint = world.chain.markets.add(liquidity=10**9).mint
    holding = open_position(world, mint=mint, quote_units=10**9, tokens=None)
    # A quarter of it is still more than the pool takes within its slippage.
    world.chain.set_profit(holding, 15)
    assert signals_in(world.tick()) == []
    world.chain.set_profit(holding, -15)
    assert signals_in(world.tick()) == []
    world.chain.market(mint).set_liquidity(10**13)
    assert [s.reason for s in signals_in(world.tick())] == ["stop_loss"]


# --- graduation ---------------------------------------------------------------


def test_a_graduation_is_told_by_later_messages_only() -> None:
    """The exit, and the position after a reconnect, name the new market."""
    world = World()
    world.configure(sell_on_graduation=True)
    mint = world.chain.markets.add(market_type="meteora_dbc").mint
    open_position(world, mint=mint)
    assert types(world.tick()) == ["pnl_update"]
    world.chain.market(mint).graduate()
    (signal,) = signals_in(world.tick())
    assert signal.reason == "graduation"
    assert signal.market_context is not None
    assert signal.market_context.market_type == "meteora_damm_v2"
    world.reconnect()
    (*_, opened) = world.configure(sell_on_graduation=True)
    assert isinstance(opened, PositionOpened)
    assert opened.market_context == signal.market_context


@pytest.mark.parametrize(
    ("reading", "sold"),
    [("every_platform", ["pump_fun", "meteora_dbc"]), ("pump_fun", ["pump_fun"])],
)
def test_which_graduations_are_sold(reading: Any, sold: list[str]) -> None:
    """Those of every launch platform or, in the other reading, of pump.fun alone."""
    world = World(readings=Readings(graduation=reading))
    world.configure(sell_on_graduation=True)
    mints = {
        market_type: world.chain.markets.add(market_type=market_type).mint
        for market_type in ("pump_fun", "meteora_dbc")
    }
    for mint in mints.values():
        open_position(world, mint=mint)
        world.chain.market(mint).graduate()
    signalled = [signal.mint for signal in signals_in(world.tick())]
    assert signalled == [mints[market_type] for market_type in sold]


def test_a_graduation_that_was_not_asked_for_is_missed() -> None:
    """A switch set after the move does not sell on it any more."""
    world = World()
    world.configure(stop_loss_pct=50)
    mint = world.chain.markets.add(market_type="pump_fun").mint
    open_position(world, mint=mint)
    world.chain.market(mint).graduate()
    world.tick()
    update = UpdateStrategy(strategy=StrategyConfig(sell_on_graduation=True))
    world.session.receive(update)
    assert types(world.tick()) == ["pnl_update"]
