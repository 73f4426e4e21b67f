from __future__ import annotations

import attrs
import pytest

from lasersell.protocol.server import BalanceUpdate, ExitSignalWithTx, PositionClosed
from lasersell.stream.recognition import Recognition, is_about
from tests.unit.session.frames import (
    OTHER_WALLET,
    START_MS,
    balance,
    closed,
    exit_signal,
    opened,
)

BEFORE = opened(1)
SAME_TIME = opened(7, tokens=999, entry_quote_units=5, slot=99)
SAME_SLOT = opened(7, tokens=999, entry_quote_units=5, opened_at_ms=None)
SAME_COST = opened(7, tokens=100, slot=99, opened_at_ms=None)
FEWER_TOKENS = opened(7, tokens=40, slot=99, opened_at_ms=None)
MORE_TOKENS = opened(7, tokens=101, slot=99, opened_at_ms=None)
OTHER_COST = opened(7, entry_quote_units=999, slot=99, opened_at_ms=None)
STAMPED_ANEW = opened(7, slot=99, opened_at_ms=START_MS + 500_000)


@pytest.mark.parametrize(
    ("after", "same"),
    [
        (SAME_TIME, True),
        (SAME_SLOT, True),
        (SAME_COST, True),
        (FEWER_TOKENS, True),
        (STAMPED_ANEW, True),
        (MORE_TOKENS, False),
        (OTHER_COST, False),
        (attrs.evolve(SAME_TIME, mint="other"), False),
        (attrs.evolve(SAME_TIME, wallet_pubkey=OTHER_WALLET), False),
    ],
)
def test_over_a_reconnect_the_facts_tell(after: object, same: bool) -> None:
    """Any one that a server may repeat; the id is none of them."""
    assert Recognition().is_same(BEFORE, after, is_here=False) is same  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1, 7])
def test_on_one_connection_the_id_tells(number: int) -> None:
    """Whatever the facts are: a position may grow, and another may look alike."""
    grown = attrs.evolve(OTHER_COST, position_id=number)
    assert Recognition().is_same(BEFORE, grown, is_here=True) is (number == 1)
    alike = attrs.evolve(BEFORE, position_id=number)
    assert Recognition().is_same(BEFORE, alike, is_here=True) is (number == 1)


@pytest.mark.parametrize(
    ("opened_at_ms", "same"),
    [
        (START_MS + 1000, True),
        (START_MS + 1001, False),
        (START_MS + 4999, False),
        (START_MS + 5000, True),
        (None, True),
    ],
)
def test_the_cost_does_not_count_for_what_was_bought_in_the_gap(
    opened_at_ms: int | None, same: bool
) -> None:
    """After the last connection was last heard, and before this one began."""
    recognition = Recognition(live_since_ms=START_MS + 5000)
    after = opened(7, slot=99, opened_at_ms=opened_at_ms)
    heard_until_ms = START_MS + 1000
    assert (
        recognition.is_same(BEFORE, after, is_here=False, heard_until_ms=heard_until_ms)
        is same
    )


def test_a_repeated_opening_counts_whenever_it_was() -> None:
    """A position opened just before the connection broke, say."""
    recognition = Recognition(live_since_ms=START_MS + 5000)
    for again in (SAME_TIME, opened(7, opened_at_ms=START_MS + 7)):
        assert recognition.is_same(
            BEFORE, again, is_here=False, heard_until_ms=START_MS - 10
        )


@pytest.mark.parametrize(
    ("after", "same"),
    [
        (SAME_TIME, True),
        (SAME_SLOT, True),
        (SAME_COST, True),
        (STAMPED_ANEW, False),
        (OTHER_COST, False),
    ],
)
def test_what_was_given_up_needs_better_proof(after: object, same: bool) -> None:
    """The cost counts only where no time speaks against it."""
    assert (
        Recognition().is_same(BEFORE, after, is_here=False, is_over=True) is same  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("after", "same"),
    [(SAME_TIME, True), (SAME_SLOT, True), (SAME_COST, False), (OTHER_COST, False)],
)
def test_what_was_closed_on_this_connection_needs_the_best_proof(
    after: object, same: bool
) -> None:
    """No reconnect is there to explain a second ``position_opened``."""
    assert (
        Recognition().is_same(BEFORE, after, is_here=True, is_over=True) is same  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("is_here", [True, False])
@pytest.mark.parametrize(
    ("frame", "about"),
    [
        (exit_signal(1, "A"), True),
        (exit_signal(1, None), True),
        (exit_signal(None, "A"), True),
        (exit_signal(99, "A"), True),
        (balance(5, "A"), True),
        (balance(5, None), True),
        (closed(1, "A"), True),
        (closed(1, None), True),
        (exit_signal(1, "B"), False),
        (exit_signal(1, "A", mint="other"), False),
        (exit_signal(1, "A", wallet_pubkey=OTHER_WALLET), False),
        (balance(5, "B", mint=BEFORE.mint), False),
        (closed(1, "B"), False),
    ],
)
def test_a_frame_is_about_a_position_unless_it_says_otherwise(
    frame: ExitSignalWithTx | PositionClosed | BalanceUpdate,
    about: bool,
    is_here: bool,
) -> None:
    """By account, token and wallet."""
    assert is_about(frame, BEFORE, is_here=is_here) is about


def test_a_close_is_of_the_position_with_its_id() -> None:
    """On one connection; one that was not named on it has no id to compare."""
    late = closed(99, "A")
    assert not is_about(late, BEFORE, is_here=True)
    assert is_about(late, BEFORE, is_here=False)
