"""The guard says when the path of a frame became longer, and the path has not."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.guard import (
    INSTALL,
    TOLERANCE,
    Length,
    accepted_here,
    compared,
    measure,
    problems,
)

_ACCEPTED = {"pnl": Length(100.0, 1.0)}


def test_counts_are_compared_with_the_reference() -> None:
    """What is judged is also how a work compares with one that never changes."""
    assert compared({"reference": 200.0, "pnl": 100.0}) == {"pnl": Length(100.0, 0.5)}


def test_what_takes_more_than_accepted_is_named() -> None:
    """A path that is longer by both measures is named, and by how much."""
    (problem,) = problems({"pnl": Length(125.0, 1.3)}, _ACCEPTED)
    assert problem.startswith("pnl takes 25% more instructions than accepted")


@pytest.mark.parametrize(
    "length",
    [
        Length(100.0 + 50 * TOLERANCE, 1.0 + TOLERANCE / 2),
        Length(150.0, 1.0),
        Length(100.0, 1.5),
        Length(50.0, 0.5),
    ],
)
def test_another_build_of_python_is_no_longer_path(length: Length) -> None:
    """Longer by one measure alone, or within the tolerance, nothing is said."""
    assert problems({"pnl": length}, _ACCEPTED) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_path_of_a_frame_has_not_become_longer() -> None:
    """A frame and a command take no more instructions than was accepted."""
    if shutil.which("valgrind") is None:
        pytest.skip(f"needs valgrind: {INSTALL}")
    accepted = accepted_here()
    if accepted is None:
        pytest.skip("nothing accepted for this Python: python -m benchmarks.guard")
    assert problems(measure(), accepted) == []
