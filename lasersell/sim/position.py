"""One position of a session: what is held, and how far it is on its way out."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lasersell.sim.ledger import Holding
from lasersell.sim.market import Pool
from lasersell.sim.markets import Market
from lasersell.sim.strategy import Exit, ExitState, Rulebook
from lasersell.sim.valuation import Valuation

__all__ = ["HeldExit", "Memory", "Position", "Progress", "SentExit"]


@attrs.frozen
class SentExit:
    """
    An exit signal that went out and whose sale has not landed.

    Attributes:
        decision: What it sells.
        slippage_bps: The slippage of its transaction.
        at_ms: When it was sent last, in Unix milliseconds.
    """

    decision: Exit
    slippage_bps: int
    at_ms: int


@attrs.frozen
class HeldExit:
    """
    An exit that the liquidity guard holds back.

    Attributes:
        decision: What it is to sell.
        since_ms: When it was decided, in Unix milliseconds.
    """

    decision: Exit
    since_ms: int


@attrs.define(eq=False)
class Progress:
    """
    How far a position is on its way out.

    Attributes:
        state: What the strategy's rules remember.
        sent: Exits that were signalled and have not landed, by level.
        held: Exits that the liquidity guard holds back, oldest first.
    """

    state: ExitState = attrs.field(factory=ExitState)
    sent: dict[int | None, SentExit] = attrs.field(factory=dict)
    held: list[HeldExit] = attrs.field(factory=list)

    @property
    def is_full(self) -> bool:
        """Whether one exit sells everything; nothing more is decided then."""
        if not self.sent and not self.held:
            return False
        return any(decision.tokens is None for decision in self._decisions())

    @property
    def spoken_for(self) -> int:
        """How much of the position partial exits take, in token atomic units."""
        return sum(decision.tokens or 0 for decision in self._decisions())

    def _decisions(self) -> Iterator[Exit]:
        for sent in self.sent.values():
            yield sent.decision
        for held in self.held:
            yield held.decision


Memory = dict[int, Progress]
"""What is remembered of each opening, by its number in the ledger."""


@attrs.define(eq=False)
class Position:
    """
    A holding that a session tracks.

    Attributes:
        position_id: Its id in this session.
        holding: What is held, as the ledger last said.
        market: Where it trades.
        is_watched: Whether it is somebody else's.
        progress: How far it is on its way out.
        rules: Those of its own strategy; None follows the session's.
        pool: The pool at the last tick.
        first_pool: The pool when it was first tracked.
        graduations: How often its token had graduated at the last tick.
    """

    position_id: int
    holding: Holding
    market: Market
    is_watched: bool = False
    progress: Progress = attrs.field(factory=Progress)
    rules: Rulebook | None = None
    pool: Pool = attrs.field(init=False)
    first_pool: Pool = attrs.field(init=False)
    graduations: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pool = self.first_pool = self.market.pool
        self.graduations = self.market.graduations

    @property
    def has_graduated(self) -> bool:
        """Whether its token graduated since the last tick."""
        return self.market.graduations > self.graduations

    def value(self) -> Valuation:
        """Return what it is worth now."""
        holding = self.holding
        return Valuation(
            holding.entry_quote_units, self.market.pool.proceeds(holding.tokens)
        )
