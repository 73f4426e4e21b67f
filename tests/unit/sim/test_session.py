from __future__ import annotations

import base64
import struct
from typing import Any

import attrs
import pytest
from solders.transaction import VersionedTransaction

from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    Configure,
    MirrorBuyResult,
    Ping,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    HelloOk,
    LiquiditySnapshot,
    PnlUpdate,
    Pong,
    PositionClosed,
    PositionOpened,
    ServerError,
    ServerMessage,
)
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim.ledger import Holding
from lasersell.sim.options import DEFAULT_LIMITS
from lasersell.sim.session import SimSession
from tests.unit.sim.world import KEYPAIR, OTHER, WALLET, World, swap_of, types

_STOP = StrategyConfig(stop_loss_pct=10)
_TARGET = StrategyConfig(target_profit_pct=5)


def _limited(**limits: Any) -> World:
    return World(limits=attrs.evolve(DEFAULT_LIMITS, **limits))


def _opened(world: World, **buy: Any) -> tuple[Holding, int]:
    """Configure, buy, and return the holding and its position id."""
    if not world.session.is_configured:
        world.configure()
    (opened,) = (m for m in world.buy(**buy) if isinstance(m, PositionOpened))
    holding = world.chain.ledger.holding(opened.token_account)
    assert holding is not None
    return holding, opened.position_id


def _code(messages: list[ServerMessage]) -> str:
    """Return the code of the only message, an error."""
    (error,) = messages
    assert isinstance(error, ServerError)
    return error.code


def _signal(messages: list[ServerMessage]) -> ExitSignalWithTx:
    (signal,) = (m for m in messages if isinstance(m, ExitSignalWithTx))
    return signal


# --- hello and configure ------------------------------------------------------


def test_hello_comes_once_and_announces_the_limits() -> None:
    """The greeting has the session's id, the clock and the limits; a second is empty."""
    world = World()
    (hello,) = world.session.greet()
    assert hello == HelloOk(
        session_id=42, server_time_ms=world.clock.wall_ms(), limits=DEFAULT_LIMITS
    )
    assert world.session.greet() == []


def test_an_ungreeted_client_is_greeted_when_it_configures() -> None:
    """An accepted configure brings hello_ok first if there was none."""
    world = World()
    world.chain.buy(WALLET)
    assert types(world.configure()) == ["hello_ok", "balance_update", "position_opened"]


def test_configure_reports_every_holding() -> None:
    """Each holding of a configured wallet comes as balance, then position."""
    world = World()
    world.session.greet()
    world.chain.buy(WALLET)
    world.chain.buy(OTHER)
    holding = world.chain.buy(OTHER).holding
    messages = world.configure(WALLET, OTHER)
    assert types(messages) == ["balance_update", "position_opened"] * 3
    balance, opened = messages[-2:]
    assert isinstance(balance, BalanceUpdate)
    assert isinstance(opened, PositionOpened)
    assert balance.tokens == opened.tokens == holding.tokens
    assert opened.token_account == holding.token_account
    assert opened.entry_quote_units == holding.entry_quote_units


def test_wallets_not_configured_stay_unknown() -> None:
    """Holdings and trades of other wallets are nobody's business."""
    world = World()
    world.session.greet()
    world.chain.buy(OTHER)
    assert world.configure(WALLET) == []
    assert world.buy(OTHER) == []


def test_a_wallet_named_twice_is_one_wallet() -> None:
    """A duplicate in the list reports nothing twice."""
    world = World()
    world.session.greet()
    world.chain.buy(WALLET)
    assert len(world.configure(WALLET, WALLET)) == 2


@pytest.mark.parametrize(
    "strategy",
    [
        StrategyConfig(target_profit_pct=-1),
        StrategyConfig(stop_loss_pct=float("inf")),
        StrategyConfig(trailing_stop_pct=float("nan")),
    ],
)
def test_an_invalid_strategy_is_refused(strategy: StrategyConfig) -> None:
    """A negative or endless threshold is an error, and nothing is configured."""
    world = World()
    configure = Configure(wallet_pubkeys=[WALLET], strategy=strategy)
    assert _code(world.session.receive(configure)) == "invalid_strategy"
    assert not world.session.is_configured


def test_a_strategy_with_nothing_set_may_be_refused() -> None:
    """An all-zero strategy passes, as a deadline may be behind it, unless forbidden."""
    nothing = Configure(wallet_pubkeys=[WALLET], strategy=StrategyConfig())
    lenient, strict = World(), World(require_exit_condition=True)
    assert types(lenient.session.receive(nothing)) == ["hello_ok"]
    assert _code(strict.session.receive(nothing)) == "invalid_strategy"


@pytest.mark.parametrize("wallet", [OTHER, "not a key"])
def test_an_unregistered_wallet_is_refused(wallet: str) -> None:
    """A wallet that is not on the list, or no key at all, is an error."""
    world = World(wallets=[WALLET])
    assert _code(world.configure(WALLET, wallet)) == "wallet_not_registered"
    assert not world.session.is_configured


def test_a_refused_configure_may_be_followed_by_a_good_one() -> None:
    """The connection stays usable after an error."""
    world = World(wallets=[WALLET])
    world.configure(OTHER)
    assert types(world.configure(WALLET)) == ["hello_ok"]


def test_a_second_configure_starts_over() -> None:
    """Configuring again replaces wallets and strategy and reports the new holdings."""
    world = World()
    world.configure()
    world.buy(WALLET)
    world.chain.buy(OTHER)
    assert types(world.configure(OTHER)) == ["balance_update", "position_opened"]
    assert [p.holding.wallet for p in world.session.positions.values()] == [OTHER]


@pytest.mark.parametrize(
    "command",
    [
        UpdateStrategy(strategy=_STOP),
        ClosePosition(position_id=1),
        RequestExitSignal(position_id=1),
        UpdateWallets(wallet_pubkeys=[WALLET]),
        UpdatePositionStrategy(position_id=1, strategy=_STOP),
    ],
    ids=lambda command: str(command.type),
)
def test_commands_need_a_configured_session(command: ClientMessage) -> None:
    """Before configure every command but ping is an error."""
    assert _code(World().session.receive(command)) == "not_configured"


def test_ping_is_answered_at_any_time() -> None:
    """A ping brings the server's clock, configured or not."""
    world = World()
    pong = Pong(server_time_ms=world.clock.wall_ms())
    assert world.session.receive(Ping(client_time_ms=1)) == [pong]


# --- limits -------------------------------------------------------------------


def test_too_many_wallets_are_refused() -> None:
    """More wallets than the session may have are an error."""
    world = _limited(max_wallets_per_session=1)
    assert _code(world.configure(WALLET, OTHER)) == "capacity_exceeded"


def test_too_many_watched_wallets_are_refused() -> None:
    """More watched wallets than the session may have are an error."""
    world = _limited(max_watch_wallets_per_session=1)
    world.configure()
    watch = [WatchWallet(pubkey=WALLET), WatchWallet(pubkey=OTHER)]
    update = UpdateWatchWallets(watch_wallets=watch)
    assert _code(world.session.receive(update)) == "capacity_exceeded"
    assert world.session.watch_wallets == ()


@pytest.mark.parametrize(
    "limit", ["max_positions_per_session", "max_positions_per_wallet"]
)
def test_a_position_too_many_is_not_tracked(limit: str) -> None:
    """Over the limit the balance is still told, but an error replaces the position."""
    world = _limited(**{limit: 1})
    world.configure()
    world.buy()
    balance, error = world.buy()
    assert isinstance(balance, BalanceUpdate)
    assert _code([error]) == "capacity_exceeded"
    assert len(world.session.positions) == 1


def test_another_wallet_has_room_of_its_own() -> None:
    """The limit per wallet counts each wallet alone."""
    world = _limited(max_positions_per_wallet=1)
    world.configure(WALLET, OTHER)
    world.buy(WALLET)
    assert types(world.buy(OTHER)) == ["balance_update", "position_opened"]


def test_a_closed_position_makes_room() -> None:
    """After close_position another position can be tracked."""
    world = _limited(max_positions_per_session=1)
    _, position_id = _opened(world)
    world.session.receive(ClosePosition(position_id=position_id))
    assert types(world.buy()) == ["balance_update", "position_opened"]


# --- ticks --------------------------------------------------------------------


def test_each_tick_brings_a_pnl_for_each_position() -> None:
    """A PnL is proceeds less entry, at the server's time, in each position's id."""
    world = World()
    holding, position_id = _opened(world, profits_pct=[2.5])
    _opened(world)
    first, second = world.tick()
    assert isinstance(first, PnlUpdate)
    assert isinstance(second, PnlUpdate)
    assert (first.position_id, first.profit_units) == (position_id, 2_500_000)
    assert first.proceeds_units - holding.entry_quote_units == first.profit_units
    assert first.server_time_ms == world.clock.wall_ms()
    assert second.position_id != position_id


def test_liquidity_comes_if_asked_for() -> None:
    """With the option each tick has a snapshot; coverage is in percent of the position."""
    world = World(liquidity_snapshots=True)
    holding, _ = _opened(world, quote_units=10_000_000_000)
    (snapshot,) = (m for m in world.tick() if isinstance(m, LiquiditySnapshot))
    assert [band.slippage_bps for band in snapshot.bands] == [100, 200, 500, 1000]
    first, last = snapshot.bands[0], snapshot.bands[-1]
    assert first.coverage_pct == pytest.approx(100 * first.max_tokens / holding.tokens)
    assert 0 < first.coverage_pct < last.coverage_pct <= 100
    assert snapshot.liquidity_trend == "stable"


def test_the_trend_compares_with_the_tick_before() -> None:
    """A rising price draws quote into the pool, and the snapshot says so."""
    world = World(liquidity_snapshots=True)
    _opened(world, profits_pct=[0, 8, -8])
    trends = [
        message.liquidity_trend
        for _ in range(3)
        for message in world.tick()
        if isinstance(message, LiquiditySnapshot)
    ]
    assert trends == ["stable", "growing", "draining"]


def test_a_trigger_brings_one_exit_signal_ahead_of_the_pnl() -> None:
    """The signal is sent once, before the PnL of its tick; the PnL goes on."""
    world = World()
    _, position_id = _opened(world, profits_pct=[0, -10, -20])
    assert types(world.tick()) == ["pnl_update"]
    messages = world.tick()
    assert types(messages) == ["exit_signal_with_tx", "pnl_update"]
    signal = _signal(messages)
    assert (signal.session_id, signal.position_id) == (42, position_id)
    assert (signal.reason, signal.profit_units) == ("stop_loss", -10_000_000)
    assert signal.triggered_at_ms == world.clock.wall_ms()
    assert types(world.tick()) == ["pnl_update"]


def test_the_signal_has_a_transaction_the_wallet_can_sign() -> None:
    """The transaction sells the position for at least 90 % of its value, unsigned."""
    world = World()
    holding, _ = _opened(world, profits_pct=[-10])
    signal = _signal(world.tick())
    raw = base64.b64decode(signal.unsigned_tx_b64, validate=True)
    transaction = VersionedTransaction.from_bytes(raw)
    assert str(transaction.message.account_keys[0]) == signal.wallet_pubkey == WALLET
    swap = swap_of(signal.unsigned_tx_b64)
    assert (swap.spent, swap.received) == (holding.tokens, 81_000_000)
    assert VersionedTransaction(transaction.message, [KEYPAIR]).verify_with_results()


def test_the_tip_of_configure_is_in_the_transaction() -> None:
    """A session with a tip pays it in its exits."""
    world = World()
    world.session.receive(
        Configure(wallet_pubkeys=[WALLET], strategy=_STOP, tip_lamports=1234)
    )
    _opened(world, profits_pct=[-10])
    raw = base64.b64decode(_signal(world.tick()).unsigned_tx_b64)
    tip = VersionedTransaction.from_bytes(raw).message.instructions[-1]
    assert struct.unpack("<IQ", tip.data) == (2, 1234)


def test_a_due_sale_closes_the_position_with_the_reason_of_its_signal() -> None:
    """When the sale lands, the balance is 0, the position closed, and PnL ends."""
    world = World(auto_sell_after_ms=200)
    holding, position_id = _opened(world, profits_pct=[-10])
    world.tick()
    assert types(world.tick()) == ["pnl_update"]
    balance, closed = world.tick()
    assert isinstance(balance, BalanceUpdate)
    assert (balance.token_account, balance.tokens) == (holding.token_account, 0)
    assert isinstance(closed, PositionClosed)
    assert (closed.position_id, closed.reason) == (position_id, "stop_loss")
    assert world.tick() == []


def test_a_partial_sale_shrinks_the_position() -> None:
    """After a part was sold the PnL is that of the rest."""
    world = World()
    holding, _ = _opened(world, tokens=1000, quote_units=1000)
    trade = world.chain.sell(holding, tokens=500, reason="manual")
    (balance,) = world.session.see_trade(trade)
    assert isinstance(balance, BalanceUpdate)
    assert balance.tokens == 500
    (pnl,) = world.tick()
    assert isinstance(pnl, PnlUpdate)
    assert pnl.proceeds_units - pnl.profit_units == 500


# --- commands -----------------------------------------------------------------


def test_an_exit_can_be_asked_for_by_id_or_account() -> None:
    """A request brings a signal now, whatever the strategy says, and again if asked."""
    world = World()
    holding, position_id = _opened(world)
    by_id = RequestExitSignal(position_id=position_id)
    by_account = RequestExitSignal(token_account=holding.token_account)
    for request in (by_id, by_account):
        signal = _signal(world.session.receive(request))
        assert (signal.position_id, signal.reason) == (position_id, "sell_now")


def test_the_slippage_asked_for_is_in_the_transaction() -> None:
    """A request with slippage accepts proceeds that much below the value."""
    world = World()
    _, position_id = _opened(world, tokens=1000, quote_units=1_000_000)
    request = RequestExitSignal(position_id=position_id, slippage_bps=2500)
    swap = swap_of(_signal(world.session.receive(request)).unsigned_tx_b64)
    assert (swap.spent, swap.received) == (1000, 750_000)


def test_a_strategy_does_not_fire_for_what_is_being_sold() -> None:
    """After a requested exit the strategy sends no second signal."""
    world = World()
    _, position_id = _opened(world, profits_pct=[-50])
    world.session.receive(RequestExitSignal(position_id=position_id))
    assert types(world.tick()) == ["pnl_update"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (RequestExitSignal(position_id=99), "unknown_position"),
        (ClosePosition(token_account=WALLET), "unknown_position"),
        (UpdatePositionStrategy(position_id=99, strategy=_STOP), "unknown_position"),
    ],
)
def test_a_position_that_is_not_tracked_is_an_error(
    command: ClientMessage, code: str
) -> None:
    """A command for an unknown position is refused by name."""
    world = World()
    _opened(world)
    assert _code(world.session.receive(command)) == code


@pytest.mark.parametrize(
    "command",
    [ClosePosition(), RequestExitSignal(position_id=1, token_account=WALLET)],
)
def test_a_position_is_named_in_one_way(command: ClientMessage) -> None:
    """A command that names its position not at all, or twice, is refused."""
    world = World()
    world.configure()
    assert _code(world.session.receive(command)) == "invalid_message"


def test_watched_wallets_are_replaced_as_a_whole() -> None:
    """The list that was sent last is the one that holds."""
    world = World()
    world.configure()
    for wallet in (WALLET, OTHER):
        update = UpdateWatchWallets(watch_wallets=[WatchWallet(pubkey=wallet)])
        assert world.session.receive(update) == []
    assert world.session.watch_wallets == (WatchWallet(pubkey=OTHER),)


def test_close_position_stops_tracking_and_sells_nothing() -> None:
    """The position is closed as manual, its PnL ends, the tokens stay."""
    world = World()
    holding, position_id = _opened(world)
    command = ClosePosition(token_account=holding.token_account)
    (closed,) = world.session.receive(command)
    assert isinstance(closed, PositionClosed)
    assert (closed.position_id, closed.reason) == (position_id, "manual")
    assert world.tick() == []
    assert world.chain.holds(WALLET)


def test_the_sale_of_an_untracked_position_is_a_balance() -> None:
    """What the session stopped tracking is sold without another position_closed."""
    world = World()
    holding, position_id = _opened(world)
    world.session.receive(ClosePosition(position_id=position_id))
    trade = world.chain.sell(holding, reason="manual")
    assert types(world.session.see_trade(trade)) == ["balance_update"]


def test_a_new_strategy_holds_at_once() -> None:
    """A changed strategy decides the very next tick for every position."""
    world = World()
    _opened(world, profits_pct=[5, 5])
    assert types(world.tick()) == ["pnl_update"]
    assert world.session.receive(UpdateStrategy(strategy=_TARGET)) == []
    assert _signal(world.tick()).reason == "target_profit"


def test_an_invalid_new_strategy_changes_nothing() -> None:
    """A refused update leaves the strategy as it was."""
    world = World()
    world.configure()
    update = UpdateStrategy(strategy=StrategyConfig(stop_loss_pct=-1))
    assert _code(world.session.receive(update)) == "invalid_strategy"
    assert world.session.strategy == StrategyConfig(stop_loss_pct=10)


def test_a_position_may_have_a_strategy_of_its_own() -> None:
    """It decides for that position alone, and a later update of the session's not."""
    world = World()
    _, first = _opened(world, profits_pct=[0, 5])
    _opened(world, profits_pct=[0, 5])
    own = UpdatePositionStrategy(position_id=first, strategy=_TARGET)
    assert world.session.receive(own) == []
    world.session.receive(UpdateStrategy(strategy=_STOP))
    world.tick()
    assert _signal(world.tick()).position_id == first


def test_updated_wallets_are_reported_and_removed_ones_closed() -> None:
    """A wallet that is added shows its holdings; one that goes is tracked no more."""
    world = World()
    _, position_id = _opened(world)
    world.chain.buy(OTHER)
    messages = world.session.receive(UpdateWallets(wallet_pubkeys=[OTHER]))
    assert types(messages) == ["position_closed", "balance_update", "position_opened"]
    closed = messages[0]
    assert isinstance(closed, PositionClosed)
    assert (closed.position_id, closed.reason) == (position_id, "manual")


def test_a_wallet_that_stays_is_not_reported_again() -> None:
    """Naming a wallet that is tracked already brings nothing."""
    world = World()
    _opened(world)
    update = UpdateWallets(wallet_pubkeys=[WALLET])
    assert world.session.receive(update) == []


def test_a_mirror_result_needs_no_answer() -> None:
    """The result of a mirror buy is taken without a word."""
    world = World()
    world.configure()
    assert world.session.receive(MirrorBuyResult(mint=WALLET, success=True)) == []


# --- the next connection ------------------------------------------------------


@pytest.mark.parametrize("ids", ["kept", "renewed"])
def test_a_position_comes_back_as_it_was_bought(ids: str) -> None:
    """Another session sees the same entry, tokens, slot and time; the id as chosen."""
    world = World(position_ids=ids)
    world.configure()
    (before,) = (m for m in world.buy() if isinstance(m, PositionOpened))
    world.clock.advance(60_000)
    world.session = SimSession(43, world.chain, world.options)
    (after,) = (m for m in world.configure() if isinstance(m, PositionOpened))
    assert (after.position_id == before.position_id) is (ids == "kept")
    assert attrs.evolve(after, position_id=before.position_id) == before


def test_a_session_forgets_peaks_and_strategies_of_positions() -> None:
    """What another session learned or was told about a position is not inherited."""
    world = World()
    holding, position_id = _opened(world, profits_pct=[20])
    world.configure(trailing_stop_pct=5)
    world.tick()
    own = UpdatePositionStrategy(position_id=position_id, strategy=_TARGET)
    world.session.receive(own)
    world.session = SimSession(43, world.chain, world.options)
    world.configure(trailing_stop_pct=5)
    world.chain.set_profit(holding, 10)
    assert types(world.tick()) == ["pnl_update"]


# --- tiers and errors in place of hello ---------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [
        {"take_profit_levels": [TakeProfitLevel(profit_pct=1, sell_pct=1)]},
        {"stop_loss_pct": 1, "liquidity_guard": True},
        {"breakeven_trail_pct": 1},
    ],
    ids=lambda strategy: str(sorted(strategy)),
)
def test_advanced_exits_need_a_tier(strategy: dict[str, Any]) -> None:
    """Where they are not included, each of the three is an invalid_strategy."""
    free, paid = World(advanced_exits=False), World()
    assert _code(free.configure(**strategy)) == "invalid_strategy"
    assert types(paid.configure(**strategy)) == ["hello_ok"]


def test_an_error_may_stand_in_place_of_hello() -> None:
    """It comes once, whatever the client says; only its pings are answered."""
    error = ServerError(code="maintenance", message="later")
    world = World(hello_error=error)
    assert world.session.greet() == [error]
    assert world.configure() == []
    assert types(world.session.receive(Ping(client_time_ms=1))) == ["pong"]
    other = World(hello_error=error)
    assert other.configure() == [error]
    assert not other.session.is_configured


def test_a_wallet_watched_twice_counts_once() -> None:
    """The limit counts different wallets."""
    world = _limited(max_watch_wallets_per_session=1)
    world.configure()
    watch = [WatchWallet(pubkey=OTHER), WatchWallet(pubkey=OTHER)]
    update = UpdateWatchWallets(watch_wallets=watch)
    assert world.session.receive(update) == []


def test_a_mirror_result_needs_no_mirror() -> None:
    """A result for nothing is no error."""
    world = World()
    world.configure()
    result = MirrorBuyResult(mint=WALLET, success=True)
    assert world.session.receive(result) == []
