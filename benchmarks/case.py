"""
What a case is, and what its numbers may be. Data, and the judgement of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from benchmarks.work import Numbers, Work

__all__ = ["Budget", "Case", "Medians", "Outcome"]

Medians = Mapping[str, Numbers]
"""What each client measured, by its name."""

OURS = "lasersell"


@attrs.frozen(kw_only=True)
class Budget:
    """
    The most that one of our numbers may be.

    Attributes:
        of: The name of the number.
        most: The bound, or what another client's number is multiplied with.
        times: The client whose number the bound is relative to; None: it is absolute.
        words: What is asked, for the table.
    """

    of: str
    most: float
    words: str
    times: str | None = None

    def judge(self, medians: Medians) -> Outcome | None:
        """Return how ours compares; None if a client that is needed did not run."""
        if OURS not in medians or (self.times and self.times not in medians):
            return None
        bound = self.most
        if self.times is not None:
            bound *= medians[self.times][self.of]
        return Outcome(budget=self, reached=medians[OURS][self.of], bound=bound)


@attrs.frozen(kw_only=True)
class Outcome:
    """What a budget came to in one run."""

    budget: Budget
    reached: float
    bound: float

    @property
    def is_met(self) -> bool:
        return self.reached <= self.bound


@attrs.frozen(kw_only=True)
class Case:
    """
    One comparison.

    Attributes:
        name: A word, for the command line.
        title: What is measured, for the table.
        job: The function of the clients that measures it.
        work: What there is to do.
        units: The unit of each number, in the order of the table.
        clients: Who does it; ours first.
        budgets: What ours must reach.
        most_rounds: A bound on the rounds, for cases that take long.
        quick: What there is to do in a quick run; None: the same.
    """

    name: str
    title: str
    job: str
    work: Work
    units: Mapping[str, str]
    clients: tuple[str, ...] = (OURS, "official")
    budgets: tuple[Budget, ...] = ()
    most_rounds: int | None = None
    quick: Work | None = None

    def quickly(self) -> Case:
        """Return the same case with little work, done once."""
        return attrs.evolve(self, work=self.quick or self.work, most_rounds=1)
