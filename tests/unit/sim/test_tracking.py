from __future__ import annotations

from typing import Any

import pytest

from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    RequestExitSignal,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import (
    ExitSignalWithTx,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    ServerMessage,
    TradeTick,
)
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim.ledger import Holding
from lasersell.sim.readings import Readings
from lasersell.sim.strategy import Rulebook
from tests.unit.sim.world import OTHER, WALLET, World, swap_of, types

_LADDER = (
    TakeProfitLevel(profit_pct=10, sell_pct=25),
    TakeProfitLevel(profit_pct=20, sell_pct=100),
)


def _opened(world: World, **buy: Any) -> Holding:
    """Configure for a ladder if need be, buy, and return the holding."""
    if not world.session.is_configured:
        world.configure(take_profit_levels=_LADDER, stop_loss_pct=10)
    buy = {"tokens": 1000, "quote_units": 1_000_000, **buy}
    (opened,) = (m for m in world.buy(**buy) if isinstance(m, PositionOpened))
    holding = world.chain.ledger.holding(opened.token_account)
    assert holding is not None
    return holding


def _signals(messages: list[ServerMessage]) -> list[ExitSignalWithTx]:
    return [m for m in messages if isinstance(m, ExitSignalWithTx)]


def _land(world: World, holding: Holding) -> list[ServerMessage]:
    """Land the last exit signalled; return what is said."""
    pending = world.chain.orders.last_exit(holding.token_account)
    assert pending is not None
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    return world.session.see_trade(world.chain.land_exit(left, pending))


# --- partial exits ------------------------------------------------------------


def test_a_level_sells_its_part_and_the_rest_stays_under_the_rules() -> None:
    """Landed, the part is gone; what is left has its share of the entry, and its stop."""
    world = World()
    holding = _opened(world, profits_pct=[10])
    (signal,) = _signals(world.tick())
    assert (signal.level_index, signal.sell_tokens) == (0, 250)
    assert (signal.position_tokens, signal.profit_units) == (1000, 100_000)
    assert types(_land(world, holding)) == ["balance_update"]
    (pnl,) = world.tick()
    assert isinstance(pnl, PnlUpdate)
    assert pnl.proceeds_units - pnl.profit_units == 750_000
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    world.chain.set_profit(left, -10)
    (stop,) = _signals(world.tick())
    assert (stop.reason, stop.position_tokens, stop.sell_tokens) == (
        "stop_loss",
        750,
        None,
    )


def test_the_transaction_of_a_level_sells_only_its_part() -> None:
    """Amount and least proceeds in the transaction are those of the part."""
    world = World()
    _opened(world, profits_pct=[10])
    (signal,) = _signals(world.tick())
    swap = swap_of(signal.unsigned_tx_b64)
    assert swap.spent == 250
    pool = world.chain.market(signal.mint).pool
    assert swap.received == pool.proceeds(250) * 90 // 100


def test_a_level_that_sells_everything_is_a_full_exit() -> None:
    """With nothing under way the last level says its index, but no part; then it is quiet."""
    world = World()
    holding = _opened(world, profits_pct=[10, 10, 20, -50])
    world.tick()
    _land(world, holding)
    world.tick()
    (signal,) = _signals(world.tick())
    assert (signal.level_index, signal.sell_tokens) == (1, None)
    assert signal.position_tokens == 750
    assert _signals(world.tick()) == []


def test_a_level_sells_of_what_no_other_exit_takes() -> None:
    """While a part is under way the next level counts without it."""
    world = World()
    _opened(world, profits_pct=[10, 20])
    world.tick()
    (signal,) = _signals(world.tick())
    assert (signal.level_index, signal.sell_tokens) == (1, 750)


def test_a_full_exit_sells_what_parts_under_way_would_have_sold() -> None:
    """A stop is for all that is held, and lands as one sale."""
    world = World()
    holding = _opened(world, profits_pct=[10, -10])
    world.tick()
    (stop,) = _signals(world.tick())
    assert (stop.reason, stop.sell_tokens) == ("stop_loss", None)
    balance, closed = _land(world, holding)
    assert balance.type == "balance_update"
    assert isinstance(closed, PositionClosed)
    assert closed.reason == "stop_loss"


def test_parts_land_by_themselves_where_asked_for() -> None:
    """With a delay each level's sale lands in its time, and then the position closes."""
    world = World(auto_sell_after_ms=0)
    _opened(world, profits_pct=[10, 10, 20])
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
    holding = _opened(world, profits_pct=[10])
    world.tick()
    world.session.see_trade(world.chain.sell(holding, tokens=500, reason="manual"))
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    world.chain.set_profit(left, 9)
    assert _signals(world.tick()) == []
    world.chain.set_profit(left, 5)
    assert [s.reason for s in _signals(world.tick())] == ["trailing_stop"]


# --- refreshed signals --------------------------------------------------------


def test_a_signal_that_does_not_land_is_refreshed() -> None:
    """Sent again with the same slippage and a fresh blockhash, until the sale lands."""
    world = World(refresh_after_ms=1000)
    holding = _opened(world, profits_pct=[-10])
    (first,) = _signals(world.tick())
    again = [signal for _ in range(25) for signal in _signals(world.tick())]
    assert len(again) == 2
    assert {signal.reason for signal in again} == {"stop_loss"}
    assert {signal.level_index for signal in again} == {None}
    transactions = {s.unsigned_tx_b64 for s in (first, *again)}
    assert len(transactions) == 3
    _land(world, holding)
    assert [world.tick() for _ in range(15)] == [[]] * 15


def test_an_exit_is_not_decided_again_for_a_sale_by_hand() -> None:
    """While a stop is under way the wallet may sell a part; there is no second signal."""
    world = World()
    holding = _opened(world, profits_pct=[-10])
    assert len(_signals(world.tick())) == 1
    world.session.see_trade(world.chain.sell(holding, tokens=100, reason="manual"))
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    world.chain.set_profit(left, -20)
    assert types(world.tick()) == ["pnl_update"]


def test_a_refreshed_exit_sells_no_more_than_is_left() -> None:
    """A level's sale is rebuilt for what the wallet has not sold by itself meanwhile."""
    world = World(refresh_after_ms=100)
    holding = _opened(world, profits_pct=[10])
    (first,) = _signals(world.tick())
    assert first.sell_tokens == 250
    world.session.see_trade(world.chain.sell(holding, tokens=900, reason="manual"))
    (again,) = _signals(world.tick())
    assert (again.level_index, again.position_tokens) == (0, 100)
    assert (again.sell_tokens, swap_of(again.unsigned_tx_b64).spent) == (None, 100)


def test_a_requested_exit_keeps_its_slippage_when_refreshed() -> None:
    """What was asked for by hand is rebuilt as it was asked for."""
    world = World(refresh_after_ms=100)
    holding = _opened(world)
    request = RequestExitSignal(
        token_account=holding.token_account, slippage_bps=10_000
    )
    world.session.receive(request)
    (signal,) = _signals(world.tick())
    swap = swap_of(signal.unsigned_tx_b64)
    assert (swap.spent, swap.received) == (1000, 0)


# --- reconnects ---------------------------------------------------------------


def _reconnected(exit_state: str) -> list[ServerMessage]:
    """Signal a level, reconnect, and return what the next tick says."""
    world = World(exit_state=exit_state)
    _opened(world, profits_pct=[10, 10])
    assert len(_signals(world.tick())) == 1
    world.reconnect()
    world.configure(take_profit_levels=_LADDER, stop_loss_pct=10)
    return world.tick()


def test_a_ladder_starts_over_after_a_reconnect() -> None:
    """Forgotten with the session, a level is signalled again."""
    (signal,) = _signals(_reconnected("forgotten"))
    assert signal.level_index == 0


def test_a_ladder_may_be_remembered() -> None:
    """Kept for the key, a level that was signalled stays signalled."""
    assert _signals(_reconnected("kept")) == []


def test_what_was_sold_is_not_remembered() -> None:
    """A token bought again is a new position, at the foot of its ladder."""
    world = World(exit_state="kept")
    holding = _opened(world, profits_pct=[10])
    world.tick()
    world.session.see_trade(world.chain.sell(holding, reason="manual"))
    _opened(world, mint=holding.mint, profits_pct=[10])
    (signal,) = _signals(world.tick())
    assert signal.level_index == 0
    assert len(world.memory) == 1


@pytest.mark.parametrize("again", ["reconnect", "configure"])
def test_a_position_is_judged_again_after_a_new_configure(again: str) -> None:
    """A breach whose signal got lost is signalled once more, with the next tick."""
    world = World()
    _opened(world, profits_pct=[-10])
    (lost,) = _signals(world.tick())
    assert _signals(world.tick()) == []
    if again == "reconnect":
        world.reconnect()
    world.configure(stop_loss_pct=10)
    (signal,) = _signals(world.tick())
    assert (signal.reason, signal.token_account) == ("stop_loss", lost.token_account)
    assert _signals(world.tick()) == []


@pytest.mark.parametrize("facts", ["kept", "renewed"])
def test_what_is_told_again_of_a_position(facts: str) -> None:
    """Slot and time of opening are those of the buy or, if asked for, of now."""
    world = World(position_facts=facts)
    holding = _opened(world)
    world.clock.advance(60_000)
    world.reconnect()
    (*_, opened) = world.configure()
    assert isinstance(opened, PositionOpened)
    assert opened.entry_quote_units == holding.entry_quote_units
    told = (opened.slot, opened.opened_at_ms)
    if facts == "kept":
        assert told == (holding.slot, holding.opened_at_ms)
    else:
        assert told == (world.chain.slot, world.clock.wall_ms())


# --- the liquidity guard ------------------------------------------------------


def test_a_deferred_exit_waits_and_the_pnl_goes_on() -> None:
    """A stop in a thin pool is held back, and comes when the pool takes it."""
    world = World(readings=Readings(liquidity_guard="defer"))
    world.configure(stop_loss_pct=10, liquidity_guard=True)
    # A large position in a thin pool; the price of the walk is kept still.
    mint = world.chain.markets.add(liquidity=10**9).mint
    holding = _opened(world, mint=mint, quote_units=10**9, tokens=None)
    world.chain.set_profit(holding, -10)
    assert types(world.tick()) == ["pnl_update"]
    world.chain.market(mint).set_liquidity(10**12)
    (signal,) = _signals(world.tick())
    assert signal.reason == "stop_loss"


def test_a_deferred_full_exit_replaces_deferred_parts() -> None:
    """What a part would have sold is sold by the stop that comes after it."""
    world = World(readings=Readings(liquidity_guard="defer"), guard_timeout_ms=10**9)
    world.configure(take_profit_levels=_LADDER, stop_loss_pct=10, liquidity_guard=True)
    mint = world.chain.markets.add(liquidity=10**9).mint
    holding = _opened(world, mint=mint, quote_units=10**9, tokens=None)
    # A quarter of it is still more than the pool takes within its slippage.
    world.chain.set_profit(holding, 15)
    assert _signals(world.tick()) == []
    world.chain.set_profit(holding, -15)
    assert _signals(world.tick()) == []
    world.chain.market(mint).set_liquidity(10**13)
    assert [s.reason for s in _signals(world.tick())] == ["stop_loss"]


# --- graduation ---------------------------------------------------------------


def test_a_graduation_is_told_by_later_messages_only() -> None:
    """The exit, and the position after a reconnect, name the new market."""
    world = World()
    world.configure(sell_on_graduation=True)
    mint = world.chain.markets.add(market_type="meteora_dbc").mint
    _opened(world, mint=mint)
    assert types(world.tick()) == ["pnl_update"]
    world.chain.market(mint).graduate()
    (signal,) = _signals(world.tick())
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
        _opened(world, mint=mint)
        world.chain.market(mint).graduate()
    signalled = [signal.mint for signal in _signals(world.tick())]
    assert signalled == [mints[market_type] for market_type in sold]


def test_a_graduation_that_was_not_asked_for_is_missed() -> None:
    """A switch set after the move does not sell on it any more."""
    world = World()
    world.configure(stop_loss_pct=50)
    mint = world.chain.markets.add(market_type="pump_fun").mint
    _opened(world, mint=mint)
    world.chain.market(mint).graduate()
    world.tick()
    update = UpdateStrategy(strategy=StrategyConfig(sell_on_graduation=True))
    world.session.receive(update)
    assert types(world.tick()) == ["pnl_update"]


# --- trade ticks --------------------------------------------------------------


def test_trades_in_a_token_are_told_if_asked_for() -> None:
    """Somebody's buy is a tick of each position of the token, and nobody's own opening."""
    world = World(trade_ticks=True)
    holding = _opened(world)
    trade = world.chain.buy(OTHER, holding.mint, quote_units=500_000)
    (tick,) = world.session.see_trade(trade)
    assert isinstance(tick, TradeTick)
    assert (tick.side, tick.maker) == ("buy", OTHER)
    assert (tick.token_amount, tick.quote_amount) == (trade.tokens, 500_000)
    assert tick.price_quote == world.chain.market(holding.mint).token_price_quote
    assert tick.tx_signature is not None


def test_our_own_sale_is_a_tick_before_it_is_a_close() -> None:
    """The last tick of a position is that of its sale."""
    world = World(trade_ticks=True)
    holding = _opened(world)
    trade = world.chain.sell(holding, reason="manual")
    assert types(world.session.see_trade(trade)) == [
        "trade_tick",
        "balance_update",
        "position_closed",
    ]


@pytest.mark.parametrize(("profit_pct", "side"), [(5, "buy"), (-5, "sell")])
def test_a_moving_price_is_somebodys_trade(profit_pct: float, side: str) -> None:
    """A rise is a buy and a fall a sale; a price that stands still is no trade."""
    world = World(trade_ticks=True)
    _opened(world, profits_pct=[0, profit_pct])
    assert types(world.tick()) == ["pnl_update"]
    pnl, tick = world.tick()
    assert pnl.type == "pnl_update"
    assert isinstance(tick, TradeTick)
    assert tick.side == side
    assert tick.quote_amount > 0
    assert tick.token_amount > 0


# --- watched wallets ----------------------------------------------------------


def _watching(**options: Any) -> World:
    world = World(**options)
    world.session.greet()
    configure = Configure(
        wallet_pubkeys=[WALLET],
        strategy=StrategyConfig(stop_loss_pct=10),
        watch_wallets=[WatchWallet(pubkey=OTHER)],
    )
    world.session.receive(configure)
    return world


def test_a_watched_wallets_position_is_marked_in_every_message() -> None:
    """Opened, profits, snapshots, ticks, exits and the close say it is watched."""
    world = _watching(liquidity_snapshots=True, trade_ticks=True)
    said: list[Any] = world.buy(OTHER, profits_pct=[0, -10])
    world.tick()
    said += world.tick()
    (holding,) = world.chain.ledger.holdings(OTHER)
    said += world.session.see_trade(world.chain.sell(holding, reason="manual"))
    assert types(said) == [
        "position_opened",
        "exit_signal_with_tx",
        "pnl_update",
        "liquidity_snapshot",
        "trade_tick",
        "trade_tick",
        "position_closed",
    ]
    assert all(message.watched for message in said)


def test_exits_of_watched_positions_may_be_left_out() -> None:
    """Where the strategy is for own positions only, a watched one has just its PnL."""
    world = _watching(watched_exits=False)
    world.buy(OTHER, profits_pct=[-50])
    assert types(world.tick()) == ["pnl_update"]


def test_nobody_sells_what_is_only_watched() -> None:
    """An exit signal for a watched position never lands by itself."""
    world = _watching(auto_sell_after_ms=0)
    world.buy(OTHER, profits_pct=[-50])
    world.tick()
    assert types(world.tick()) == ["pnl_update"]
    assert world.chain.holds(OTHER)


def test_what_a_watched_wallet_holds_is_shown_after_our_own() -> None:
    """A configure reports own holdings with balances, then watched ones without."""
    world = World()
    world.chain.buy(OTHER)
    world.chain.buy(WALLET)
    messages = world.session.receive(
        Configure(
            wallet_pubkeys=[WALLET],
            strategy=StrategyConfig(stop_loss_pct=10),
            watch_wallets=[WatchWallet(pubkey=OTHER), WatchWallet(pubkey=WALLET)],
        )
    )
    assert types(messages) == [
        "hello_ok",
        "balance_update",
        "position_opened",
        "position_opened",
    ]
    opened = [m for m in messages if isinstance(m, PositionOpened)]
    assert [m.watched for m in opened] == [False, True]


def test_watched_positions_take_no_room() -> None:
    """The limits count own positions only."""
    world = _watching()
    for _ in range(25):
        world.buy(OTHER)
    assert types(world.buy(WALLET)) == ["balance_update", "position_opened"]


def test_a_new_list_starts_and_stops_watching() -> None:
    """A wallet left out has its positions closed, an added one has them shown."""
    world = _watching()
    world.buy(OTHER)
    (closed,) = world.session.receive(UpdateWatchWallets(watch_wallets=[]))
    assert isinstance(closed, PositionClosed)
    assert closed.watched
    update = UpdateWatchWallets(watch_wallets=[WatchWallet(pubkey=OTHER)])
    (opened,) = world.session.receive(update)
    assert isinstance(opened, PositionOpened)
    assert world.session.receive(update) == []


@pytest.mark.parametrize("ids", ["kept", "renewed"])
def test_a_watched_wallet_may_become_our_own_and_the_other_way(ids: str) -> None:
    """Each time the position ends as what it was, and begins as what it is."""
    world = _watching(position_ids=ids)
    world.buy(OTHER)
    joined = world.session.receive(UpdateWallets(wallet_pubkeys=[WALLET, OTHER]))
    assert types(joined) == ["position_closed", "balance_update", "position_opened"]
    assert [p.is_watched for p in world.session.positions.values()] == [False]
    left = world.session.receive(UpdateWallets(wallet_pubkeys=[WALLET]))
    assert types(left) == ["position_closed", "position_opened"]
    assert [p.is_watched for p in world.session.positions.values()] == [True]
    assert types(world.tick()) == ["pnl_update"]


def test_a_position_that_was_kept_is_not_told_twice() -> None:
    """A wallet that comes back finds what was tracked all the time as it was."""
    world = World(readings=Readings(removed_wallets="kept"), position_ids="renewed")
    _opened(world)
    assert world.session.receive(UpdateWallets(wallet_pubkeys=[OTHER])) == []
    assert world.session.receive(UpdateWallets(wallet_pubkeys=[WALLET])) == []
    assert types(world.tick()) == ["pnl_update"]


# --- our own wallets ----------------------------------------------------------


@pytest.mark.parametrize("reading", ["closed", "kept"])
def test_positions_of_a_removed_wallet(reading: str) -> None:
    """They stop being tracked or, in the other reading, live until they close."""
    readings = Readings(removed_wallets=reading)  # type: ignore[arg-type]
    world = World(readings=readings)
    holding = _opened(world)
    said = world.session.receive(UpdateWallets(wallet_pubkeys=[OTHER]))
    assert types(said) == (["position_closed"] if reading == "closed" else [])
    assert types(world.tick()) == ([] if reading == "closed" else ["pnl_update"])
    sale = world.session.see_trade(world.chain.sell(holding, reason="manual"))
    assert types(sale) == (
        [] if reading == "closed" else ["balance_update", "position_closed"]
    )


@pytest.mark.parametrize(("reading", "fires"), [("kept", False), ("overwritten", True)])
def test_a_new_strategy_and_positions_with_their_own(reading: str, fires: bool) -> None:
    """A strategy of its own stays or, in the other reading, is overwritten."""
    readings = Readings(position_strategy=reading)  # type: ignore[arg-type]
    world = World(readings=readings)
    _opened(world, profits_pct=[-20])
    (position,) = world.session.positions.values()
    position.rules = Rulebook(StrategyConfig(stop_loss_pct=50))
    world.session.receive(UpdateStrategy(strategy=StrategyConfig(stop_loss_pct=15)))
    assert bool(_signals(world.tick())) == fires


def test_a_position_that_left_makes_room_in_its_wallet() -> None:
    """The count per wallet follows opens, closes and a new configure."""
    world = World()
    holding = [_opened(world) for _ in range(20)][-1]
    assert types(world.buy()) == ["balance_update", "error"]
    world.session.receive(ClosePosition(token_account=holding.token_account))
    assert types(world.buy()) == ["balance_update", "position_opened"]
    # Configured again, it counts from nothing: one of the 22 held is too many twice.
    assert types(world.configure()).count("position_opened") == 20
