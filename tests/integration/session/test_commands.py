from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from lasersell.errors import (
    ConfigurationError,
    HoldFullError,
    NotConnectedError,
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
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim import SimServer
from lasersell.sim.options import DEFAULT_LIMITS
from tests.integration.session.helpers import (
    OTHER_WALLET,
    STRATEGY,
    WALLET,
    offline,
    open_session,
    told,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import opened

OWN = StrategyConfig(stop_loss_pct=7.0)


# The strategy


def test_a_strategy_is_replaced_as_a_whole(sim: SimServer) -> None:
    """Nothing of the former one stays."""
    with open_session(sim, strategy=StrategyConfig(trailing_stop_pct=3.0)) as session:
        session.update_strategy(OWN)
        assert told(sim, UpdateStrategy) == UpdateStrategy(strategy=OWN)


def test_only_what_is_named_is_changed(sim: SimServer) -> None:
    """On the strategy last given, whatever it had (13.1, P42)."""
    full = StrategyConfig(
        target_profit_pct=50.0,
        stop_loss_pct=10.0,
        trailing_stop_pct=5.0,
        sell_on_graduation=True,
        take_profit_levels=[TakeProfitLevel(profit_pct=20.0, sell_pct=25.0)],
        liquidity_guard=True,
        breakeven_trail_pct=2.0,
    )
    with open_session(sim, strategy=full) as session:
        session.update_strategy_optional(stop_loss_pct=7.0)
        once = attrs.evolve(full, stop_loss_pct=7.0)
        assert told(sim, UpdateStrategy).strategy == once
        session.update_strategy_optional(sell_on_graduation=False)
        twice = attrs.evolve(once, sell_on_graduation=False)
        assert told(sim, UpdateStrategy).strategy == twice


def test_the_deadline_can_be_changed_with_the_strategy(sim: SimServer) -> None:
    """Named like a field of it; None leaves it as it is."""
    sim.buy(WALLET)
    with open_session(sim, deadline=100.0) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        session.update_strategy_optional(deadline_timeout_sec=1000.5)
        remaining = session.deadline_remaining(handle)
        assert remaining is not None
        assert 900 < remaining <= 1000.5
        session.update_strategy_optional(deadline_timeout_sec=None, stop_loss_pct=7.0)
        assert session.deadline_remaining(handle) is not None
        session.update_strategy(STRATEGY, deadline_timeout_sec=0)
        assert session.deadline_remaining(handle) is None


def test_the_senders_strategy_leaves_the_deadline_alone(sim: SimServer) -> None:
    """It is checked and remembered like the session's own (13.1, P43)."""
    sim.buy(WALLET)
    with open_session(sim, deadline=100.0) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        session.sender.update_strategy(OWN)
        remaining = session.deadline_remaining(handle)
        assert remaining is not None
        assert 0 < remaining <= 100.0
        session.update_strategy_optional(trailing_stop_pct=2.0)
        assert [m.strategy for m in (told(sim, UpdateStrategy) for _ in range(2))] == [
            OWN,
            attrs.evolve(OWN, trailing_stop_pct=2.0),
        ]


def test_a_deadline_is_never_on_the_wire(sim: SimServer) -> None:
    """It is a timer of ours; the server never hears of it (C3)."""
    with open_session(sim, deadline=45.0, strategy=StrategyConfig()):
        assert told(sim, Configure).strategy == StrategyConfig()


NOT_A_NUMBER = float("nan")


@pytest.mark.parametrize(
    "command",
    [
        lambda s: s.update_strategy(StrategyConfig(), deadline_timeout_sec=0),
        lambda s: s.update_strategy(StrategyConfig(stop_loss_pct=-1.0)),
        lambda s: s.update_strategy(StrategyConfig(stop_loss_pct=NOT_A_NUMBER)),
        lambda s: s.update_strategy(STRATEGY, deadline_timeout_sec=-1),
        lambda s: s.update_strategy(STRATEGY, deadline_timeout_sec=NOT_A_NUMBER),
        lambda s: s.update_strategy({"target_profit_pct": 5.0}),
        lambda s: s.update_strategy_optional(take_profit_pct=5.0),
        lambda s: s.update_strategy_optional(take_profit_levels=7),
        lambda s: s.update_strategy_optional(trailing_stop_pct=-5),
        lambda s: s.update_strategy_optional(breakeven_trail_pct=NOT_A_NUMBER),
        lambda s: s.update_position_strategy("A", StrategyConfig()),
        lambda s: s.update_wallets([]),
        lambda s: s.update_wallets(["no key"]),
        lambda s: s.update_watch_wallets([WatchWallet(pubkey="no key")]),
        lambda s: s.request_exit_signal("A", slippage_bps=70_000),
        lambda s: s.request_exit_signal("A", slippage_bps=1.5),
        lambda s: s.request_exit_signal(""),
        lambda s: s.request_exit_signal(True),
        lambda s: s.request_exit_signal(None),
    ],
)
def test_what_cannot_be_right_is_refused_and_changes_nothing(
    sim: SimServer, command: Callable[[Any], None]
) -> None:
    """Neither here nor at the server, now or after a reconnect (13.1, P40 to P47)."""
    with open_session(sim, deadline=100.0) as session:
        first = told(sim, Configure)
        with pytest.raises(ConfigurationError):
            command(session)
        sim.drop()
        assert told(sim, Configure) == first
        assert len(sim.received.of(object)) == 2


@pytest.mark.parametrize(
    "strategy",
    [
        StrategyConfig(take_profit_levels=[TakeProfitLevel(profit_pct=5, sell_pct=50)]),
        StrategyConfig(sell_on_graduation=True),
        StrategyConfig(breakeven_trail_pct=2.0),
    ],
    ids=["ladder", "graduation", "breakeven"],
)
def test_one_exit_condition_is_enough(sim: SimServer, strategy: StrategyConfig) -> None:
    """Also one that the official SDK refuses (13.1, P39)."""
    with open_session(sim, strategy=strategy) as session:
        assert told(sim, Configure).strategy == strategy
        session.update_strategy(strategy)
        assert told(sim, UpdateStrategy).strategy == strategy


# Commands for one position


@pytest.mark.parametrize("name", ["handle", "id", "account"])
def test_a_position_may_be_named_in_three_ways(sim: SimServer, name: str) -> None:
    """An exit is asked for by token account, whatever it was named by."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        position: Any = {
            "handle": handle,
            "id": holding.position_id,
            "account": holding.token_account,
        }[name]
        session.request_exit_signal(position, slippage_bps=3000)
        assert told(sim, RequestExitSignal) == RequestExitSignal(
            token_account=holding.token_account, slippage_bps=3000
        )
        event = session.wait_for("exit_signal_with_tx", position, timeout=PATIENCE)
        assert event.handle is handle
        session.update_position_strategy(position, OWN)
        assert told(sim, UpdatePositionStrategy) == UpdatePositionStrategy(
            position_id=holding.position_id, strategy=OWN
        )
        session.close_position(position)
        assert told(sim, ClosePosition) == ClosePosition(
            token_account=holding.token_account
        )
        session.wait_for("position_closed", position, timeout=PATIENCE)


def test_an_exit_of_an_account_unknown_here_is_asked_for(sim: SimServer) -> None:
    """The server may know it."""
    with open_session(sim) as session:
        session.request_exit_signal("Z")
        assert told(sim, RequestExitSignal).token_account == "Z"


def test_an_exit_that_is_not_answered_is_asked_for_three_times(sim: SimServer) -> None:
    """Then the user is told, with the handle (D4.4)."""
    with open_session(sim, deadline_retry_sec=0.05) as session:
        sim.send(opened())
        handle = until(session, "position_opened")[-1].handle
        session.request_exit_signal("A")
        event = session.wait_for("exit_request_unanswered", timeout=PATIENCE)
        assert event.handle is handle
        session.sender.ping().wait(PATIENCE)
        assert len(sim.received.of(RequestExitSignal)) == 3


# Wallets


def test_wallets_are_replaced(sim: SimServer) -> None:
    """One may be given as a text."""
    with open_session(sim) as session:
        session.update_wallets([WALLET, OTHER_WALLET])
        assert told(sim, UpdateWallets).wallet_pubkeys == (WALLET, OTHER_WALLET)
        session.update_wallets(OTHER_WALLET)
        assert told(sim, UpdateWallets).wallet_pubkeys == (OTHER_WALLET,)


def test_limits_are_checked_before_sending(sim: SimServer) -> None:
    """Against the latest ``hello_ok``; nothing is sent that must fail (D4.4)."""
    sim.change_options(
        limits=attrs.evolve(
            DEFAULT_LIMITS, max_wallets_per_session=1, max_watch_wallets_per_session=1
        )
    )
    with open_session(sim) as session:
        assert session.limits is not None
        assert session.limits.max_wallets_per_session == 1
        with pytest.raises(ConfigurationError, match="max_wallets_per_session"):
            session.update_wallets([WALLET, OTHER_WALLET])
        with pytest.raises(ConfigurationError, match="max_watch_wallets_per_session"):
            session.update_watch_wallets(
                [WatchWallet(pubkey=WALLET), WatchWallet(pubkey=OTHER_WALLET)]
            )
        session.update_watch_wallets([WatchWallet(pubkey=OTHER_WALLET)])
        told(sim, UpdateWatchWallets)
        assert sim.received.of(UpdateWallets) == []


def test_an_unknown_limit_limits_nothing(sim: SimServer) -> None:
    """Zero means that the server did not say."""
    sim.change_options(
        limits=attrs.evolve(
            DEFAULT_LIMITS, max_wallets_per_session=0, max_watch_wallets_per_session=0
        )
    )
    with open_session(sim) as session:
        session.update_wallets([WALLET, OTHER_WALLET])
        told(sim, UpdateWallets)
        session.update_watch_wallets([WatchWallet(pubkey=OTHER_WALLET)])
        told(sim, UpdateWatchWallets)


# While offline


def test_lasting_wishes_given_while_offline_are_told_with_the_next_connection(
    sim: SimServer,
) -> None:
    """The strategy and the wallets in ``configure`` itself."""
    with open_session(sim) as session:
        told(sim, Configure)
        with offline(sim):
            session.update_strategy(OWN)
            session.update_wallets([OTHER_WALLET])
            session.update_watch_wallets([WatchWallet(pubkey=WALLET)])
        again = told(sim, Configure)
        assert again.strategy == OWN
        assert again.wallet_pubkeys == (OTHER_WALLET,)
        assert again.watch_wallets == (WatchWallet(pubkey=WALLET),)


def test_wishes_for_a_position_given_while_offline_are_told_when_it_is_named_again(
    sim: SimServer,
) -> None:
    """By its new id."""
    sim.change_options(position_ids="renewed")
    sim.buy(WALLET)
    sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, lambda _: len(session.positions()) == 2)
        first, second = session.positions()
        with offline(sim):
            session.update_position_strategy(first, OWN)
            session.close_position(second)
        override = told(sim, UpdatePositionStrategy)
        untrack = told(sim, ClosePosition)
        session.wait_for("position_closed", timeout=PATIENCE)
        assert override == UpdatePositionStrategy(
            position_id=first.position_id, strategy=OWN
        )
        assert untrack.position_id == second.position_id


def test_an_exit_asked_for_while_offline_is_held(sim: SimServer) -> None:
    """And sent when the position is named again (13.1, P10)."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        with offline(sim):
            session.request_exit_signal(holding.token_account, slippage_bps=500)
        assert told(sim, RequestExitSignal) == RequestExitSignal(
            token_account=holding.token_account, slippage_bps=500
        )
        event = session.wait_for("exit_signal_with_tx", timeout=PATIENCE)
        assert event.handle is handle


def test_a_held_command_expires(sim: SimServer) -> None:
    """It is reported, and not sent any more."""
    sim.buy(WALLET)
    with open_session(sim, hold_max_age=0.05) as session:
        until(session, "position_opened")
        handle = session.positions()[0]
        with offline(sim):
            session.request_exit_signal(handle)
            expired = session.wait_for("command_expired", timeout=PATIENCE)
        assert expired.handle is handle
        session.wait_for("gap", timeout=PATIENCE)
        sim.buy(WALLET)
        session.wait_for("position_opened", timeout=PATIENCE)
        assert sim.received.of(RequestExitSignal) == []


def test_the_hold_is_bounded(sim: SimServer) -> None:
    """A full one refuses, and says how much it takes (13.1, P34)."""
    with open_session(sim, hold_capacity=2) as session, offline(sim):
        session.request_exit_signal("A")
        session.mirror_buy_result("mint", True)
        with pytest.raises(HoldFullError) as caught:
            session.request_exit_signal("B")
        assert caught.value.capacity == 2
        session.request_exit_signal("A", slippage_bps=1)


def test_what_needs_the_server_raises_while_offline(sim: SimServer) -> None:
    """A ping cannot be held: its answer is a time."""
    with (
        open_session(sim) as session,
        offline(sim),
        pytest.raises(NotConnectedError, match="reconnecting"),
    ):
        session.sender.ping()


def test_every_command_raises_after_the_close(sim: SimServer) -> None:
    """None is lost in a queue (13.1, P35, P46)."""
    with open_session(sim) as session:
        pass
    for command in (
        lambda: session.update_strategy(OWN),
        lambda: session.update_strategy_optional(stop_loss_pct=7.0),
        lambda: session.update_wallets([WALLET]),
        lambda: session.update_watch_wallets([]),
        lambda: session.request_exit_signal("A"),
        lambda: session.mirror_buy_result("mint", True),
        lambda: session.sender.close_position(token_account="A"),
        lambda: session.sender.update_position_strategy(1, OWN, token_account="A"),
        session.sender.ping,
    ):
        with pytest.raises(NotConnectedError, match="closed"):
            command()


def test_accepted_commands_go_out_before_the_close(sim: SimServer) -> None:
    """``close()`` loses none of them (13.1, P33)."""
    with open_session(sim) as session:
        for number in range(50):
            session.request_exit_signal(f"A{number}")
    sim.wait_for_connections(0)
    asked = [message.token_account for message in sim.received.of(RequestExitSignal)]
    assert asked == [f"A{number}" for number in range(50)]


# The round trip


def test_a_ping_measures_the_round_trip(sim: SimServer) -> None:
    """In seconds; it is in the statistics too."""
    with open_session(sim) as session:
        seconds = session.sender.ping().wait(PATIENCE)
        assert 0 <= seconds < PATIENCE
        assert session.stats().round_trip == seconds


# Copy trading


@pytest.mark.parametrize("success", [True, False])
def test_the_outcome_of_a_mirror_buy_is_reported(sim: SimServer, success: bool) -> None:
    """By mint, as the wire wants it."""
    with open_session(sim) as session:
        session.mirror_buy_result("mint", success)
        assert told(sim, MirrorBuyResult) == MirrorBuyResult(
            mint="mint", success=success
        )


def test_the_outcome_of_a_mirror_buy_waits_for_the_server(sim: SimServer) -> None:
    """Held while offline; of two for one mint the last counts."""
    with open_session(sim) as session:
        with offline(sim):
            session.mirror_buy_result("mint", False)
            session.mirror_buy_result("mint", True)
            session.mirror_buy_result("other", False)
        until(session, "gap")
        assert [told(sim, MirrorBuyResult) for _ in range(2)] == [
            MirrorBuyResult(mint="mint", success=True),
            MirrorBuyResult(mint="other", success=False),
        ]
