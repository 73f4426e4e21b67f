from __future__ import annotations

import gc
import threading
from pathlib import Path

import attrs
import pytest
from solders.keypair import Keypair

from lasersell.errors import ConfigurationError
from lasersell.exits.auto_events import AutoExitEvent
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.guard.policy import Policy
from lasersell.exits.journal import Journal
from lasersell.exits.journal_report import JournalReader
from lasersell.exits.keys import WalletKey
from lasersell.exits.signer import Signer
from lasersell.exits.targets import SendTarget
from lasersell.protocol.server import PositionOpened
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import SubmissionFault
from tests.integration.autoexit.bench import FAST, Bench

pytestmark = pytest.mark.slow


def test_a_signal_becomes_a_landed_sale(bench: Bench) -> None:
    """The whole position is sold once, and each step is reported in order."""
    holding = bench.buy(profits_pct=[0, 10])
    with bench.session() as session, bench.auto_exit(session):
        bench.steps.wait_for("ended", outcome="sold")
    assert [trade.tokens for trade in bench.sales()] == [holding.tokens]
    assert bench.steps.types() == ["signal", "submitted", "landed", "ended"]
    landed = bench.steps.of("landed")[0]
    assert landed.token_account == holding.token_account
    assert landed.signature == bench.submitted[0].signature


def test_a_loop_of_ones_own_works_too(bench: Bench) -> None:
    """Who receives the events himself hands them on."""
    bench.buy(profits_pct=[0, 10])
    with (
        bench.session() as session,
        AutoExit(
            session,
            bench.key,
            SendTarget.rpc(bench.sim.rpc_url),
            settings=FAST,
        ) as auto,
    ):
        for event in session:
            auto.handle(event)
            if event.type == "position_closed":
                break
    assert len(bench.sales()) == 1


@pytest.mark.parametrize(
    ("faults", "attempts"),
    [
        (["lose_answer"], ["landed"]),
        (["lose_request"], ["landed"]),
        (["lose_request", "lose_request", "lose_answer"], ["landed"]),
        (["duplicate"], ["landed"]),
        # As long as the time-out of a submission.
        pytest.param(["hang"], ["landed"], marks=pytest.mark.slow),
        (["delay", "duplicate"], ["landed"]),
        (["rate_limited", "none"], ["landed"]),
        (["slippage_exceeded"], ["failed", "landed"]),
        (["slippage_exceeded"] * 3, ["failed"] * 3 + ["landed"]),
        (["preflight_slippage"] * 3, ["rejected"] * 3 + ["landed"]),
        (["blockhash_not_found"], ["rejected", "landed"]),
    ],
    ids="+".join,
)
def test_a_network_that_fails_sells_once(
    bench: Bench, tmp_path: Path, faults: list[SubmissionFault], attempts: list[str]
) -> None:
    """Lost answers, refusals and failures end in one sale, and the journal says how."""
    holding = bench.buy()
    bench.sim.faults.submissions(*faults)
    path = tmp_path / "journal.db"
    with bench.session() as session, bench.auto_exit(session, journal=path):
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("ended", outcome="sold")
    assert [trade.tokens for trade in bench.sales()] == [holding.tokens]
    assert bench.sim.holdings() == ()
    with JournalReader(path) as reader:
        (sale,) = reader.sales()
    assert [attempt.outcome for attempt in sale.attempts] == attempts
    assert sale.attempts[-1].signature == bench.sales()[0].signature


def test_three_failures_ask_for_more_slippage_each_time(
    bench: Bench, tmp_path: Path
) -> None:
    """The journal says what was asked for, what failed and what landed."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("slippage_exceeded", times=3)
    journal = tmp_path / "journal.db"
    with bench.session() as session, bench.auto_exit(session, journal=journal):
        bench.steps.wait_for("ended", outcome="sold")
    assert [event.slippage_bps for event in bench.steps.of("asked")] == [
        2500,
        2600,
        2700,
    ]
    with JournalReader(journal) as reader:
        (sale,) = reader.sales()
    outcomes = [attempt.outcome for attempt in sale.attempts]
    assert outcomes == ["failed", "failed", "failed", "landed"]
    assert "6001" in (sale.attempts[0].detail or "")
    assert sale.outcome == "sold"


def test_retries_have_an_end(bench: Bench) -> None:
    """What fails each time is given up, and the position stays."""
    holding = bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("slippage_exceeded", times=9)
    settings = attrs.evolve(FAST, max_attempts=3)
    with bench.session() as session, bench.auto_exit(session, settings):
        ended = bench.steps.wait_for("ended")
    assert ended.outcome == "gave_up"
    assert ended.is_warning
    assert len(bench.submitted) == 3
    assert bench.sim.holdings() == (holding,)


def test_what_is_not_seen_is_sent_again_unchanged(bench: Bench) -> None:
    """A transaction that a node dropped is submitted until it lands, the same each time."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("delay", "delay")
    with bench.session() as session, bench.auto_exit(session):
        bench.steps.wait_for("ended", outcome="sold")
    assert len({item.signature for item in bench.submitted}) == 1
    assert bench.steps.of("resent")
    assert len(bench.sales()) == 1


def test_what_expired_is_replaced(bench: Bench, tmp_path: Path) -> None:
    """Only when the block hash is too old does another transaction take its place."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("delay")
    settings = attrs.evolve(FAST, resend_interval=60.0)
    path = tmp_path / "journal.db"
    with bench.session() as session, bench.auto_exit(session, settings, path):
        bench.sim.wait_until(lambda: bench.calls("isBlockhashValid"))
        assert len(bench.submitted) == 1
        bench.sim.faults.expire_blockhashes()
        bench.steps.wait_for("ended", outcome="sold")
    assert bench.steps.of("expired")
    assert len({item.signature for item in bench.submitted}) == 2
    assert len(bench.sales()) == 1
    with JournalReader(path) as reader:
        (sale,) = reader.sales()
    assert [attempt.outcome for attempt in sale.attempts] == ["expired", "landed"]


def test_a_late_landing_is_not_followed_by_another_sale(bench: Bench) -> None:
    """A newer signal waits while the first transaction may land, and then is not needed."""
    holding = bench.buy()
    bench.sim.faults.submissions("delay")
    settings = attrs.evolve(FAST, resend_interval=60.0)
    with bench.session() as session, bench.auto_exit(session, settings):
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("submitted")
        session.request_exit_signal(holding.token_account)
        bench.steps.wait_for("signal", 2)
        bench.sim.faults.land_delayed()
        bench.steps.wait_for("ended", outcome="sold")
    assert len(bench.submitted) == 1
    assert len(bench.sales()) == 1


def test_a_signal_after_the_sale_is_ignored(bench: Bench) -> None:
    """A signal that comes once more for what was sold sells nothing."""
    holding = bench.buy(profits_pct=[0, 10])
    with bench.session() as session, bench.auto_exit(session):
        bench.steps.wait_for("ended", outcome="sold")
        bench.sim.send(bench.offer(holding, holding.tokens))
        bench.steps.wait_for("ignored")
    assert len(bench.submitted) == 1


def test_a_stale_signal_is_asked_for_anew(bench: Bench) -> None:
    """A signal that was triggered too long ago is not submitted, a fresh one is."""
    holding = bench.buy()
    old = attrs.evolve(bench.offer(holding, holding.tokens), triggered_at_ms=1)
    with bench.session() as session, bench.auto_exit(session):
        session.sender.ping().wait(5)
        bench.sim.send(old)
        bench.steps.wait_for("ended", outcome="sold")
    assert bench.steps.types()[:3] == ["signal", "asked", "signal"]
    assert len(bench.submitted) == 1


def test_a_closed_position_is_not_sold(bench: Bench) -> None:
    """A position that the user sold himself is left alone."""
    holding = bench.buy()
    with bench.session() as session, bench.auto_exit(session) as auto:
        auto.pause()
        bench.steps.wait_for("paused")
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("signal")
        bench.sim.sell(holding)
        ended = bench.steps.wait_for("ended")
        auto.resume()
        bench.steps.wait_for("resumed")
    assert ended.outcome == "closed"
    assert bench.submitted == []


def test_a_bought_again_position_is_another_one(bench: Bench) -> None:
    """The same token bought and triggered again is sold again."""
    first = bench.buy(profits_pct=[0, 10])
    with bench.session() as session, bench.auto_exit(session):
        bench.steps.wait_for("ended", outcome="sold")
        second = bench.buy(mint=first.mint, profits_pct=[0, 10])
        bench.steps.wait_for("ended", 2, outcome="sold")
    assert [trade.tokens for trade in bench.sales()] == [first.tokens, second.tokens]


def test_many_positions_are_sold_at_once(bench: Bench) -> None:
    """No exit waits for another position's."""
    holdings = [bench.buy() for _ in range(8)]
    with bench.session() as session, bench.auto_exit(session):
        for holding in holdings:
            bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("ended", 8, outcome="sold")
    sold = sorted(trade.holding.position_id for trade in bench.sales())
    assert sold == [holding.position_id for holding in holdings]


def test_the_guard_has_the_last_word(bench: Bench) -> None:
    """What the policy refuses is never submitted, and given up after a few."""
    bench.buy(profits_pct=[0, 10])
    policy = Policy.default().with_limits(max_priority_fee_lamports=1)
    signer = Signer([bench.key], policy=policy)
    settings = attrs.evolve(FAST, max_attempts=2)
    with (
        bench.session() as session,
        AutoExit(
            session,
            signer,
            SendTarget.rpc(bench.sim.rpc_url),
            settings=settings,
            on_event=bench.steps.add,
        ) as auto,
    ):
        auto.start()
        bench.steps.wait_for("ended", outcome="gave_up")
    assert len(bench.steps.of("refused")) == 2
    assert bench.submitted == []


def test_a_wallet_without_a_key_is_ignored(bench: Bench) -> None:
    """A signal for a wallet whose key we lack is reported and left alone."""
    holding = bench.buy()
    stranger = WalletKey(Keypair())
    with (
        bench.session() as session,
        AutoExit(
            session,
            stranger,
            SendTarget.rpc(bench.sim.rpc_url),
            on_event=bench.steps.add,
        ) as auto,
    ):
        auto.start()
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("ignored")
    assert bench.submitted == []


def test_a_dry_run_submits_nothing(bench: Bench) -> None:
    """Everything is done but the submission."""
    holding = bench.buy(profits_pct=[0, 10])
    settings = attrs.evolve(FAST, dry_run=True)
    with bench.session() as session, bench.auto_exit(session, settings):
        ended = bench.steps.wait_for("ended")
    assert ended.outcome == "dry_run"
    assert bench.submitted == []
    assert bench.sim.holdings() == (holding,)


def test_the_kill_switch_holds_everything_back(bench: Bench) -> None:
    """While it is on nothing is submitted; off again, the exit goes on."""
    holding = bench.buy()
    with bench.session() as session, bench.auto_exit(session) as auto:
        auto.pause()
        bench.steps.wait_for("paused")
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("signal")
        assert auto.is_paused
        assert bench.submitted == []
        auto.resume()
        bench.steps.wait_for("ended", outcome="sold")


def test_a_file_is_a_kill_switch(bench: Bench, tmp_path: Path) -> None:
    """While the file is there nothing is submitted; without it the exit goes on."""
    holding = bench.buy()
    kill_file = tmp_path / "stop"
    kill_file.touch()
    with (
        bench.session() as session,
        bench.auto_exit(session, kill_file=kill_file),
    ):
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("signal")
        bench.steps.wait_for("paused")
        assert bench.submitted == []
        kill_file.unlink()
        bench.steps.wait_for("ended", outcome="sold")


def test_positions_of_before_are_adopted(bench: Bench) -> None:
    """An auto-exit that comes late knows what was opened before it."""
    holding = bench.buy()
    with bench.session() as session:
        session.wait_for("position_opened", timeout=5)
        with bench.auto_exit(session):
            bench.sim.set_profit(holding, 10)
            bench.steps.wait_for("ended", outcome="sold")
    assert len(bench.sales()) == 1


def test_closing_finishes_what_is_under_way(bench: Bench) -> None:
    """close() waits until the transaction that was submitted has landed."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("delay")
    settings = attrs.evolve(FAST, resend_interval=60.0)
    with bench.session() as session, bench.auto_exit(session, settings) as auto:
        bench.steps.wait_for("submitted")
        closer = threading.Timer(0.3, bench.sim.faults.land_delayed)
        closer.start()
        assert auto.close(timeout=10)
        closer.join()
    bench.steps.wait_for("ended", outcome="sold")


def test_closing_has_a_bound(bench: Bench, tmp_path: Path) -> None:
    """What does not land in time is left to the next run, which finds out."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("delay")
    settings = attrs.evolve(FAST, resend_interval=60.0)
    journal = tmp_path / "journal.db"
    with (
        bench.session() as session,
        bench.auto_exit(session, settings, journal) as auto,
    ):
        bench.steps.wait_for("submitted")
        assert not auto.close(timeout=0.3)
    bench.sim.faults.land_delayed()
    with bench.session() as session, bench.auto_exit(session, settings, journal):
        bench.steps.wait_for("landed")
    assert len(bench.submitted) == 1
    with JournalReader(journal) as reader:
        assert [sale.outcome for sale in reader.sales()] == ["sold"]


def test_a_restart_asks_for_what_failed(bench: Bench, tmp_path: Path) -> None:
    """An exit that was given up is tried again by the next run."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("slippage_exceeded")
    journal = tmp_path / "journal.db"
    settings = attrs.evolve(FAST, max_attempts=1)
    with bench.session() as session, bench.auto_exit(session, settings, journal):
        bench.steps.wait_for("ended", outcome="gave_up")
    # This strategy would never trigger by itself.
    with (
        bench.session(StrategyConfig(target_profit_pct=1000.0)) as session,
        bench.auto_exit(session, FAST, journal),
    ):
        bench.steps.wait_for("ended", outcome="sold")
    assert len(bench.sales()) == 1


def test_a_restart_repeats_no_sale(bench: Bench, tmp_path: Path) -> None:
    """What the journal knows as sold is not sold again, even if the server says so."""
    holding = bench.buy(profits_pct=[0, 10])
    journal = tmp_path / "journal.db"
    with bench.session() as session, bench.auto_exit(session, FAST, journal):
        bench.steps.wait_for("ended", outcome="sold")
    with bench.session() as session, bench.auto_exit(session, FAST, journal):
        # A server that lags behind names the position once more.
        late = bench.sim.sent.of(PositionOpened)[0]
        bench.sim.send(late, bench.offer(holding, holding.tokens))
        bench.steps.wait_for("ignored")
    assert len(bench.submitted) == 1


def test_one_auto_exit_writes_a_journal(bench: Bench, tmp_path: Path) -> None:
    """A second auto-exit on the same journal is refused."""
    journal = tmp_path / "journal.db"
    with (
        bench.session() as session,
        bench.auto_exit(session, FAST, journal),
        pytest.raises(ConfigurationError, match="another process"),
    ):
        AutoExit(session, bench.key, journal=journal)


def test_a_journal_can_be_handed_in(bench: Bench, tmp_path: Path) -> None:
    """Who opens the journal closes it."""
    bench.buy(profits_pct=[0, 10])
    with Journal(tmp_path / "journal.db") as journal:
        with bench.session() as session, bench.auto_exit(session, FAST, journal):  # type: ignore[arg-type]
            bench.steps.wait_for("ended", outcome="sold")
        assert journal.profit_since(0, "SOL") > 0


def test_a_callback_that_fails_stops_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """What a callback raises is logged, and the position is sold."""

    def fail(event: AutoExitEvent) -> None:
        raise ValueError("a mistake of the user's")

    holding = bench.buy()
    with (
        bench.session() as session,
        AutoExit(
            session,
            bench.key,
            SendTarget.rpc(bench.sim.rpc_url),
            settings=FAST,
            on_event=fail,
        ) as auto,
    ):
        auto.start()
        bench.sim.set_profit(holding, 10)
        bench.sim.wait_until(lambda: bench.sim.holdings() == ())
    assert "a mistake of the user's" in caplog.text


def test_dropped_without_close_it_ends(bench: Bench) -> None:
    """Nobody holds it any more, so its thread ends."""

    def drop() -> None:
        AutoExit(session, bench.key, [SendTarget.rpc(bench.sim.rpc_url)])
        gc.collect()

    with (
        bench.session() as session,
        pytest.warns(ResourceWarning, match="dropped without close"),
    ):
        drop()


def test_keys_come_in_many_forms(bench: Bench) -> None:
    """One key, several, a Keypair of solders or a Signer; a Signer has its own policy."""
    with bench.session() as session:
        for keys in (bench.key, [bench.key], Keypair(), Signer([bench.key])):
            AutoExit(session, keys, SendTarget.rpc(bench.sim.rpc_url)).close()
        with pytest.raises(ConfigurationError, match="has its policy"):
            AutoExit(session, Signer([bench.key]), policy=Policy.default())
