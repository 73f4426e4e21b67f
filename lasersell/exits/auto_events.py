"""
What an auto-exit reports about each of its steps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

__all__ = ["AutoExitEvent", "EventType", "Reporter"]

log = logging.getLogger(__name__)

EventType: TypeAlias = Literal[
    "signal",
    "ignored",
    "refused",
    "submitted",
    "resent",
    "not_taken",
    "landed",
    "failed",
    "expired",
    "asked",
    "ask_failed",
    "ended",
    "paused",
    "resumed",
    "buy_refused",
    "buy_submitted",
    "buy_ended",
]
"""
=================  ====================================================================
type               what happened
=================  ====================================================================
``signal``         an exit signal was taken
``ignored``        one was not; ``detail`` says why
``refused``        a transaction was not signed; ``detail`` says why
``submitted``      a target took a transaction
``resent``         a target took the same transaction again
``not_taken``      no target did; if it may land all the same, ``outcome`` is None
``landed``         it is on the chain and did what it should
``failed``         it is on the chain, with an error
``expired``        it is not on the chain, and never will be
``asked``          a fresh transaction was asked for
``ask_failed``     that was not possible
``ended``          there is nothing more to do; ``outcome`` says how it ended
``paused``         the kill switch is on
``resumed``        it is off again
``buy_refused``    a mirror buy was not submitted; ``detail`` says why
``buy_submitted``  a mirror buy was submitted
``buy_ended``      ``outcome`` says what became of it
=================  ====================================================================
"""

_WARNINGS = frozenset({"refused", "failed", "expired", "paused"})


@attrs.frozen(kw_only=True)
class AutoExitEvent:
    """One step of an auto-exit."""

    type: EventType
    at_ms: int
    """When, Unix epoch ms by our clock."""
    wallet: str | None = None
    mint: str | None = None
    symbol: str | None = None
    """Ticker symbol of the token."""
    token_account: str | None = None
    level: int | None = None
    """Level of the take-profit ladder; None is the whole position."""
    sale_id: int | None = None
    """Row of the sale in the journal."""
    attempt: int | None = None
    """Which transaction of the sale, from 1."""
    signature: str | None = None
    target: str | None = None
    """Who took the transaction."""
    slot: int | None = None
    """Where it landed."""
    slippage_bps: int | None = None
    """What was asked for."""
    outcome: str | None = None
    """How a sale, a transaction or a buy ended."""
    detail: str | None = None
    """More, in words."""

    def __str__(self) -> str:
        what = self.symbol or self.mint
        name = "" if what is None else f"{what}: "
        facts = [
            f"level {self.level}" if self.level is not None else None,
            f"attempt {self.attempt}" if self.attempt is not None else None,
            self.outcome,
            f"by {self.target}" if self.target is not None else None,
            f"slot {self.slot}" if self.slot is not None else None,
            f"slippage {self.slippage_bps} bps"
            if self.slippage_bps is not None
            else None,
            self.signature,
            self.detail,
        ]
        told = ", ".join(fact for fact in facts if fact is not None)
        return f"{name}{self.type.replace('_', ' ')}{': ' if told else ''}{told}"

    @property
    def is_warning(self) -> bool:
        """Whether somebody should look at it."""
        if self.type == "ended":
            return self.outcome == "gave_up"
        return self.type in _WARNINGS


class Reporter:
    """
    Logs each event in one line, then hands it to a callback.

    Args:
        callback: Called in threads of the auto-exit, all exits in one and each mirror buy
            in its own; it must be quick. What it raises is logged.
    """

    def __init__(self, callback: Callable[[AutoExitEvent], object] | None) -> None:
        self._callback = callback

    def report(self, event: AutoExitEvent) -> None:
        """Report an event."""
        log.log(logging.WARNING if event.is_warning else logging.INFO, "%s", event)
        if self._callback is None:
            return
        try:
            self._callback(event)
        except BaseException:
            # Also SystemExit, which would end the thread of all exits unseen.
            log.exception("the callback for auto-exit events failed on %s", event.type)
