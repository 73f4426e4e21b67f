from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from lasersell.exits import auto_buys
from lasersell.exits.auto_buys import LossCap
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.journal_report import JournalReader
from lasersell.protocol.client import MirrorBuyResult
from lasersell.protocol.mirror import AutoBuy, WatchWallet
from lasersell.session.session import StreamSession
from lasersell.sim import SubmissionFault
from lasersell.sim.solana import made_up_key
from tests.integration.autoexit.bench import FAST, Bench

pytestmark = pytest.mark.slow

LEADER = made_up_key("leader")
SPENT = 50_000_000


class Copying:
    """A bench whose wallet copies another one."""

    session: StreamSession

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.auto_buy = AutoBuy(wallet_pubkey=bench.wallet, amount_quote_units=SPENT)
        self.stack = ExitStack()

    def start(self, **more: Any) -> AutoExit:
        """Connect and run an auto-exit that copies the leader."""
        watch = WatchWallet(pubkey=LEADER, auto_buy=self.auto_buy)
        self.session = self.stack.enter_context(
            self.bench.session(watch_wallets=[watch])
        )
        # Answered after the configuration: from now on the leader is watched.
        self.session.sender.ping().wait(5)
        more.setdefault("mirror_buys", {LEADER: self.auto_buy})
        return self.stack.enter_context(self.bench.auto_exit(self.session, **more))

    def result(self) -> bool:
        """Return what the server was told."""
        return self.bench.sim.received.wait_for(MirrorBuyResult).success


@pytest.fixture
def copying(bench: Bench) -> Iterator[Copying]:
    """End what a test has started."""
    copying = Copying(bench)
    with copying.stack:
        yield copying


def test_a_buy_is_copied_once(copying: Copying, bench: Bench, tmp_path: Path) -> None:
    """It is checked, signed, submitted, told to the server, seen on the chain and written."""
    copying.start(journal=tmp_path / "journal.db")
    bought = bench.sim.buy(LEADER)
    ended = bench.steps.wait_for("buy_ended")
    assert ended.outcome == "landed"
    assert copying.result()
    assert [h.mint for h in bench.sim.holdings(bench.wallet)] == [bought.mint]
    with JournalReader(tmp_path / "journal.db") as reader:
        (buy,) = reader.buys()
    assert (buy.outcome, buy.quote_units) == ("landed", SPENT)


@pytest.mark.parametrize(
    ("fault", "outcome", "told"),
    [
        ("lose_answer", "landed", True),
        ("slippage_exceeded", "failed", True),
        ("preflight_slippage", "rejected", False),
    ],
)
def test_a_buy_is_never_tried_again(
    copying: Copying, bench: Bench, fault: SubmissionFault, outcome: str, told: bool
) -> None:
    """Whatever becomes of it, it is bought once at most."""
    bench.sim.faults.submissions(fault)
    copying.start()
    bench.sim.buy(LEADER)
    assert bench.steps.wait_for("buy_ended").outcome == outcome
    assert copying.result() is told
    assert len({item.signature for item in bench.submitted}) == 1


def test_too_great_a_loss_stops_buying_and_never_selling(
    copying: Copying, bench: Bench
) -> None:
    """After a sale that lost more than the cap, no buy is copied, but exits go on."""
    lost, other = bench.buy(), bench.buy()
    copying.start(loss_cap=LossCap(lamports=1_000_000))
    bench.sim.set_profit(lost, -50)
    copying.session.request_exit_signal(lost.token_account)
    bench.steps.wait_for("ended", outcome="sold")
    bench.sim.buy(LEADER)
    refused = bench.steps.wait_for("buy_refused")
    assert "units of SOL" in (refused.detail or "")
    assert not copying.result()
    bench.sim.set_profit(other, 10)
    bench.steps.wait_for("ended", 2, outcome="sold")
    assert bench.sim.holdings(bench.wallet) == ()


def test_the_kill_switch_stops_buys(copying: Copying, bench: Bench) -> None:
    """While it is on, nothing is bought, and the server is told so."""
    copying.start().pause()
    bench.sim.buy(LEADER)
    assert bench.steps.wait_for("buy_refused").detail == "the kill switch is on"
    assert not copying.result()


def test_a_dry_run_buys_nothing(copying: Copying, bench: Bench) -> None:
    """Everything is done but the submission."""
    copying.start(settings=attrs.evolve(FAST, dry_run=True))
    bench.sim.buy(LEADER)
    assert "would be submitted" in (bench.steps.wait_for("buy_refused").detail or "")
    assert bench.submitted == []


def test_only_configured_wallets_are_copied(copying: Copying, bench: Bench) -> None:
    """A signal for a wallet that was not configured here buys nothing."""
    copying.start(mirror_buys={made_up_key("another"): copying.auto_buy})
    bench.sim.buy(LEADER)
    assert "no auto_buy" in (bench.steps.wait_for("buy_refused").detail or "")


def test_a_wallet_without_a_key_buys_nothing(copying: Copying, bench: Bench) -> None:
    """What the guard refuses is not submitted."""
    other = attrs.evolve(copying.auto_buy, wallet_pubkey=made_up_key("payer"))
    copying.start(mirror_buys={LEADER: other})
    bench.sim.buy(LEADER)
    bench.steps.wait_for("buy_refused")
    assert bench.submitted == []


def test_without_mirror_buys_the_user_has_them(copying: Copying, bench: Bench) -> None:
    """An auto-exit that is given none leaves the signals to others."""
    holding = bench.buy()
    copying.start(mirror_buys=None)
    bench.sim.buy(LEADER)
    bench.sim.set_profit(holding, 10)
    bench.steps.wait_for("ended")
    assert not bench.steps.of("buy_refused")


def test_a_restart_finds_out_about_a_buy(
    copying: Copying, bench: Bench, tmp_path: Path
) -> None:
    """A buy whose end an earlier run did not see is looked up, not repeated."""
    bench.sim.faults.submissions("delay")
    path = tmp_path / "journal.db"
    auto = copying.start(journal=path)
    bench.sim.buy(LEADER)
    bench.steps.wait_for("buy_submitted")
    auto.close(timeout=0.3)
    bench.sim.faults.land_delayed()
    copying.stack.close()
    copying.start(journal=path)
    assert bench.steps.wait_for("buy_ended").outcome == "landed"
    assert len({item.signature for item in bench.submitted}) == 1


@pytest.mark.parametrize("status", [503, 401])
def test_a_node_that_refuses_the_question_is_asked_again(
    copying: Copying, bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It is not said of a buy that it has expired because nobody can tell."""
    monkeypatch.setattr(auto_buys, "RESEND_SEC", 0.1)
    bench.sim.refuse_calls("getSignatureStatuses", status)
    copying.start()
    bench.sim.buy(LEADER)
    bench.sim.wait_until(lambda: bench.calls("getSignatureStatuses") >= 3)
    bench.sim.accept_calls()
    assert bench.steps.wait_for("buy_ended").outcome == "landed"


@pytest.mark.parametrize("status", [503, 401])
def test_a_buy_of_which_nobody_can_tell_is_left_to_the_next_run(
    copying: Copying,
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """The journal says nothing that is not known, and the log says what is not."""
    monkeypatch.setattr(auto_buys, "CONFIRM_SEC", 0.5)
    bench.sim.refuse_calls("getSignatureStatuses", status)
    path = tmp_path / "journal.db"
    copying.start(journal=path)
    bench.sim.buy(LEADER)
    bench.sim.wait_until(lambda: "is not known" in caplog.text)
    with JournalReader(path) as reader:
        (buy,) = reader.buys()
    assert buy.outcome is None
    copying.stack.close()
    bench.sim.accept_calls()
    copying.start(journal=path)
    assert bench.steps.wait_for("buy_ended").outcome == "landed"


def test_a_buy_that_is_not_seen_in_its_time_has_expired(
    copying: Copying, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node answers, and what it does not know by then will not land any more."""
    monkeypatch.setattr(auto_buys, "CONFIRM_SEC", 0.5)
    bench.sim.faults.submissions("delay")
    copying.start()
    bench.sim.buy(LEADER)
    assert bench.steps.wait_for("buy_ended").outcome == "expired"
