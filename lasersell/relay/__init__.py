"""
One stream, many workers, many hosts: the relay, over Redis Streams.

One :class:`Relay` owns the session and publishes its events; others of the same name
stand by on other hosts. A :class:`RelaySession` gets the events anywhere and can
command the session. :mod:`lasersell.relay.plan` spreads wallets over several sessions.

Needs the extra ``relay``; without it the first connect raises ``MissingExtraError``.
"""

from __future__ import annotations

from lasersell.relay.plan import Account, Plan, Shard, plan
from lasersell.relay.publisher import Relay, RelayPolicy, RelayStats
from lasersell.relay.session import RelayEvent, RelaySession, RelaySessionStats

__all__ = [
    "Account",
    "Plan",
    "Relay",
    "RelayEvent",
    "RelayPolicy",
    "RelaySession",
    "RelaySessionStats",
    "RelayStats",
    "Shard",
    "plan",
]
