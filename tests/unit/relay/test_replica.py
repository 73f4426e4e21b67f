from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from lasersell.protocol.server import PnlUpdate
from lasersell.relay.codec import PositionRecord, record_of
from lasersell.relay.replica import OVER_KEPT, Replica
from lasersell.session.positions import PositionHandle
from tests.unit.session.frames import opened


def _record(
    key: str = "k", epoch: str = "e1", status: Any = "open", **fields: Any
) -> PositionRecord:
    handle = PositionHandle(attrs.evolve(opened(), **fields), 0.0)
    handle.status = status
    return record_of(handle, key, epoch, {})


def test_a_position_keeps_its_handle_from_record_to_record() -> None:
    """What changed is on the handle that was given out before."""
    replica = Replica()
    handle = replica.apply(_record(), 1)
    changed = _record(tokens=5)
    assert replica.apply(changed, 2) is handle
    assert handle.tokens == 5
    assert replica.apply(_record(status="closed"), 3) is handle
    assert (handle.status, replica.open()) == ("closed", [])


def test_a_record_that_comes_late_changes_nothing() -> None:
    """Two threads bring them, and the one with the later may be quicker."""
    replica = Replica()
    handle = replica.apply(_record(), 1)
    replica.apply(_record(status="closed"), 3)
    assert replica.apply(_record(tokens=5), 2) is handle
    assert (handle.status, replica.open()) == ("closed", [])


def test_a_snapshot_counts_whatever_its_number() -> None:
    """A Redis that was put back to an earlier day counts from there on."""
    replica = Replica()
    handle = replica.apply(_record(), 1000)
    replica.replace([_record(tokens=5)], 10)
    assert handle.tokens == 5
    replica.apply(_record(tokens=6), 11)
    assert handle.tokens == 6


def test_a_position_is_found_by_all_its_names() -> None:
    """Id, account, wallet and mint; none of them once it is over."""
    replica = Replica()
    replica.epoch = "e1"
    handle = replica.apply(_record(position_id=7), 1)
    about = handle.wallet_pubkey, handle.mint
    assert replica.with_id(7) is handle
    assert replica.by_account(handle.token_account) is handle
    assert replica.by_wallet_mint(*about) == [handle]
    replica.apply(_record(position_id=7, status="lost"), 2)
    assert replica.with_id(7) is None
    assert replica.by_account(handle.token_account) is None
    assert replica.by_wallet_mint(*about) == []


def test_a_position_is_never_missed_while_it_changes() -> None:
    """Who looks a position up by its account or id meanwhile finds it."""
    replica = Replica()
    replica.epoch = "e1"
    handle = replica.apply(_record(), 0)
    about = handle.wallet_pubkey, handle.mint
    records = [_record(tokens=1), _record(tokens=2)]

    def change() -> None:
        for number in range(1, 500):
            replica.apply(records[number % 2], number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            changing = pool.submit(change)
            while not changing.done():
                assert replica.open() == [handle]
                assert replica.by_account(handle.token_account) is handle
                assert replica.with_id(handle.position_id) is handle
                assert replica.by_wallet_mint(*about) == [handle]
            changing.result()
    finally:
        sys.setswitchinterval(interval)


def test_open_positions_are_told_oldest_first() -> None:
    """What happens to one later does not make it younger."""
    replica = Replica()
    first = replica.apply(_record("first", token_account="A", position_id=1), 1)
    second = replica.apply(_record("second", token_account="B", position_id=2), 2)
    again = _record("first", "e2", token_account="A", position_id=3)
    assert replica.apply(again, 3) is first
    assert replica.open() == [first, second]


def test_a_snapshot_is_taken_oldest_first() -> None:
    """Redis tells its records in no order."""
    replica = Replica()
    records = [
        _record(account, token_account=account, slot=slot)
        for account, slot in (("B", 20), ("C", 30), ("A", 10))
    ]
    new, _ = replica.replace(records, 3)
    assert [handle.token_account for handle in new] == ["A", "B", "C"]
    assert replica.open() == new


def test_a_position_that_is_not_among_the_open_ones_is_not_called_open() -> None:
    """A signal that was left by another worker may outlive its position."""
    replica = Replica()
    assert replica.known(_record()).status == "lost"
    handle = replica.apply(_record(), 1)
    assert replica.known(_record()) is handle
    assert handle.is_open


def test_an_id_is_good_for_one_connection() -> None:
    """An id of the connection before means nothing on the next one."""
    replica = Replica()
    replica.epoch = "e1"
    handle = replica.apply(_record(position_id=7), 1)
    replica.epoch = "e2"
    assert replica.with_id(7) is None
    replica.apply(_record(position_id=8, epoch="e2"), 2)
    assert replica.with_id(8) is handle
    replica.epoch = "e1"
    assert replica.with_id(7) is None


def test_a_snapshot_tells_what_is_new_and_what_is_gone() -> None:
    """What was known already is neither."""
    replica = Replica()
    kept = replica.apply(_record("kept", token_account="A"), 1)
    gone = replica.apply(_record("gone", token_account="B"), 2)
    new, lost = replica.replace(
        [_record("kept", token_account="A"), _record("new", token_account="C")], 3
    )
    assert [handle.token_account for handle in new] == ["C"]
    assert lost == [gone]
    assert gone.status == "lost"
    assert replica.open() == [kept, *new]


def test_the_peak_follows_the_profit() -> None:
    """The highest profit seen stays when it falls."""
    replica = Replica()
    handle = replica.apply(_record(), 1)
    for profit in (5, 9, 2):
        replica.take_latest(
            "k",
            PnlUpdate(
                position_id=1, profit_units=profit, proceeds_units=0, server_time_ms=1
            ),
        )
    assert (handle.profit_units, handle.peak_profit_units) == (2, 9)


def test_positions_that_are_over_are_forgotten_in_the_end() -> None:
    """A subscriber that runs for months does not grow."""
    replica = Replica()
    for number in range(OVER_KEPT + 10):
        replica.apply(_record(f"k{number}", status="closed"), number)
    assert len(replica._by_key) == OVER_KEPT
    assert len(replica._numbers) == OVER_KEPT
    assert not replica._by_id
    assert not replica._ids
