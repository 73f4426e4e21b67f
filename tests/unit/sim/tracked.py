"""A position of a ladder, and what becomes of it."""

from __future__ import annotations

from typing import Any

from lasersell.protocol.server import ExitSignalWithTx, PositionOpened, ServerMessage
from lasersell.protocol.strategy import TakeProfitLevel
from lasersell.sim.ledger import Holding
from tests.unit.sim.world import World

__all__ = ["LADDER", "land_last", "open_position", "signals_in"]

LADDER = (
    TakeProfitLevel(profit_pct=10, sell_pct=25),
    TakeProfitLevel(profit_pct=20, sell_pct=100),
)


def open_position(world: World, **buy: Any) -> Holding:
    """Configure for a ladder if need be, buy, and return the holding."""
    if not world.session.is_configured:
        world.configure(take_profit_levels=LADDER, stop_loss_pct=10)
    buy = {"tokens": 1000, "quote_units": 1_000_000, **buy}
    (opened,) = (m for m in world.buy(**buy) if isinstance(m, PositionOpened))
    holding = world.chain.ledger.holding(opened.token_account)
    assert holding is not None
    return holding


def signals_in(messages: list[ServerMessage]) -> list[ExitSignalWithTx]:
    """Return the exit signals among some messages."""
    return [m for m in messages if isinstance(m, ExitSignalWithTx)]


def land_last(world: World, holding: Holding) -> list[ServerMessage]:
    """Land the last exit signalled; return what is said."""
    pending = world.chain.orders.last_exit(holding.token_account)
    assert pending is not None
    left = world.chain.ledger.holding(holding.token_account)
    assert left is not None
    return world.session.see_trade(world.chain.land_exit(left, pending))
