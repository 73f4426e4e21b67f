from __future__ import annotations

import contextlib

import pytest

from lasersell.errors import (
    ConfigurationError,
    HoldFullError,
    RelayError,
    RelayTimeoutError,
)
from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay.commands import CommandSender
from lasersell.relay.keys import Keys
from lasersell.relay.link import RedisLink
from tests.integration.relay.bench import Bench, until, wait_for
from tests.patience import PATIENCE
from tests.unit.session.frames import OTHER_WALLET, WALLET

MINE = StrategyConfig(target_profit_pct=42.0)


def test_every_command_reaches_the_server(bench: Bench) -> None:
    """What a subscriber asks for is what the publisher's stream sends."""
    received = bench.sim.received
    with bench.relay(), bench.session() as session:
        bench.buy()
        handle = wait_for(session, "position_opened").handle
        session.request_exit_signal(handle, slippage_bps=3000)
        asked = received.wait_for(RequestExitSignal, timeout=PATIENCE)
        assert (asked.token_account, asked.slippage_bps) == (handle.token_account, 3000)
        session.update_position_strategy(handle, MINE)
        own = received.wait_for(UpdatePositionStrategy, timeout=PATIENCE)
        assert own.strategy == MINE
        session.update_strategy(MINE, deadline_timeout_sec=30)
        assert received.wait_for(UpdateStrategy, timeout=PATIENCE).strategy == MINE
        session.update_wallets([WALLET, OTHER_WALLET])
        received.wait_for(UpdateWallets, timeout=PATIENCE)
        session.update_watch_wallets([WatchWallet(pubkey=OTHER_WALLET)])
        received.wait_for(UpdateWatchWallets, timeout=PATIENCE)
        session.mirror_buy_result(handle.mint, success=True)
        received.wait_for(MirrorBuyResult, timeout=PATIENCE)
        session.close_position(handle.token_account)
        received.wait_for(ClosePosition, timeout=PATIENCE)


def test_only_what_is_named_of_a_strategy_is_changed(bench: Bench) -> None:
    """The publisher changes the strategy that it has, whoever gave it that."""
    with bench.relay(), bench.session() as one, bench.session() as two:
        one.update_strategy(MINE)
        two.update_strategy_optional(stop_loss_pct=7.0)
        two.update_strategy_optional(trailing_stop_pct=3.0)
        bench.sim.wait_until(lambda: len(bench.sim.received.of(UpdateStrategy)) == 3)
        changed = bench.sim.received.of(UpdateStrategy)[-1].strategy
        assert changed == StrategyConfig(
            target_profit_pct=42.0, stop_loss_pct=7.0, trailing_stop_pct=3.0
        )


def test_an_error_of_the_publisher_is_raised_at_the_subscriber(bench: Bench) -> None:
    """A command that the publisher's session refuses raises what it raised there."""
    with bench.session() as session, bench.relay():
        wait_for(session, "hello_ok")
        wallets = [WALLET] * 11
        with pytest.raises(ConfigurationError, match="wallets"):
            session.update_wallets(wallets)
        with pytest.raises(ConfigurationError, match="no open position"):
            session.close_position(77)
        with pytest.raises(ConfigurationError, match="not a strategy"):
            session.update_strategy_optional(nonsense=1)


def test_an_error_crosses_the_relay_with_its_fields(bench: Bench) -> None:
    """A full hold of the publisher is told with its capacity."""
    with bench.relay(session_options={"hold_capacity": 0}), bench.session() as session:
        bench.buy()
        handle = wait_for(session, "position_opened").handle
        bench.sim.refuse_upgrades(503)
        bench.sim.drop()
        until(session, lambda: session.state == "reconnecting")
        with pytest.raises(HoldFullError) as caught:
            session.request_exit_signal(handle)
        assert caught.value.capacity == 0


def test_a_command_that_nobody_answers_says_so(bench: Bench) -> None:
    """Without a publisher it times out, and a later publisher does not carry it out."""
    with (
        bench.session(command_timeout=0.3) as hasty,
        pytest.raises(RelayTimeoutError, match="is one running"),
    ):
        hasty.update_strategy(MINE)
    with bench.session() as session, bench.relay():
        wait_for(session, "hello_ok")
        session.update_strategy_optional(stop_loss_pct=1.0)
        bench.sim.received.wait_for(UpdateStrategy, timeout=PATIENCE)
    (changed,) = bench.sim.received.of(UpdateStrategy)
    assert changed.strategy.stop_loss_pct == 1.0
    assert changed.strategy.target_profit_pct != 42.0


def test_the_next_publisher_starts_with_what_was_asked_for(bench: Bench) -> None:
    """Strategy and wallets of the session, and those of a position, survive."""
    received = bench.sim.received
    with bench.session() as session:
        with bench.relay():
            bench.buy()
            handle = wait_for(session, "position_opened").handle
            session.update_strategy_optional(target_profit_pct=77.0)
            session.update_wallets([WALLET, OTHER_WALLET])
            session.update_position_strategy(handle, MINE)
        with bench.relay():
            reopened = wait_for(session, "position_opened")
            assert reopened.reopened
            assert reopened.handle is handle
            configure = received.of(Configure)[-1]
            assert configure.strategy.target_profit_pct == 77.0
            assert configure.wallet_pubkeys == (WALLET, OTHER_WALLET)
            until(session, lambda: len(received.of(UpdatePositionStrategy)) == 2)


def test_another_configuration_begins_anew(bench: Bench) -> None:
    """What was asked of publishers that were configured otherwise is forgotten."""
    received = bench.sim.received
    with bench.session() as session:
        with bench.relay():
            wait_for(session, "hello_ok")
            session.update_strategy_optional(target_profit_pct=77.0)
            received.wait_for(Configure, timeout=PATIENCE)
        with bench.relay(strategy=StrategyConfig(target_profit_pct=88.0)):
            configure = received.wait_for(Configure, timeout=PATIENCE)
            assert configure.strategy.target_profit_pct == 88.0


def test_a_command_that_makes_no_sense_ends_nothing(bench: Bench) -> None:
    """It is answered with an error, and those after it are carried out."""
    with bench.session(command_timeout=PATIENCE) as session, bench.relay():
        wait_for(session, "hello_ok")
        sender = CommandSender(RedisLink(bench.redis.url), Keys("default"), PATIENCE)
        with (
            contextlib.closing(sender.link),
            pytest.raises(RelayError, match="mistake"),
        ):
            sender.ask(UpdateStrategy(strategy=MINE), changes=["nonsense"])
        session.update_strategy(MINE)
        assert (
            bench.sim.received.wait_for(UpdateStrategy, timeout=PATIENCE).strategy
            == MINE
        )
