from __future__ import annotations

import base64
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from lasersell.protocol.client import (
    Configure,
    MirrorBuyResult,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.server import (
    ExitSignalWithTx,
    MirrorBuyFailed,
    MirrorBuySignal,
    MirrorWalletAutoDisabled,
    PositionOpened,
    ServerMessage,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.ledger import Holding
from lasersell.sim.readings import Readings
from tests.unit.sim.world import KEYPAIR, OTHER, WALLET, World, swap_of, types

_AMOUNT = 50_000_000
_SOL = 1_000_000_000


def _watch(
    *, mirror_sell: bool = False, usd1_units: int | None = None
) -> tuple[WatchWallet, ...]:
    auto_buy = AutoBuy(
        wallet_pubkey=WALLET, amount_quote_units=_AMOUNT, amount_usd1_units=usd1_units
    )
    return (WatchWallet(pubkey=OTHER, auto_buy=auto_buy, mirror_sell=mirror_sell),)


def _copying(
    config: MirrorConfig | None = None,
    watch: tuple[WatchWallet, ...] = _watch(),
    **options: Any,
) -> World:
    """Return a world whose session copies what the other wallet buys."""
    world = World(auto_buy_after_ms=0, **options)
    world.session.greet()
    configure = Configure(
        wallet_pubkeys=[WALLET],
        strategy=StrategyConfig(stop_loss_pct=90),
        send_mode="rpc",
        tip_lamports=1234,
        watch_wallets=watch,
        mirror_config=config,
    )
    assert world.session.receive(configure) == []
    return world


def _buy(world: World, **buy: Any) -> ServerMessage | None:
    """Let the watched wallet buy; return what is said of a copy."""
    opened, *copy = world.buy(OTHER, **buy)
    assert isinstance(opened, PositionOpened)
    assert opened.watched
    assert len(copy) <= 1
    return copy[0] if copy else None


def _signal(world: World, **buy: Any) -> MirrorBuySignal:
    signal = _buy(world, **buy)
    assert isinstance(signal, MirrorBuySignal)
    return signal


def _reason(message: ServerMessage | None) -> str:
    assert isinstance(message, MirrorBuyFailed)
    assert message.watched_wallet == OTHER
    return message.reason


def _result(world: World, mint: str, success: bool = True) -> list[ServerMessage]:
    return world.session.receive(MirrorBuyResult(mint=mint, success=success))


def _copied(world: World, **buy: Any) -> Holding:
    """Let the watched wallet buy, and our copy land."""
    mint = _signal(world, **buy).mint
    assert _result(world, mint) == []
    world.tick()
    (holding,) = (h for h in world.chain.ledger.holdings(WALLET) if h.mint == mint)
    return holding


# --- buys ---------------------------------------------------------------------


def test_a_buy_is_copied_with_a_transaction_the_wallet_can_sign() -> None:
    """The signal spends what auto_buy says, at 25 % slippage, as configured."""
    world = _copying()
    signal = _signal(world)
    assert (signal.session_id, signal.user_wallet) == (42, WALLET)
    assert (signal.amount_quote_units, signal.input) == (_AMOUNT, "SOL")
    assert (signal.send_mode, signal.tip_lamports) == ("rpc", 1234)
    assert signal.market_context is not None
    raw = base64.b64decode(signal.unsigned_tx_b64, validate=True)
    message = VersionedTransaction.from_bytes(raw).message
    assert VersionedTransaction(message, [KEYPAIR]).verify_with_results() == [True]
    expected = world.chain.market(signal.mint).pool.tokens_for(_AMOUNT)
    swap = swap_of(signal.unsigned_tx_b64)
    assert (swap.spent, swap.received) == (_AMOUNT, expected * 75 // 100)
    assert signal.slippage_bps == 2500


def test_a_submitted_copy_becomes_a_position_with_its_source() -> None:
    """After the result the buy lands, and the position says whom it copies."""
    world = _copying()
    mint = _signal(world).mint
    assert _result(world, mint) == []
    balance, opened, *_ = world.tick()
    assert balance.type == "balance_update"
    assert isinstance(opened, PositionOpened)
    assert (opened.wallet_pubkey, opened.mirror_source) == (WALLET, OTHER)
    assert not opened.watched
    assert opened.entry_quote_units == _AMOUNT


def test_a_failed_copy_is_forgotten() -> None:
    """After a failure nothing lands, and the token may be copied again."""
    world = _copying()
    mint = _signal(world).mint
    assert _result(world, mint, success=False) == []
    assert "position_opened" not in types(world.tick())
    world.session.see_trade(
        world.chain.sell(world.chain.ledger.holdings(OTHER)[0], reason="manual")
    )
    assert isinstance(_buy(world, mint=mint), MirrorBuySignal)


def test_a_result_nobody_waits_for_changes_nothing() -> None:
    """A mint that was not signalled is passed over."""
    world = _copying()
    assert _result(world, OTHER) == []
    assert world.chain.orders.buys() == []


def test_a_copy_of_what_is_under_way_is_passed_over() -> None:
    """While a result is owed for a token, a second watched wallet's buy is silent."""
    third = str(Keypair.from_seed(bytes([3]) * 32).pubkey())
    second = WatchWallet(pubkey=third, auto_buy=_watch()[0].auto_buy)
    world = _copying(watch=(*_watch(), second))
    mint = _signal(world).mint
    (opened,) = world.buy(third, mint=mint)
    assert opened.type == "position_opened"


def test_a_wallet_that_is_only_watched_is_not_copied() -> None:
    """Without auto_buy the position is shown, and nothing bought."""
    world = _copying(watch=(WatchWallet(pubkey=OTHER),))
    assert _buy(world) is None


def test_usd1_markets_are_copied_for_their_own_amount() -> None:
    """The amount in USD1 is spent there; without one such markets are passed over."""
    for usd1_units in (None, 7_000_000):
        world = _copying(watch=_watch(usd1_units=usd1_units))
        mint = world.chain.markets.add(market_type="raydium_cpmm", quote="USD1").mint
        signal = _buy(world, mint=mint)
        if usd1_units is None:
            assert signal is None
        else:
            assert isinstance(signal, MirrorBuySignal)
            assert (signal.input, signal.amount_quote_units) == ("USD1", 7_000_000)


# --- guards -------------------------------------------------------------------


def test_a_market_without_a_route_is_no_copy() -> None:
    """The reason is no_route."""
    world = _copying()
    mint = world.chain.markets.add(is_routable=False).mint
    assert _reason(_buy(world, mint=mint)) == "no_route"


def test_a_thin_pool_is_no_copy() -> None:
    """Below the floor the reason is below_min_liquidity; at it, the buy is copied."""
    world = _copying(MirrorConfig(min_liquidity_sol=10.0))
    thin = world.chain.markets.add(liquidity=9 * _SOL).mint
    thick = world.chain.markets.add(liquidity=10 * _SOL).mint
    assert _reason(_buy(world, mint=thin)) == "below_min_liquidity"
    assert isinstance(_buy(world, mint=thick), MirrorBuySignal)


def test_a_price_that_ran_away_is_no_copy() -> None:
    """A buy that moved the price beyond the drift allowed is not copied, a small one is."""
    world = _copying(MirrorConfig(max_entry_drift_pct=2.0))
    dear = _buy(world, quote_units=10 * _SOL)
    assert _reason(dear) == "max_entry_drift_exceeded"
    assert isinstance(_buy(world, quote_units=_SOL // 10), MirrorBuySignal)


def test_the_cooldown_is_kept() -> None:
    """The next copy of a wallet waits for the cooldown, to the millisecond."""
    world = _copying(MirrorConfig(cooldown_sec=30))
    _signal(world)
    world.clock.advance(29_999)
    assert _reason(_buy(world)) == "cooldown_active"
    world.clock.advance(1)
    _signal(world)


def test_a_wallet_has_so_many_copies() -> None:
    """Copies open and under way count; one that was sold makes room."""
    world = _copying(MirrorConfig(max_positions_per_wallet=2))
    held = _copied(world)
    _signal(world)
    assert _reason(_buy(world)) == "max_positions_reached"
    world.session.see_trade(world.chain.sell(held, reason="manual"))
    _signal(world)


def test_all_copies_together_cost_so_much() -> None:
    """The exposure in SOL is capped, the copy asked for included."""
    world = _copying(MirrorConfig(max_active_sol=2 * _AMOUNT / _SOL))
    _copied(world)
    _signal(world)
    assert _reason(_buy(world)) == "max_active_sol_reached"


def test_a_token_that_is_held_is_not_bought_again() -> None:
    """A copy of what the wallet holds already is refused by name."""
    world = _copying()
    mint = world.chain.buy(WALLET).holding.mint
    assert _reason(_buy(world, mint=mint)) == "already_held"


def test_a_wallet_that_cannot_pay_copies_nothing() -> None:
    """A funded wallet with less than the amount is insufficient_balance."""
    world = _copying()
    world.chain.ledger.fund(WALLET, _AMOUNT - 1)
    assert _reason(_buy(world)) == "insufficient_balance"
    world.chain.ledger.fund(WALLET, 1)
    _signal(world)


def test_a_creators_own_token_may_be_passed_over() -> None:
    """With the switch set the creator's buys of its token are silent, others' are not."""
    world = _copying(MirrorConfig(skip_creator_tokens=True))
    mint = world.chain.markets.add(creator=OTHER).mint
    assert _buy(world, mint=mint) is None
    _signal(world)


def test_a_configured_slippage_is_used() -> None:
    """A slippage other than 0 replaces the default of the documents."""
    assert _signal(_copying(MirrorConfig(buy_slippage_bps=300))).slippage_bps == 300


def test_limits_may_hold_for_a_session_that_sent_none() -> None:
    """The options say what an absent mirror_config means."""
    world = _copying(mirror_defaults=MirrorConfig(cooldown_sec=30))
    _signal(world)
    assert _reason(_buy(world)) == "cooldown_active"


# --- losses -------------------------------------------------------------------


def _lose(world: World, profit_pct: float = -10) -> list[ServerMessage]:
    """Copy a buy and sell it at a loss; return what is said then."""
    held = _copied(world)
    world.chain.set_profit(held, profit_pct)
    return world.session.see_trade(world.chain.sell(held, reason="manual"))


def test_losses_in_a_row_disable_a_wallet() -> None:
    """The last of them says so, and from then on the wallet is not copied."""
    world = _copying(MirrorConfig(max_consecutive_losses=2))
    assert "mirror_wallet_auto_disabled" not in types(_lose(world))
    *_, disabled = _lose(world)
    assert disabled == MirrorWalletAutoDisabled(
        watched_wallet=OTHER, reason="consecutive_loss_limit_reached", loss_count=2
    )
    assert _buy(world) is None


def test_a_gain_starts_the_count_again() -> None:
    """Only losses in a row count."""
    world = _copying(MirrorConfig(max_consecutive_losses=2))
    for profit_pct in (-10, 10, -10):
        said = _lose(world, profit_pct)
        assert "mirror_wallet_auto_disabled" not in types(said)


def test_sending_the_list_again_enables_a_wallet() -> None:
    """The only way back on the wire is update_watch_wallets."""
    world = _copying(MirrorConfig(max_consecutive_losses=1))
    _lose(world)
    assert _buy(world) is None
    update = UpdateWatchWallets(watch_wallets=_watch())
    assert world.session.receive(update) == []
    _signal(world)


def test_failed_buys_may_count_instead() -> None:
    """In the other reading losing trades do nothing, and failed buys in a row disable."""
    readings = Readings(mirror_losses="failed_buys")
    world = _copying(MirrorConfig(max_consecutive_losses=2), readings=readings)
    _lose(world)
    _lose(world)
    said = [_result(world, _signal(world).mint, success=False) for _ in range(2)]
    assert [types(messages) for messages in said] == [
        [],
        ["mirror_wallet_auto_disabled"],
    ]


# --- sales --------------------------------------------------------------------


@pytest.mark.parametrize("mirror_sell", [True, False])
def test_a_sale_is_mirrored_if_asked_for(mirror_sell: bool) -> None:
    """When the watched wallet sells, even a part, our whole copy is to be sold."""
    world = _copying(watch=_watch(mirror_sell=mirror_sell))
    held = _copied(world)
    (theirs,) = world.chain.ledger.holdings(OTHER)
    said = world.session.see_trade(
        world.chain.sell(theirs, tokens=theirs.tokens // 2, reason="manual")
    )
    signals = [m for m in said if isinstance(m, ExitSignalWithTx)]
    assert [s.token_account for s in signals] == (
        [held.token_account] if mirror_sell else []
    )
    if mirror_sell:
        assert (signals[0].reason, signals[0].mirror_source) == ("mirror_sell", OTHER)
        assert signals[0].sell_tokens is None


def test_a_mirrored_sale_may_be_unused() -> None:
    """In the other reading the switch does nothing."""
    readings = Readings(mirror_sell="unused")
    world = _copying(watch=_watch(mirror_sell=True), readings=readings)
    _copied(world)
    (theirs,) = world.chain.ledger.holdings(OTHER)
    said = world.session.see_trade(world.chain.sell(theirs, reason="manual"))
    assert types(said) == ["position_closed"]


def test_a_copy_that_is_being_sold_is_not_asked_for_again() -> None:
    """A sale of the watched wallet adds no signal to an exit under way."""
    world = _copying(watch=_watch(mirror_sell=True))
    held = _copied(world)
    world.chain.set_profit(held, -95)
    assert "exit_signal_with_tx" in types(world.tick())
    (theirs,) = world.chain.ledger.holdings(OTHER)
    said = world.session.see_trade(world.chain.sell(theirs, reason="manual"))
    assert types(said) == ["position_closed"]
