"""
What each tier of the service may do, by section 5.1 of the protocol facts.

The numbers of ``ENTERPRISE`` are agreed on with each customer; here they are those
of ``ADVANCED``, with two sessions.
"""

from __future__ import annotations

from typing import Literal

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import Limits

__all__ = ["TIERS", "Tier", "TierName", "tier_named"]

TierName = Literal["personal", "professional", "advanced", "enterprise"]


@attrs.frozen(kw_only=True)
class Tier:
    """
    What an account may do.

    Attributes:
        limits: What ``hello_ok`` announces.
        inactivity_timeout_ms: Milliseconds of silence after which the server hangs
            up; None is never.
        liquidity_snapshots: Whether it gets any.
        advanced_exits: Whether a strategy may have a ladder, a liquidity guard or
            breakeven protection.
    """

    limits: Limits
    inactivity_timeout_ms: int | None = None
    liquidity_snapshots: bool = True
    advanced_exits: bool = True


def _limits(
    wallets: int, per_wallet: int, positions: int, watched: int, sessions: int = 1
) -> Limits:
    return Limits(
        hi_capacity=256,
        pnl_flush_ms=100,
        max_positions_per_session=positions,
        max_wallets_per_session=wallets,
        max_positions_per_wallet=per_wallet,
        max_sessions_per_api_key=sessions,
        max_watch_wallets_per_session=watched,
    )


TIERS: dict[TierName, Tier] = {
    "personal": Tier(
        limits=_limits(1, 2, 2, 2),
        inactivity_timeout_ms=45 * 60 * 1000,
        liquidity_snapshots=False,
        advanced_exits=False,
    ),
    "professional": Tier(limits=_limits(5, 100, 500, 10)),
    "advanced": Tier(limits=_limits(200, 100, 20_000, 25)),
    "enterprise": Tier(limits=_limits(200, 100, 20_000, 25, sessions=2)),
}
"""The tiers, smallest first."""


def tier_named(name: str) -> Tier:
    """
    Return a tier.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    for known, tier in TIERS.items():
        if known == name:
            return tier
    raise ConfigurationError(f"no tier {name!r}; choose one of {', '.join(TIERS)}")
