from __future__ import annotations

from itertools import pairwise

import pytest

from lasersell.cli.demo_scenario import DEADLINE_SEC, ROLES, STRATEGY, TICK_MS, Role
from lasersell.sim.paths import proceeds_at
from lasersell.sim.strategy import ExitState, Rulebook, Surroundings
from lasersell.sim.valuation import Valuation

_SETTLED = {"take-profit", "stop-loss", "trailing stop"}


def _exit_of(role: Role) -> tuple[int, str] | None:
    """Return the tick at which the server's rules fire, and the reason."""
    state = ExitState()
    for tick, profit_pct in enumerate(role.profits_pct()):
        proceeds = proceeds_at(role.cost_lamports, profit_pct)
        value = Valuation(role.cost_lamports, proceeds)
        decision = Rulebook(STRATEGY).decide(value, state, Surroundings())
        if decision is not None:
            return tick, decision.reason
    return None


@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.exit))
def test_a_role_ends_by_the_exit_it_is_there_to_show(role: Role) -> None:
    """The script of each position triggers its own rule first, or none at all."""
    found = _exit_of(role)
    expected = role.reason if role.exit in _SETTLED else None
    assert (found and found[1]) == expected


def test_the_exits_are_far_apart() -> None:
    """A machine that is a second late does not change who exits first."""
    ticks = [found[0] for role in ROLES if (found := _exit_of(role))]
    gaps = [later - sooner for sooner, later in pairwise(ticks)]
    assert min(gaps) * TICK_MS >= 1000
    assert DEADLINE_SEC * 1000 - ticks[-1] * TICK_MS >= 2000


def test_the_deadline_has_a_script_to_its_end() -> None:
    """The position that waits for its deadline moves until then."""
    waiting = next(role for role in ROLES if role.exit == "deadline")
    assert len(list(waiting.profits_pct())) * TICK_MS > DEADLINE_SEC * 1000
