from __future__ import annotations

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim.tiers import TIERS, TierName, tier_named


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        # hi_capacity, pnl_flush_ms, positions, wallets, per wallet, sessions, watched
        ("personal", (256, 100, 2, 1, 2, 1, 2)),
        ("professional", (256, 100, 500, 5, 100, 1, 10)),
        ("advanced", (256, 100, 20_000, 200, 100, 1, 25)),
    ],
)
def test_a_tier_has_the_limits_of_the_price_list(
    name: TierName, limits: tuple[int, ...]
) -> None:
    """The numbers are those of section 5.1."""
    assert attrs.astuple(tier_named(name).limits)[-7:] == limits


def test_only_the_free_tier_has_less_than_all_gifts() -> None:
    """It alone ends idle sessions and lacks snapshots, ladder, guard and breakeven."""
    free, *paid = TIERS.values()
    assert free.inactivity_timeout_ms == 45 * 60 * 1000
    assert not free.liquidity_snapshots
    assert not free.advanced_exits
    for tier in paid:
        assert tier.inactivity_timeout_ms is None
        assert tier.liquidity_snapshots
        assert tier.advanced_exits


def test_a_tier_that_does_not_exist_is_refused() -> None:
    """A misspelt name is told what there is."""
    with pytest.raises(ConfigurationError, match="personal, professional"):
        tier_named("gold")
