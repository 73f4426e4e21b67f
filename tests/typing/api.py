"""
How a user's code sees our types. Checked by mypy, never run.

A line that must not pass carries the error it must have; mypy reports an ignore
that ignores nothing.
"""

from __future__ import annotations

from typing_extensions import assert_type

import lasersell
from lasersell import (
    MirrorConfig,
    PositionHandle,
    StrategyConfig,
    StreamClient,
    StreamConfigure,
    StreamEvent,
    StreamSender,
    StreamSession,
    TakeProfitLevel,
    WatchWallet,
)
from lasersell.protocol import ExitSignalWithTx, LiquidityBand, PnlUpdate

STRATEGY = StrategyConfig(
    target_profit_pct=5,
    stop_loss_pct=1.5,
    take_profit_levels=(TakeProfitLevel(profit_pct=5, sell_pct=50),),
)
CONFIGURE = StreamConfigure(
    ["wallet"],
    STRATEGY,
    deadline_timeout_sec=45,
    watch_wallets=[WatchWallet(pubkey="other")],
    mirror_config=MirrorConfig(cooldown_sec=30),
)


def receives(client: StreamClient) -> None:
    """What a loop over a session gives."""
    with StreamSession.connect(client, CONFIGURE, timeout=5) as session:
        assert_type(session, StreamSession)
        assert_type(session.recv(timeout=1), StreamEvent | None)
        for event in session:
            assert_type(event, StreamEvent)
            assert_type(event.type, str)
            assert_type(event.handle, PositionHandle | None)
            assert_type(event.exit_attempt, int | None)
            assert_type(event.age_ms, float | None)
            if isinstance(event.message, ExitSignalWithTx):
                assert_type(event.message.unsigned_tx_b64, str)
                assert_type(event.message.profit_units, int | None)
        assert_type(session.wait_for("pnl_update", timeout=1), StreamEvent)


def calls_back(session: StreamSession) -> None:
    """A callback is given the event; the decorator leaves it as it was."""

    @session.on("position_opened")
    def opened(event: StreamEvent) -> None: ...

    opened.__name__.upper()
    session.on("*", opened)
    session.off("*", opened)
    session.run()
    session.start()


def looks_up(session: StreamSession, handle: PositionHandle) -> None:
    """Look-ups say what they may not find."""
    assert_type(session.positions(), list[PositionHandle])
    assert_type(session.position(7), PositionHandle | None)
    assert_type(session.position_by_token_account("a"), PositionHandle | None)
    assert_type(session.positions_for_wallet_mint("w", "m"), list[PositionHandle])
    assert_type(session.pnl(7), PnlUpdate | None)
    assert_type(session.get_slippage_bands(7), tuple[LiquidityBand, ...])
    assert_type(session.get_max_sell_at_slippage(7, 100), int | None)
    assert_type(session.get_liquidity_trend(7), str | None)
    assert_type(handle.pnl_pct, float | None)
    assert_type(handle.tokens, int)
    assert_type(session.error, lasersell.LaserSellError | None)


def commands(session: StreamSession, handle: PositionHandle) -> None:
    """A position is a handle, an id or a token account."""
    session.request_exit_signal(handle)
    session.request_exit_signal(7, slippage_bps=300)
    session.close_position("token account")
    session.update_position_strategy(handle, STRATEGY)
    session.update_strategy(STRATEGY, deadline_timeout_sec=0.5)
    session.update_strategy_optional(target_profit_pct=3)
    session.update_wallets(["wallet"])
    session.update_watch_wallets([WatchWallet(pubkey="other")])
    session.mirror_buy_result("mint", success=True)
    session.close(timeout=1)
    observation = session.observe(lambda event: event.type, low=True)
    assert_type(observation.dropped, int)
    with observation:
        assert_type(observation.is_active, bool)
    session.let_low_gather(0.01)
    assert_type(session.sender, StreamSender)
    assert_type(session.sender.ping().wait(timeout=1), float)


def raw(client: StreamClient) -> None:
    """Without a session there are messages, not events."""
    with client.connect(CONFIGURE) as connection:
        message = connection.recv()
        if isinstance(message, PnlUpdate):
            assert_type(message.profit_units, int)
        connection.sender.close_position(position_id=7)
    with client.connect_lanes(CONFIGURE, low_priority_capacity=8) as lanes:
        sender, high, low = lanes.split()
        assert_type(sender, StreamSender)
        for _ in high:
            low.recv(timeout=0)


def refused(session: StreamSession) -> None:
    """What a type checker must not let pass."""
    StreamConfigure(["wallet"])  # type: ignore[call-arg]
    StrategyConfig(take_profit_pct=5)  # type: ignore[call-arg]
    StrategyConfig(target_profit_pct="5")  # type: ignore[arg-type]
    StreamClient("key", "wss://host")  # type: ignore[call-arg]
    session.observe(len)  # type: ignore[arg-type]
    session.request_exit_signal(1.5)  # type: ignore[arg-type]
    session.recv().type  # type: ignore[union-attr]  # noqa: B018  only its type counts
