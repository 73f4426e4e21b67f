from __future__ import annotations

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
    handle = replica.apply(_record())
    changed = _record(tokens=5)
    assert replica.apply(changed) is handle
    assert handle.tokens == 5
    assert replica.apply(_record(status="closed")) is handle
    assert (handle.status, replica.open()) == ("closed", [])


def test_a_position_is_found_by_all_its_names() -> None:
    """Id, account, wallet and mint; none of them once it is over."""
    replica = Replica()
    replica.epoch = "e1"
    handle = replica.apply(_record(position_id=7))
    about = handle.wallet_pubkey, handle.mint
    assert replica.with_id(7) is handle
    assert replica.by_account(handle.token_account) is handle
    assert replica.by_wallet_mint(*about) == [handle]
    replica.apply(_record(position_id=7, status="lost"))
    assert replica.with_id(7) is None
    assert replica.by_account(handle.token_account) is None
    assert replica.by_wallet_mint(*about) == []


def test_an_id_is_good_for_one_connection() -> None:
    """An id of the connection before means nothing on the next one."""
    replica = Replica()
    replica.epoch = "e1"
    handle = replica.apply(_record(position_id=7))
    replica.epoch = "e2"
    assert replica.with_id(7) is None
    replica.apply(_record(position_id=8, epoch="e2"))
    assert replica.with_id(8) is handle
    replica.epoch = "e1"
    assert replica.with_id(7) is None


def test_a_snapshot_tells_what_is_new_and_what_is_gone() -> None:
    """What was known already is neither."""
    replica = Replica()
    kept = replica.apply(_record("kept", token_account="A"))
    gone = replica.apply(_record("gone", token_account="B"))
    new, lost = replica.replace(
        [_record("kept", token_account="A"), _record("new", token_account="C")]
    )
    assert [handle.token_account for handle in new] == ["C"]
    assert lost == [gone]
    assert gone.status == "lost"
    assert replica.open() == [kept, *new]


def test_the_peak_follows_the_profit() -> None:
    """The highest profit seen stays when it falls."""
    replica = Replica()
    handle = replica.apply(_record())
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
        replica.apply(_record(f"k{number}", status="closed"))
    assert len(replica._by_key) == OVER_KEPT
    assert not replica._by_id
    assert not replica._ids
