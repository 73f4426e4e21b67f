"""The guard says when the path of a frame became longer, and the path has not."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.guard import (
    INSTALL,
    TOLERANCE,
    accepted_here,
    as_ratios,
    count,
    problems,
)


def test_counts_are_compared_with_the_reference() -> None:
    """What is judged is how a work compares with one that never changes."""
    assert as_ratios({"reference": 200.0, "pnl": 100.0}) == {"pnl": 0.5}


def test_what_takes_more_than_accepted_is_named() -> None:
    """Within the tolerance nothing is said; above it, which work, and how much more."""
    accepted = {"pnl": 1.0, "mixed": 1.0}
    within = 1 + TOLERANCE
    assert problems({"pnl": within, "mixed": 0.5}, accepted) == []
    (problem,) = problems({"pnl": 1.25, "mixed": 1.0}, accepted)
    assert problem.startswith("pnl takes 25% more instructions than accepted")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_path_of_a_frame_has_not_become_longer() -> None:
    """A frame and a command take no more instructions than was accepted."""
    if shutil.which("valgrind") is None:
        pytest.skip(f"needs valgrind: {INSTALL}")
    accepted = accepted_here()
    if accepted is None:
        pytest.skip("nothing accepted for this Python: python -m benchmarks.guard")
    assert problems(as_ratios(count()), accepted) == []
