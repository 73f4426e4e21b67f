from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.exits.api import ExitApiClient
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.journal import Journal, SignalRecord
from lasersell.exits.signer import Signer
from lasersell.exits.targets import SendTarget
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.server import ExitSignalWithTx, PositionOpened
from lasersell.session.events import Arrival, StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.sim import Holding
from lasersell.sim.solana import (
    associated_token_account,
    made_up_key,
    made_up_signature,
)
from lasersell.stream.lifecycle import PositionLost
from tests.integration.autoexit.bench import FAST, Bench

TOKENS = 1_000_000
FAILED = {"InstructionError": [2, {"Custom": 6001}]}
ONCE = attrs.evolve(FAST, resend_interval=60.0)


def lost(session: StreamSession, holding: Holding) -> StreamEvent:
    """Return the event that says that a position was lost."""
    handle = session.position_by_token_account(holding.token_account)
    assert handle is not None
    message = PositionLost(
        position_id=handle.position_id,
        wallet_pubkey=handle.wallet_pubkey,
        mint=handle.mint,
        token_account=handle.token_account,
        reason="not_reemitted",
    )
    return StreamEvent(message, handle, Arrival(SYSTEM_CLOCK.monotonic(), None))


def test_a_node_that_does_not_answer_delays_the_news(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """While nobody can tell what became of it nothing is replaced; then it is known."""
    bench.buy(profits_pct=[0, 10])
    bench.sim.refuse_calls("getSignatureStatuses")
    with bench.session() as session, bench.auto_exit(session, ONCE):
        bench.steps.wait_for("submitted")
        bench.sim.wait_until(lambda: bench.calls("getSignatureStatuses") >= 3)
        bench.sim.accept_calls()
        bench.steps.wait_for("ended", outcome="sold")
    assert len(bench.submitted) == 1
    assert "what became of" in caplog.text


def test_a_lost_position_waits_until_it_is_named_again(bench: Bench) -> None:
    """What the stream has lost is not sold; a signal shows that it is there."""
    holding = bench.buy(tokens=TOKENS)
    with bench.session() as session, bench.auto_exit(session) as auto:
        bench.sim.send(bench.offer(holding, 1, level=0))
        bench.steps.wait_for("ended", level=0, outcome="sold")
        auto.handle(lost(session, holding))
        bench.sim.send(bench.offer(holding, TOKENS - 1))
        bench.steps.wait_for("ended", level=None, outcome="sold")
    assert bench.sim.holdings() == ()


def test_what_is_left_of_a_full_exit_can_be_sold(bench: Bench) -> None:
    """A transaction that sold less than everything does not end the position."""
    holding = bench.buy(tokens=TOKENS)
    with bench.session() as session, bench.auto_exit(session):
        bench.sim.send(bench.offer(holding, TOKENS // 2))
        bench.steps.wait_for("ended", outcome="sold")
        bench.sim.send(bench.offer(holding, TOKENS // 2))
        bench.steps.wait_for("ended", 2, outcome="sold")
    assert [trade.tokens for trade in bench.sales()] == [TOKENS // 2, TOKENS // 2]


def test_a_remainder_is_known_after_a_restart(bench: Bench, tmp_path: Path) -> None:
    """The next run is told of it by the balance that comes before the position."""
    holding = bench.buy(tokens=TOKENS)
    path = tmp_path / "journal.db"
    with bench.session() as session, bench.auto_exit(session, journal=path):
        bench.sim.send(bench.offer(holding, TOKENS // 2))
        bench.steps.wait_for("ended", outcome="sold")
    with bench.session() as session, bench.auto_exit(session, journal=path):
        bench.sim.send(bench.offer(holding, TOKENS // 2))
        bench.steps.wait_for("ended", 2, outcome="sold")
    assert bench.sim.holdings() == ()


def sold_elsewhere(holding: Holding) -> Holding:
    """Return a holding like another one, of a token that the wallet does not hold."""
    mint = made_up_key("mint")
    account = associated_token_account(holding.wallet, mint)
    return attrs.evolve(holding, position_id=999, mint=mint, token_account=account)


def test_a_signal_for_a_position_nobody_named_is_tried(bench: Bench) -> None:
    """The server knows what it signals; the chain has the last word."""
    holding = bench.buy(tokens=TOKENS)
    unknown = bench.offer(sold_elsewhere(holding), TOKENS)
    settings = attrs.evolve(FAST, max_attempts=1)
    with bench.session() as session, bench.auto_exit(session, settings):
        bench.sim.send(unknown)
        bench.steps.wait_for("failed")
        bench.steps.wait_for("ended", outcome="gave_up")


def test_a_signal_without_an_account_is_tried(bench: Bench) -> None:
    """Only the account is missing, which the transaction itself names."""
    holding = bench.buy(tokens=TOKENS)
    nameless = attrs.evolve(
        bench.offer(sold_elsewhere(holding), TOKENS), token_account=None
    )
    settings = attrs.evolve(FAST, max_attempts=2, ask_timeout=0.05, max_asks=1)
    with bench.session() as session, bench.auto_exit(session, settings):
        bench.sim.send(nameless)
        bench.steps.wait_for("submitted")
        bench.steps.wait_for("ended", outcome="gave_up")


# Signals are still taken where only the attempt itself cannot be written.
_NO_ATTEMPTS = (
    "ALTER TABLE attempts RENAME TO away",
    "ALTER TABLE away RENAME TO attempts",
)
_NOTHING = "PRAGMA query_only = ON", "PRAGMA query_only = OFF"


@pytest.mark.parametrize(
    ("trouble", "relief"), [_NO_ATTEMPTS, _NOTHING], ids=["no attempts", "nothing"]
)
def test_a_journal_that_takes_nothing_delays_a_sale(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
    relief: str,
) -> None:
    """What cannot be written down is not submitted, and not lost: it is once it can."""
    monkeypatch.setattr("lasersell.exits.auto_loop.FAILED_STEP_PAUSE", 0.05)
    holding = bench.buy(tokens=TOKENS)
    settings = attrs.evolve(FAST, max_attempts=2)
    with (
        Journal(":memory:") as journal,
        bench.session() as session,
        bench.auto_exit(session, settings, journal=journal),  # type: ignore[arg-type]
    ):
        bench.sim.wait_until(lambda: journal.latest_holding(holding.token_account))
        journal._db.execute(trouble)
        bench.sim.set_profit(holding, 10)
        bench.sim.wait_until(lambda: caplog.text.count("cannot be written") >= 5)
        assert bench.submitted == []
        journal._db.execute(relief)
        bench.steps.wait_for("ended", outcome="sold")
    assert len(bench.submitted) == 1


def test_a_signer_that_is_broken_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an account source raises counts as a failure, and is not tried for ever."""

    def broken(*_: object) -> SignedTransaction:
        raise RuntimeError("a mistake")

    bench.buy(profits_pct=[0, 10])
    monkeypatch.setattr(Signer, "sign_exit", broken)
    settings = attrs.evolve(FAST, max_attempts=2)
    with bench.session() as session, bench.auto_exit(session, settings):
        ended = bench.steps.wait_for("ended", outcome="gave_up")
    assert ended.detail == "a mistake"
    assert bench.submitted == []


def test_a_step_that_fails_is_not_repeated_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong with it is no reason to send a transaction at a mad pace."""
    monkeypatch.setattr("lasersell.exits.auto_loop.FAILED_STEP_PAUSE", 0.2)
    bench.buy(profits_pct=[0, 10])
    bench.sim.faults.submissions("delay", times=1000)
    settings = attrs.evolve(FAST, look_interval=0.2, resend_interval=0.01)
    with (
        Journal(":memory:") as journal,
        bench.session() as session,
        bench.auto_exit(session, settings, journal=journal),  # type: ignore[arg-type]
    ):
        # What was sent cannot be noted.
        journal._db.execute("DROP TABLE sends")
        bench.sim.wait_until(lambda: bench.calls("getSignatureStatuses") >= 3)
        assert bench.calls("sendTransaction") <= 8
        bench.sim.faults.land_delayed()
        bench.steps.wait_for("ended", outcome="sold")


def test_an_api_that_fails_is_told(bench: Bench) -> None:
    """Nobody can build the level anew, so it is given up in the end."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("slippage_exceeded")
    settings = attrs.evolve(FAST, ask_timeout=0.5, max_asks=2)
    with (
        ExitApiClient("key", base_url="http://127.0.0.1:1", attempts=1) as api,
        bench.session() as session,
        bench.auto_exit(session, settings, api=api),
    ):
        bench.sim.send(bench.offer(holding, 1, level=0))
        ended = bench.steps.wait_for("ended")
    assert len(bench.steps.of("ask_failed")) == 2
    assert ended.outcome == "gave_up"
    assert "no answer from the API" in (ended.detail or "")


def test_without_threads_it_sells_late_rather_than_never(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process at its limit of threads does each step in the one it has."""
    holding = bench.buy()

    def refuse(name: str, work: Callable[[], None]) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    with bench.session() as session, bench.auto_exit(session):
        monkeypatch.setattr("lasersell.exits.auto_loop.start_thread", refuse)
        bench.sim.set_profit(holding, 10)
        bench.steps.wait_for("ended", outcome="sold")


def test_one_that_cannot_begin_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No thread of its own, and no lock on the journal."""

    def refuse(name: str, work: Callable[[], None]) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    journal, rpc = tmp_path / "journal.db", SendTarget.rpc(bench.sim.rpc_url)
    with bench.session() as session:
        monkeypatch.setattr("lasersell.exits.auto_loop.start_thread", refuse)
        with pytest.raises(RuntimeError):
            AutoExit(session, bench.key, rpc, journal=journal)
        monkeypatch.undo()
        AutoExit(session, bench.key, rpc, journal=journal).close()


def test_a_closed_position_is_forgotten_in_time(bench: Bench) -> None:
    """A daemon that runs for months does not remember every position."""
    first = bench.buy(profits_pct=[0, 10])
    with bench.session() as session, bench.auto_exit(session) as auto:
        bench.steps.wait_for("ended", 1, outcome="sold")
        account = auto._loop._accounts._by_key[first.token_account]
        account.gone_at = float("-inf")
        bench.buy(profits_pct=[0, 10])
        bench.steps.wait_for("ended", 2, outcome="sold")
        bench.sim.wait_until(lambda: first.token_account not in auto._loop._accounts)


def test_a_forked_child_closes_nothing(bench: Bench) -> None:
    """What was opened in the parent stays the parent's."""
    bench.buy(profits_pct=[0, 10])
    with bench.session() as session, bench.auto_exit(session) as auto:
        parent, auto._pid = auto._pid, -1
        assert auto.close()
        auto._pid = parent
        bench.steps.wait_for("ended", outcome="sold")


# What an earlier run left


def opened(bench: Bench, holding: Holding) -> PositionOpened:
    """Return what the server says of a holding."""
    with bench.session() as session:
        event = session.wait_for("position_opened", timeout=5)
    assert isinstance(event.message, PositionOpened)
    assert event.message.token_account == holding.token_account
    return event.message


def leave(
    journal: Journal, message: PositionOpened, level: int | None, name: str
) -> str:
    """Write down an attempt whose end is not known; return its signature."""
    holding = journal.latest_holding(message.token_account)
    holding = holding or journal.add_holding(message)
    sale = journal.begin_sale(holding.id, level)
    row = journal.add_signal(
        SignalRecord(sale_id=sale, born_ms=0, source="stream", sell_tokens=5)
    )
    signature = made_up_signature(name)
    signed = SignedTransaction(
        raw=b"", signature=signature, wallet="w", blockhash=made_up_key("hash")
    )
    journal.begin_attempt(sale, row, signed, quote="SOL", profit_units=0)
    return signature


def test_two_attempts_that_were_left_are_both_found_out(
    bench: Bench, tmp_path: Path
) -> None:
    """One after the other, before anything else is submitted for the account."""
    holding = bench.buy(tokens=TOKENS)
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        message = opened(bench, holding)
        first = leave(journal, message, 0, "first")
        second = leave(journal, message, 1, "second")
    bench.sim.faults.settle(second)
    with bench.session() as session, bench.auto_exit(session, ONCE, path):
        bench.sim.wait_until(lambda: bench.calls("getSignatureStatuses") >= 3)
        bench.sim.send(bench.offer(holding, TOKENS))
        bench.steps.wait_for("signal")
        assert bench.submitted == []
        bench.sim.faults.settle(first, FAILED)
        bench.steps.wait_for("failed", level=0)
        bench.steps.wait_for("landed", level=1)
        bench.steps.wait_for("landed", level=None)
        bench.steps.wait_for("ended", level=0, outcome="superseded")


def test_a_sale_of_the_position_before_is_found_out(
    bench: Bench, tmp_path: Path
) -> None:
    """The token was bought again meanwhile: the new position waits, and stays its own."""
    first = bench.buy(tokens=TOKENS)
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        left = leave(journal, opened(bench, first), None, "left")
    bench.sim.sell(first)
    second = bench.buy(mint=first.mint, tokens=2 * TOKENS)
    with bench.session() as session, bench.auto_exit(session, ONCE, path):
        bench.sim.set_profit(second, 10)
        bench.steps.wait_for("signal")
        assert bench.submitted == []
        bench.sim.faults.settle(left)
        bench.steps.wait_for("ended", 2, outcome="sold")
    assert [item.tokens for item in bench.submitted] == [2 * TOKENS]


def test_a_sale_of_the_position_before_that_failed_is_over(
    bench: Bench, tmp_path: Path
) -> None:
    """What did not land of a position that is gone is not tried for its successor."""
    first = bench.buy(tokens=TOKENS)
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        left = leave(journal, opened(bench, first), None, "left")
    bench.sim.sell(first)
    bench.buy(mint=first.mint, tokens=2 * TOKENS)
    with bench.session() as session, bench.auto_exit(session, ONCE, path):
        session.sender.ping().wait(5)
        bench.sim.faults.settle(left, FAILED)
        bench.steps.wait_for("failed")
    assert bench.submitted == []
    with Journal(path) as journal:
        assert journal.open_attempts() == []


def send_past(bench: Bench, signal: ExitSignalWithTx) -> None:
    """Send a signal that no fault of the server meets."""
    bench.sim.send_raw(encode_server_message(signal))


def test_what_was_submitted_before_uses_up_nothing(bench: Bench) -> None:
    """A service that offers what failed once more is asked again, until it has a new one."""
    holding = bench.buy(tokens=TOKENS)
    bench.sim.faults.submissions("slippage_exceeded")
    failed, fresh = bench.offer(holding, TOKENS), bench.offer(holding, TOKENS)
    settings = attrs.evolve(FAST, max_attempts=2, retry_delay=0.01)
    with bench.session() as session, bench.auto_exit(session, settings):
        # What the server would answer with is another story.
        bench.sim.faults.lose(ExitSignalWithTx, times=100)
        send_past(bench, failed)
        bench.steps.wait_for("failed")
        for count in (1, 2):
            send_past(bench, failed)
            bench.steps.wait_for("refused", count)
        send_past(bench, fresh)
        bench.steps.wait_for("ended", outcome="sold")
    assert len(bench.submitted) == 2


def test_a_position_is_known_by_what_the_server_said_last(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that stamps its re-emissions anew does not make the journal forget."""
    caplog.set_level(logging.INFO)
    holding = bench.buy(tokens=TOKENS)
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        message = opened(bench, holding)
        record = journal.add_holding(attrs.evolve(message, slot=1, opened_at_ms=None))
        sale = journal.begin_sale(record.id, 0)
        journal.end_sale(sale, "sold")
    with bench.session() as session, bench.auto_exit(session, journal=path):
        bench.sim.send(bench.offer(holding, 5, level=0))
        bench.steps.wait_for("ignored", level=0)
    with Journal(path) as journal:
        latest = journal.latest_holding(holding.token_account)
    assert latest is not None
    assert latest.id == record.id
    assert latest.opened.slot == holding.slot


def test_a_handle_that_the_session_made_anew_is_the_same_position(bench: Bench) -> None:
    """Forgotten by the session and named again, its levels are not sold again."""
    holding = bench.buy(tokens=TOKENS)
    with bench.session() as session, bench.auto_exit(session) as auto:
        bench.sim.send(bench.offer(holding, 5, level=0))
        bench.steps.wait_for("ended", level=0, outcome="sold")
        handle = session.position_by_token_account(holding.token_account)
        assert handle is not None
        auto._loop.adopt(PositionHandle(handle.opened, SYSTEM_CLOCK.monotonic()))
        bench.sim.send(bench.offer(holding, 5, level=0))
        bench.steps.wait_for("ignored", level=0)
    assert len(bench.submitted) == 1
