from __future__ import annotations

from typing import Any

import pytest

from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import (
    PositionClosed,
    PositionOpened,
    ServerMessage,
    TradeTick,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.readings import Readings
from lasersell.sim.strategy import Rulebook
from tests.unit.sim.tracked import LADDER, open_position, signals_in
from tests.unit.sim.world import OTHER, WALLET, World, types

# --- reconnects ---------------------------------------------------------------


def _reconnected(exit_state: str) -> list[ServerMessage]:
    """Signal a level, reconnect, and return what the next tick says."""
    world = World(exit_state=exit_state)
    open_position(world, profits_pct=[10, 10])
    assert len(signals_in(world.tick())) == 1
    world.reconnect()
    world.configure(take_profit_levels=LADDER, stop_loss_pct=10)
    return world.tick()


def test_a_ladder_starts_over_after_a_reconnect() -> None:
    """Forgotten with the session, a level is signalled again."""
    (signal,) = signals_in(_reconnected("forgotten"))
    assert signal.level_index == 0


def test_a_ladder_may_be_remembered() -> None:
    """Kept for the key, a level that was signalled stays signalled."""
    assert signals_in(_reconnected("kept")) == []


def test_what_was_sold_is_not_remembered() -> None:
    """A token bought again is a new position, at the foot of its ladder."""
    world = World(exit_state="kept")
    holding = open_position(world, profits_pct=[10])
    world.tick()
    world.session.see_trade(world.chain.sell(holding, reason="manual"))
    open_position(world, mint=holding.mint, profits_pct=[10])
    (signal,) = signals_in(world.tick())
    assert signal.level_index == 0
    assert len(world.memory) == 1


@pytest.mark.parametrize("again", ["reconnect", "configure"])
def test_a_position_is_judged_again_after_a_new_configure(again: str) -> None:
    """A breach whose signal got lost is signalled once more, with the next tick."""
    world = World()
    open_position(world, profits_pct=[-10])
    (lost,) = signals_in(world.tick())
    assert signals_in(world.tick()) == []
    if again == "reconnect":
        world.reconnect()
    world.configure(stop_loss_pct=10)
    (signal,) = signals_in(world.tick())
    assert (signal.reason, signal.token_account) == ("stop_loss", lost.token_account)
    assert signals_in(world.tick()) == []


@pytest.mark.parametrize("facts", ["kept", "renewed"])
def test_what_is_told_again_of_a_position(facts: str) -> None:
    """Slot and time of opening are those of the buy or, if asked for, of now."""
    world = World(position_facts=facts)
    holding = open_position(world)
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


# --- trade ticks --------------------------------------------------------------


def test_trades_in_a_token_are_told_if_asked_for() -> None:
    """Somebody's buy is a tick of each position of the token, and nobody's own opening."""
    world = World(trade_ticks=True)
    holding = open_position(world)
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
    holding = open_position(world)
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
    open_position(world, profits_pct=[0, profit_pct])
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
    open_position(world)
    assert world.session.receive(UpdateWallets(wallet_pubkeys=[OTHER])) == []
    assert world.session.receive(UpdateWallets(wallet_pubkeys=[WALLET])) == []
    assert types(world.tick()) == ["pnl_update"]


# --- our own wallets ----------------------------------------------------------


@pytest.mark.parametrize("reading", ["closed", "kept"])
def test_positions_of_a_removed_wallet(reading: str) -> None:
    """They stop being tracked or, in the other reading, live until they close."""
    readings = Readings(removed_wallets=reading)  # type: ignore[arg-type]
    world = World(readings=readings)
    holding = open_position(world)
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
    open_position(world, profits_pct=[-20])
    (position,) = world.session.positions.values()
    position.rules = Rulebook(StrategyConfig(stop_loss_pct=50))
    world.session.receive(UpdateStrategy(strategy=StrategyConfig(stop_loss_pct=15)))
    assert bool(signals_in(world.tick())) == fires


def test_a_position_that_left_makes_room_in_its_wallet() -> None:
    """The count per wallet follows opens, closes and a new configure."""
    world = World()
    holding = [open_position(world) for _ in range(20)][-1]
    assert types(world.buy()) == ["balance_update", "error"]
    world.session.receive(ClosePosition(token_account=holding.token_account))
    assert types(world.buy()) == ["balance_update", "position_opened"]
    # Configured again, it counts from nothing: one of the 22 held is too many twice.
    assert types(world.configure()).count("position_opened") == 20
