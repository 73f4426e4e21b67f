"""
The embedded stream server: a stand-in for the service on this machine.

Needs the extra ``sim``; without it the import raises ``MissingExtraError``.
"""

from __future__ import annotations

from lasersell.errors import MissingExtraError

# One check for the whole package: its own modules import these without a word.
try:
    import aiohttp  # noqa: F401  only to see whether it is there
    import solders  # noqa: F401  the same
except ImportError as error:
    raise MissingExtraError("the embedded server", "sim") from error

from lasersell.sim.admission import Upgrade
from lasersell.sim.calls import Call
from lasersell.sim.clock import ManualClock
from lasersell.sim.faults import MISSING, Faults
from lasersell.sim.flood import Flood
from lasersell.sim.ledger import Holding, InsufficientFundsError, Ledger, Trade
from lasersell.sim.log import Entry, Log
from lasersell.sim.node import Submission, SubmissionFault
from lasersell.sim.options import DEFAULT_LIMITS, SimOptions
from lasersell.sim.readings import Readings
from lasersell.sim.server import SimServer
from lasersell.sim.session import SimSession
from lasersell.sim.tiers import TIERS, Tier

__all__ = [
    "DEFAULT_LIMITS",
    "MISSING",
    "TIERS",
    "Call",
    "Entry",
    "Faults",
    "Flood",
    "Holding",
    "InsufficientFundsError",
    "Ledger",
    "Log",
    "ManualClock",
    "Readings",
    "SimOptions",
    "SimServer",
    "SimSession",
    "Submission",
    "SubmissionFault",
    "Tier",
    "Trade",
    "Upgrade",
]
