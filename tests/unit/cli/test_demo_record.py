from __future__ import annotations

import pytest

from lasersell.cli.demo_record import Record
from lasersell.cli.demo_scenario import ROLES
from lasersell.cli.demo_seller import Sold
from lasersell.protocol.server import (
    ExitSignalWithTx,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    ServerError,
)
from lasersell.session.events import Arrival, EventFacts, EventMessage, StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import Connected

_ROLE = ROLES[0]
_OPENED = PositionOpened(
    position_id=1,
    wallet_pubkey=_ROLE.wallet,
    mint="mint",
    token_account="account",
    tokens=1000,
    entry_quote_units=2000,
    token_symbol="SIM1",
    slot=1,
)


@pytest.fixture
def handle() -> PositionHandle:
    """Return the one position that these tests are about."""
    return PositionHandle(_OPENED, now=0.0)


@pytest.fixture
def record(handle: PositionHandle) -> Record:
    """Return a record whose one position is open."""
    record = Record()
    record.expect("mint", _ROLE)
    record.see(_event(_OPENED, handle), now_ms=0)
    return record


def _event(
    message: EventMessage, handle: PositionHandle | None, *, reopened: bool = False
) -> StreamEvent:
    facts = EventFacts(reopened=reopened)
    return StreamEvent(message, handle, Arrival(at=0.0, server_ms=None), facts)


def _signal(reason: str) -> ExitSignalWithTx:
    return ExitSignalWithTx(
        session_id=1,
        position_id=1,
        wallet_pubkey=_ROLE.wallet,
        mint="mint",
        position_tokens=1000,
        profit_units=500,
        reason=reason,
        triggered_at_ms=10_000,
        unsigned_tx_b64="AA==",
    )


def _close(reason: str) -> PositionClosed:
    return PositionClosed(
        position_id=1, wallet_pubkey=_ROLE.wallet, mint="mint", reason=reason, slot=2
    )


def _play(record: Record, handle: PositionHandle, reason: str) -> None:
    record.see(_event(Connected(number=2, attempts=1), None), now_ms=0)
    record.see(_event(_OPENED, handle, reopened=True), now_ms=0)
    _sell(record, handle, reason)


def _sell(record: Record, handle: PositionHandle, reason: str) -> None:
    record.see(_event(_signal(reason), handle), now_ms=10_007)
    record.sell("mint", Sold("signature", slot=2, took_ms=3.0))
    record.see(_event(_close(reason), handle), now_ms=10_500)
    record.book("mint", "signature")


def test_a_run_as_scripted_is_a_success(record: Record, handle: PositionHandle) -> None:
    """The expected exit, its close and a survived reconnect are what it takes."""
    _play(record, handle, _ROLE.reason)
    assert record.is_over
    assert record.is_success


def test_another_exit_is_no_success(record: Record, handle: PositionHandle) -> None:
    """A position that left by another rule than the one it shows is told."""
    _play(record, handle, "stop_loss")
    assert record.is_over
    assert not record.is_success


def test_a_run_without_a_reconnect_is_no_success(
    record: Record, handle: PositionHandle
) -> None:
    """The forced reconnect is part of what is shown."""
    _sell(record, handle, _ROLE.reason)
    assert record.is_over
    assert not record.is_success


@pytest.mark.parametrize(
    ("sold", "booked"),
    [
        (None, "signature"),
        (Sold("signature", slot=1, took_ms=3.0), "signature"),
        (Sold("signature", slot=2, took_ms=3.0), "another"),
        (Sold("signature", slot=2, took_ms=3.0), None),
    ],
)
def test_a_close_that_the_sale_did_not_cause_is_no_success(
    record: Record, handle: PositionHandle, sold: Sold | None, booked: str | None
) -> None:
    """Slot and signature of the close must be those of the sale that was submitted."""
    _play(record, handle, _ROLE.reason)
    assert record.is_success
    record.rows["mint"].sold = sold
    record.rows["mint"].booked = booked
    assert not record.is_success


def test_an_error_of_the_server_is_no_success(
    record: Record, handle: PositionHandle
) -> None:
    """What should not have happened spoils the run and is shown."""
    _play(record, handle, _ROLE.reason)
    record.see(_event(ServerError(code="x", message="y"), None), now_ms=0)
    assert not record.is_success
    assert len(record.problems) == 1


def test_the_exit_is_measured_when_recv_returned_it(
    record: Record, handle: PositionHandle
) -> None:
    """Latency is from the server's trigger; profit is a share of the entry."""
    _play(record, handle, _ROLE.reason)
    seen = record.rows["mint"].exit
    assert seen is not None
    assert (seen.latency_ms, seen.profit_units, seen.profit_pct) == (7, 500, 25.0)


def test_a_replacement_does_not_change_the_first_exit(
    record: Record, handle: PositionHandle
) -> None:
    """The latency shown is that of the first signal."""
    _play(record, handle, _ROLE.reason)
    record.see(_event(_signal("sell_now"), handle), now_ms=99_000)
    seen = record.rows["mint"].exit
    assert seen is not None
    assert (seen.reason, seen.latency_ms) == (_ROLE.reason, 7)


def test_profits_are_counted(record: Record, handle: PositionHandle) -> None:
    """Each profit that arrived counts, and moves the position's line."""
    update = PnlUpdate(
        position_id=1, profit_units=100, proceeds_units=2100, server_time_ms=1
    )
    handle.pnl = update
    record.see(_event(update, handle), now_ms=0)
    assert record.pnl_updates == 1
    assert record.rows["mint"].profits_pct[-1] == 5.0
