from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from lasersell.exits.api import ExitApiClient
from lasersell.exits.journal_report import JournalReader
from lasersell.protocol.server import ExitSignalWithTx, PositionOpened
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.sim import Call
from tests.integration.autoexit.bench import FAST, Bench

pytestmark = pytest.mark.slow

LADDER = StrategyConfig(
    take_profit_levels=[
        TakeProfitLevel(profit_pct=10, sell_pct=25),
        TakeProfitLevel(profit_pct=20, sell_pct=50),
        TakeProfitLevel(profit_pct=30, sell_pct=100),
    ]
)
TOKENS = 1_000_000


def amounts(bench: Bench) -> list[int]:
    """Return what the sales that landed sold."""
    return [trade.tokens for trade in bench.sales()]


def test_each_level_is_sold_once(bench: Bench, tmp_path: Path) -> None:
    """A quarter, half of the rest, and the rest; the journal says which was which."""
    holding = bench.buy(tokens=TOKENS)
    journal = tmp_path / "journal.db"
    with (
        bench.session(LADDER) as session,
        bench.auto_exit(session, journal=journal),
    ):
        for number, profit_pct in enumerate([12, 22, 32], start=1):
            bench.sim.set_profit(holding, profit_pct)
            bench.steps.wait_for("ended", number, outcome="sold")
    assert amounts(bench) == [250_000, 375_000, 375_000]
    assert bench.sim.holdings() == ()
    with JournalReader(journal) as reader:
        assert [(sale.level, sale.outcome) for sale in reader.sales()] == [
            (0, "sold"),
            (1, "sold"),
            (2, "sold"),
        ]


@pytest.mark.parametrize("position_ids", ["kept", "renewed"])
@pytest.mark.parametrize("exit_state", ["kept", "forgotten"])
def test_each_level_is_sold_once_over_reconnects(
    bench: Bench, position_ids: str, exit_state: str
) -> None:
    """With a reconnect after each level, three levels are three sales of what was asked for."""
    bench.sim.change_options(position_ids=position_ids, exit_state=exit_state)
    holding = bench.buy(tokens=TOKENS)
    with bench.session(LADDER) as session, bench.auto_exit(session):
        for number, profit_pct in enumerate([12, 22, 32], start=1):
            bench.sim.set_profit(holding, profit_pct)
            bench.steps.wait_for("ended", number, outcome="sold")
            if number < 3:
                bench.sim.drop()
                wait_for_opening(bench, number + 1)
    sales = bench.sim.ledger.sales()
    assert [sale.level_index for sale in sales] == [0, 1, 2]
    asked_for = {
        (s.level_index, s.sell_tokens or s.position_tokens)
        for s in bench.sim.sent.of(ExitSignalWithTx)
    }
    assert {(sale.level_index, sale.tokens) for sale in sales} <= asked_for
    if exit_state == "kept":
        assert amounts(bench) == [250_000, 375_000, 375_000]
        assert bench.sim.holdings() == ()


def wait_for_opening(bench: Bench, count: int) -> None:
    """Wait until the server has named the position on that many connections."""
    bench.sim.wait_until(lambda: len(bench.sim.sent.of(PositionOpened)) >= count)


def test_each_level_is_sold_once_over_restarts(bench: Bench, tmp_path: Path) -> None:
    """The journal knows the levels that an earlier run sold."""
    holding = bench.buy(tokens=TOKENS)
    journal = tmp_path / "journal.db"
    with bench.session(LADDER) as session, bench.auto_exit(session, journal=journal):
        bench.sim.set_profit(holding, 12)
        bench.steps.wait_for("ended", 1, outcome="sold")
    with bench.session(LADDER) as session, bench.auto_exit(session, journal=journal):
        bench.steps.wait_for("ignored", level=0)
        bench.sim.set_profit(holding, 22)
        bench.steps.wait_for("ended", 2, outcome="sold")
    assert [item.level_index for item in bench.submitted] == [0, 1]


def test_a_second_level_waits_for_the_first(bench: Bench) -> None:
    """Two levels at once are submitted one after the other has landed."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("delay")
    settings = attrs.evolve(FAST, resend_interval=60.0)
    with bench.session(LADDER) as session, bench.auto_exit(session, settings):
        bench.sim.set_profit(holding, 22)
        bench.steps.wait_for("signal", level=1)
        bench.steps.wait_for("submitted", level=0)
        assert [item.level_index for item in bench.submitted] == [0]
        bench.sim.faults.land_delayed()
        bench.steps.wait_for("ended", level=1, outcome="sold")
    assert amounts(bench) == [250_000, 375_000]


def test_a_full_exit_supersedes_levels_that_wait(bench: Bench) -> None:
    """With a level under way, the rest is sold by the full exit, and no other level."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("delay")
    settings = attrs.evolve(FAST, resend_interval=60.0)
    with bench.session(LADDER) as session, bench.auto_exit(session, settings):
        bench.sim.send(bench.offer(holding, 250_000, level=0))
        bench.steps.wait_for("submitted", level=0)
        bench.sim.send(bench.offer(holding, 375_000, level=1))
        bench.steps.wait_for("signal", level=1)
        bench.sim.send(bench.offer(holding, TOKENS))
        bench.steps.wait_for("ended", level=1, outcome="superseded")
        bench.sim.faults.land_delayed()
        bench.steps.wait_for("ended", level=None, outcome="sold")
    assert amounts(bench) == [250_000, 750_000]


def test_a_level_that_failed_is_not_sold_as_the_whole(bench: Bench) -> None:
    """Without the REST API nobody can build a part anew, so the server's next one is awaited."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("slippage_exceeded")
    with bench.session(LADDER) as session, bench.auto_exit(session):
        bench.sim.send(bench.offer(holding, 250_000, level=0))
        bench.steps.wait_for("failed")
        bench.sim.send(bench.offer(holding, 250_000, level=0))
        bench.steps.wait_for("ended", level=0, outcome="sold")
    assert amounts(bench) == [250_000]


def test_a_level_that_failed_is_built_anew_by_the_api(bench: Bench) -> None:
    """The REST API sells the same amount again, with more slippage, and not everything."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("slippage_exceeded")
    with (
        ExitApiClient("key", base_url=bench.sim.api_url) as api,
        bench.session(LADDER) as session,
        bench.auto_exit(session, api=api),
    ):
        bench.sim.set_profit(holding, 12)
        bench.steps.wait_for("ended", level=0, outcome="sold")
    assert amounts(bench) == [250_000]
    (order,) = bench.orders
    assert (order["amount_tokens"], order["slippage_bps"]) == (250_000, 2500)


def test_the_api_sells_while_the_stream_is_away(bench: Bench) -> None:
    """A sale that failed goes on without the stream."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("slippage_exceeded")
    with (
        ExitApiClient("key", base_url=bench.sim.api_url) as api,
        bench.session() as session,
        bench.auto_exit(session, api=api),
    ):
        bench.sim.watch_calls(_once("sendTransaction", lambda: _go_away(bench)))
        bench.sim.set_profit(holding, 12)
        bench.steps.wait_for("ended", outcome="sold")
    assert amounts(bench) == [TOKENS]
    assert len(bench.orders) == 1


def _go_away(bench: Bench) -> None:
    bench.sim.refuse_upgrades(503)
    bench.sim.drop()


def _once(method: str, action: Callable[[], None]) -> Callable[[Call], None]:
    actions = [action]

    def see(call: Call) -> None:
        if call.name == method and actions:
            actions.pop()()

    return see
