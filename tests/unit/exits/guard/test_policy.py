from __future__ import annotations

from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.exits.guard.policy import Policy
from lasersell.exits.programs import PUMP_SWAP, VENUES
from tests.unit.exits.trades import made_up


def test_the_default_knows_the_documented_venues() -> None:
    """All six venues of the service are in the default, and are found by address."""
    policy = Policy.default()
    assert policy.venues == VENUES
    assert policy.venue(PUMP_SWAP.program) is PUMP_SWAP
    assert policy.venue(made_up("program")) is None


def test_a_policy_is_not_changed_but_copied() -> None:
    """What is derived from a policy leaves the policy as it was."""
    policy = Policy.default()
    wider = policy.with_limits(max_tip_lamports=7).with_programs(made_up("memo"))
    assert (wider.max_tip_lamports, len(wider.trusted_programs)) == (7, 1)
    assert policy == Policy.default()


@pytest.mark.parametrize(
    "limits",
    [
        {"max_tip_lamports": -1},
        {"max_fee_lamports": 2**64},
        {"max_fee_bps": 10_001},
        {"max_priority_fee_lamports": 1.5},
        {"max_overspend_bps": True},
        {"lookup_tables": "ignore"},
        {"max_tipp": 1},
    ],
)
def test_a_wrong_limit_is_refused_by_name(limits: dict[str, Any]) -> None:
    """A limit that makes no sense, or does not exist, is an error that names it."""
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        Policy.default().with_limits(**limits)


def test_a_program_is_checked() -> None:
    """A trusted program must be an address."""
    with pytest.raises(ConfigurationError, match="program"):
        Policy.default().with_programs("memo")
