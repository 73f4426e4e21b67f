from __future__ import annotations

from lasersell.protocol.server import ExitSignalWithTx, PositionOpened
from lasersell.sim.describe import describe
from tests.unit.sim.world import WALLET, World


def test_a_position_is_described_by_id_and_size() -> None:
    """What was opened shows its id, size and cost."""
    world = World()
    world.configure()
    (opened,) = (m for m in world.buy() if isinstance(m, PositionOpened))
    text = describe(opened)
    assert text.startswith(f"position_opened: position 1, {opened.tokens} SIM1 for")


def test_every_message_has_one_line_and_no_transaction() -> None:
    """A whole life is described line by line; the transaction is not shown."""
    world = World(auto_sell_after_ms=0)
    messages = [*world.session.greet(), *world.configure(WALLET, stop_loss_pct=1)]
    messages += world.buy(profits_pct=[-2])
    messages += world.tick() + world.tick()
    signals = [m for m in messages if isinstance(m, ExitSignalWithTx)]
    lines = [describe(message) for message in messages]
    assert all("\n" not in line and line for line in lines)
    assert signals[0].unsigned_tx_b64 not in "".join(lines)
    assert "exit_signal_with_tx: position 1, stop_loss, profit -2000000" in lines
    assert "position_closed: position 1, stop_loss" in lines
