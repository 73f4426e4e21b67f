"""Every case of the benchmark runs, with little work, for each client that is here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.runner import LoadServer, clients_here, run_case


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    """Run one load server for all cases."""
    with LoadServer() as server:
        yield server


def _id(case: Case) -> str:
    return case.name


# One of each kind, for every change; the others start slowly, or wait.
_QUICK = {"pnl", "exit-0", "command", "stalled"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case.name in _QUICK else pytest.mark.slow)
        for case in CASES
    ],
    ids=_id,
)
def test_a_case_gives_every_number_it_has_a_unit_for(
    case: Case, server: LoadServer
) -> None:
    """A case measures each of its numbers for this library, and judges its budgets."""
    result = run_case(case.quickly(), server, 1, {"lasersell", "raw"})
    numbers = result.medians["lasersell"]
    assert set(numbers) == set(case.units)
    assert all(number >= 0 for name, number in numbers.items() if name != "grown_mb")
    judged = {outcome.budget for outcome in result.outcomes()}
    assert judged == {b for b in case.budgets if b.times in (None, "raw")}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_case_gives_the_same_numbers_for_every_client(
    case: Case, server: LoadServer
) -> None:
    """A case measures the same numbers for each client that this machine can run."""
    clients = clients_here()
    result = run_case(case.quickly(), server, 1, clients)
    assert set(result.medians) == clients & set(case.clients)
    assert all(set(numbers) == set(case.units) for numbers in result.medians.values())
