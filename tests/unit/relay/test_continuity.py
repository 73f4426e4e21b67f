from __future__ import annotations

from typing import Any

import attrs

from lasersell.relay.codec import PositionRecord, record_of
from lasersell.relay.continuity import OVER_KEPT, Continuity
from lasersell.session.positions import PositionHandle
from tests.unit.session.frames import opened


def _record(key: str = "old", **fields: Any) -> PositionRecord:
    """Return what a publisher before has left of a position."""
    handle = PositionHandle(attrs.evolve(opened(), **fields), 0.0)
    return record_of(handle, key, "epoch", {None: 2})


def _handle(**fields: Any) -> PositionHandle:
    return PositionHandle(attrs.evolve(opened(), **fields), 0.0)


def test_a_position_that_the_publisher_before_had_keeps_its_key() -> None:
    """It is resumed once; after that it is a position like any other."""
    continuity = Continuity("me", [_record()])
    handle = _handle(position_id=77)
    known, is_resumed, replaced = continuity.opened(handle, handle.opened)
    assert (known.key, is_resumed, replaced) == ("old", True, None)
    again, is_resumed, _ = continuity.opened(handle, handle.opened)
    assert (again.key, is_resumed) == ("old", False)
    assert continuity.is_settled


def test_exit_signals_are_counted_on() -> None:
    """An attempt of the new publisher comes after those of the one before."""
    continuity = Continuity("me", [_record()])
    handle = _handle()
    known, _, _ = continuity.opened(handle, handle.opened)
    assert known.attempts({None: 1, 4: 1}) == {None: 3, 4: 1}


def test_another_position_on_the_same_account_replaces_the_old_one() -> None:
    """It gets a key of its own, and the old one is handed back to be reported."""
    before = opened()
    continuity = Continuity("me", [_record()])
    later = _handle(
        slot=before.slot + 9,
        opened_at_ms=(before.opened_at_ms or 0) + 9_000,
        entry_quote_units=before.entry_quote_units + 1,
    )
    known, is_resumed, replaced = continuity.opened(later, later.opened)
    assert known.key != "old"
    assert not is_resumed
    assert replaced is not None
    assert replaced.key == "old"


def test_what_is_not_named_again_is_given_up_once() -> None:
    """Only what the new stream did not name."""
    records = [_record("a", token_account="A"), _record("b", token_account="B")]
    continuity = Continuity("me", records)
    handle = _handle(token_account="A")
    continuity.opened(handle, handle.opened)
    assert [record.key for _, record in continuity.give_up()] == ["b"]
    assert continuity.is_settled
    assert continuity.give_up() == []


def test_keys_of_different_publishers_are_different() -> None:
    """Each has its own source."""
    handle = _handle()
    keys = {Continuity(source).known(handle).key for source in ("one", "two")}
    assert len(keys) == 2


def test_positions_that_are_over_are_forgotten_in_the_end() -> None:
    """A publisher that runs for months does not grow."""
    continuity = Continuity("me")
    first = _handle()
    first.status = "closed"
    key = continuity.known(first).key
    assert continuity.known(first).key == key
    for _ in range(OVER_KEPT + 5):
        handle = _handle()
        handle.status = "closed"
        continuity.known(handle)
    assert len(continuity._known) <= OVER_KEPT
    assert continuity.known(first).key != key
