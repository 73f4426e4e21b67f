"""
The exits of one session: when they are decided, held back, signalled and refreshed.

On each tick a position has first the signals that are to be refreshed, then the rules
of its strategy, then the exits that the liquidity guard lets go. A full exit is
decided once; a partial one leaves the rest under the rules.
"""

from __future__ import annotations

import attrs

from lasersell.protocol.server import ExitSignalWithTx
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.chain import Chain
from lasersell.sim.markets import Market
from lasersell.sim.options import SimOptions
from lasersell.sim.orders import PendingExit
from lasersell.sim.position import HeldExit, Position, SentExit
from lasersell.sim.reports import Sender, exit_signal
from lasersell.sim.strategy import Exit, Rulebook, Surroundings
from lasersell.sim.valuation import Valuation
from lasersell.sim.venues import GRADUATES_TO

__all__ = ["DEFAULT_SLIPPAGE_BPS", "ExitDesk"]

DEFAULT_SLIPPAGE_BPS = 1000
"""
The slippage of an exit that names none, and the most that a liquidity guard accepts.

Neither number is documented.
"""


class ExitDesk:
    """
    Sends the exit signals of one session.

    Args:
        chain: Where their sales land.
        options: How to behave.
        sender: How the client submits transactions.
    """

    def __init__(self, chain: Chain, options: SimOptions, sender: Sender) -> None:
        self._chain = chain
        self._options = options
        self._sender = sender
        self._nothing_special = Surroundings(readings=options.readings)

    def signal(
        self,
        position: Position,
        decision: Exit,
        slippage_bps: int = DEFAULT_SLIPPAGE_BPS,
    ) -> ExitSignalWithTx:
        """Return an exit signal, whatever the strategy says; its sale may land now."""
        now_ms = self._chain.now_ms()
        sent = SentExit(decision, slippage_bps, now_ms)
        position.progress.sent[decision.level_index] = sent
        signal = exit_signal(
            position,
            decision,
            self._sender,
            slippage_bps=slippage_bps,
            blockhash=self._chain.blockhash(),
            now_ms=now_ms,
        )
        if not position.is_watched:
            self._expect_sale(signal, decision, now_ms)
        return signal

    def _expect_sale(
        self, signal: ExitSignalWithTx, decision: Exit, now_ms: int
    ) -> None:
        delay_ms = self._options.auto_sell_after_ms
        pending = PendingExit(
            decision.reason,
            None if delay_ms is None else now_ms + delay_ms,
            decision.level_index,
            decision.tokens,
        )
        assert signal.token_account is not None, "ours always name it"
        self._chain.orders.expect_exit(signal.token_account, pending)
        self._chain.orders.offer(signal.unsigned_tx_b64, pending)

    # --- on each tick ---------------------------------------------------------

    def judge(
        self, position: Position, rules: Rulebook, value: Valuation
    ) -> list[ExitSignalWithTx]:
        """Return the signals of one position on one tick."""
        progress = position.progress
        signals: list[ExitSignalWithTx] = []
        if progress.sent and self._options.refresh_after_ms is not None:
            signals += self._refresh(position, self._options.refresh_after_ms)
        if progress.is_full:
            progress.state.see(value)
        else:
            signals += self._ask_rules(position, rules, value)
        if progress.held:
            signals += self._release(position)
        return signals

    def _refresh(self, position: Position, after_ms: int) -> list[ExitSignalWithTx]:
        now_ms = self._chain.now_ms()
        return [
            self.signal(position, sent.decision, sent.slippage_bps)
            for sent in list(position.progress.sent.values())
            if now_ms - sent.at_ms >= after_ms
        ]

    def _ask_rules(
        self, position: Position, rules: Rulebook, value: Valuation
    ) -> list[ExitSignalWithTx]:
        progress = position.progress
        signals: list[ExitSignalWithTx] = []
        while not progress.is_full:
            around = (
                self._around(position) if rules.looks_around else self._nothing_special
            )
            decision = rules.decide(value, progress.state, around)
            if decision is None:
                break
            if decision.tokens == position.holding.tokens:
                decision = attrs.evolve(decision, tokens=None)
            if decision.tokens is None:
                # It sells what partial exits that were held back would have sold.
                progress.held.clear()
            if self._is_deferred(rules.strategy):
                progress.held.append(HeldExit(decision, self._chain.now_ms()))
            else:
                signals.append(self.signal(position, decision))
        return signals

    def _around(self, position: Position) -> Surroundings:
        pool = position.market.pool
        return Surroundings(
            readings=self._options.readings,
            free_tokens=max(0, position.holding.tokens - position.progress.spoken_for),
            sellable_tokens=pool.max_tokens_within(DEFAULT_SLIPPAGE_BPS),
            has_graduated=position.has_graduated and self._counts(position.market),
            has_drained=2 * pool.quote_reserve <= position.first_pool.quote_reserve,
        )

    def _counts(self, market: Market) -> bool:
        """Tell whether a token that graduated to this market did so for the rules."""
        reading = self._options.readings.graduation
        return reading == "every_platform" or (
            market.market_type == GRADUATES_TO["pump_fun"]
        )

    def _is_deferred(self, strategy: StrategyConfig) -> bool:
        reading = self._options.readings.liquidity_guard
        return strategy.liquidity_guard and reading == "defer"

    def _release(self, position: Position) -> list[ExitSignalWithTx]:
        sellable = position.market.pool.max_tokens_within(DEFAULT_SLIPPAGE_BPS)
        since_ms = self._chain.now_ms() - self._options.guard_timeout_ms
        signals: list[ExitSignalWithTx] = []
        for held in list(position.progress.held):
            tokens = held.decision.tokens or position.holding.tokens
            if tokens <= sellable or held.since_ms <= since_ms:
                position.progress.held.remove(held)
                signals.append(self.signal(position, held.decision))
        return signals
