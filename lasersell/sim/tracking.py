"""
The positions one session tracks, and what the client is told of them.

A tick says first which positions must be sold, in the order they were opened, then
for each what it is worth, what the pool takes, and what moved its price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs

from lasersell.protocol.server import PositionClosed, PositionOpened, ServerMessage
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim.chain import Chain
from lasersell.sim.exit_desk import ExitDesk
from lasersell.sim.ledger import Holding, Trade
from lasersell.sim.options import SimOptions
from lasersell.sim.position import Memory, Position, Progress
from lasersell.sim.refusals import Refused, check_room
from lasersell.sim.reports import (
    balance_update,
    liquidity_snapshot,
    move_tick,
    pnl_update,
    position_closed,
    position_opened,
    trade_tick,
)
from lasersell.sim.strategy import Rulebook

__all__ = ["Tracker"]


class Tracker:
    """
    The positions of one session.

    Its methods return what the server must send, in order.

    Args:
        chain: The world to report on.
        options: How to behave.
        exits: Who decides on them and signals them.
        memory: What is kept from one connection of the key to the next.

    Attributes:
        positions: What is tracked, by position id.
        wallets: The client's own wallets.
        watched: The wallets that it watches and that are not its own.
        rules: What holds for positions without a strategy of their own.
    """

    def __init__(
        self, chain: Chain, options: SimOptions, exits: ExitDesk, memory: Memory
    ) -> None:
        self.positions: dict[int, Position] = {}
        self.wallets: tuple[str, ...] = ()
        self.watched: tuple[str, ...] = ()
        self.rules = Rulebook(StrategyConfig())
        self._chain = chain
        self._options = options
        self._exits = exits
        self._memory = memory
        self._by_account: dict[str, Position] = {}
        self._own: Counter[str] = Counter()

    @property
    def mints(self) -> set[str]:
        """The tokens whose prices this session watches."""
        return {position.holding.mint for position in self.positions.values()}

    def with_account(self, token_account: str) -> Position | None:
        """Return the position on a token account, if it is tracked."""
        return self._by_account.get(token_account)

    # --- tracking -------------------------------------------------------------

    def clear(self) -> None:
        """Stop tracking everything, without a word."""
        self.wallets = self.watched = ()
        self.positions.clear()
        self._by_account.clear()
        self._own.clear()

    def follow(
        self, wallets: Iterable[str], watched: Iterable[str]
    ) -> list[ServerMessage]:
        """
        Track what these wallets hold, and from now on what they buy, and nobody else's.

        Args:
            wallets: The client's own; their balances are told too.
            watched: Those it watches; one that is both is its own.
        """
        before = self.wallets, self.watched
        self.wallets = tuple(dict.fromkeys(wallets))
        self.watched = tuple(
            wallet for wallet in dict.fromkeys(watched) if wallet not in self.wallets
        )
        ended = [
            self.stop(position, "manual")
            for position in list(self.positions.values())
            if not self._is_followed(position)
        ]
        begun = [wallet for wallet in self.wallets if wallet not in before[0]]
        begun += [wallet for wallet in self.watched if wallet not in before[1]]
        return [*ended, *self._report_holdings(begun)]

    def _is_followed(self, position: Position) -> bool:
        wallet = position.holding.wallet
        if position.is_watched:
            return wallet in self.watched
        is_kept = self._options.readings.removed_wallets == "kept"
        return is_kept or wallet in self.wallets

    def _report_holdings(self, wallets: Iterable[str]) -> list[ServerMessage]:
        return [
            message
            for wallet in wallets
            for holding in self._chain.ledger.holdings(wallet)
            if holding.token_account not in self._by_account
            for message in self._report(holding, is_again=True)
        ]

    def _report(
        self, holding: Holding, *, is_again: bool = False
    ) -> list[ServerMessage]:
        if is_again and self._options.position_facts == "renewed":
            holding = attrs.evolve(
                holding, slot=self._chain.slot, opened_at_ms=self._chain.now_ms()
            )
        if holding.wallet not in self.wallets:
            # A balance_update cannot say that it is not one of the client's own.
            return [self._start(holding, is_watched=True)]
        balance = balance_update(holding, holding.tokens, self._chain.slot)
        try:
            self._check_room(holding.wallet)
        except Refused as refusal:
            return [balance, refusal.frame]
        return [balance, self._start(holding, is_watched=False)]

    def _check_room(self, wallet: str) -> None:
        # Positions of watched wallets are not ours, and take no room.
        limits = self._options.limits
        check_room(limits, "max_positions_per_session", self._own.total() + 1)
        check_room(limits, "max_positions_per_wallet", self._own[wallet] + 1)

    def _start(self, holding: Holding, *, is_watched: bool) -> PositionOpened:
        is_kept = self._options.position_ids == "kept"
        position_id = holding.position_id if is_kept else self._chain.next_position_id()
        market = self._chain.market(holding.mint)
        progress = Progress()
        if self._options.exit_state == "kept":
            progress = self._memory.setdefault(holding.position_id, progress)
        position = Position(position_id, holding, market, is_watched, progress)
        self.positions[position_id] = position
        self._by_account[holding.token_account] = position
        if not is_watched:
            self._own[holding.wallet] += 1
        return position_opened(position)

    def stop(
        self, position: Position, reason: str, slot: int | None = None
    ) -> PositionClosed:
        """Stop tracking a position, as of a slot; None is the one the chain is in."""
        holding = position.holding
        del self.positions[position.position_id]
        del self._by_account[holding.token_account]
        if not position.is_watched:
            self._own[holding.wallet] -= 1
        slot = self._chain.slot if slot is None else slot
        return position_closed(position, reason, slot)

    # --- what happens on the chain --------------------------------------------

    def see_trade(self, trade: Trade) -> list[ServerMessage]:
        """Return what the client is told about a trade that landed."""
        return self._trade_ticks(trade) + self._see_own(trade)

    def _see_own(self, trade: Trade) -> list[ServerMessage]:
        holding = trade.holding
        position = self._by_account.get(holding.token_account)
        is_own = holding.wallet in self.wallets
        if trade.side == "buy":
            is_followed = is_own or holding.wallet in self.watched
            return self._report(holding) if is_followed else []
        messages: list[ServerMessage] = []
        if is_own or (position is not None and not position.is_watched):
            messages.append(balance_update(holding, trade.balance, self._chain.slot))
        if position is not None:
            messages += self._shrink(position, trade)
        return messages

    def _shrink(self, position: Position, trade: Trade) -> list[ServerMessage]:
        left = self._chain.ledger.holding(trade.holding.token_account)
        if left is None:
            self._memory.pop(position.holding.position_id, None)
            return [self.stop(position, trade.reason, trade.slot)]
        if trade.level_index is not None:
            # Only a level sells a part; any other part was sold by hand, and a full
            # exit that is under way stays so.
            position.progress.sent.pop(trade.level_index, None)
        position.holding = left
        return []

    def _trade_ticks(self, trade: Trade) -> list[ServerMessage]:
        if not self._options.trade_ticks:
            return []
        return [
            trade_tick(position, trade)
            for position in self.positions.values()
            if position.holding.mint == trade.holding.mint
        ]

    # --- ticks ----------------------------------------------------------------

    def tick(self) -> list[ServerMessage]:
        """
        Return what one tick brings: exit signals first, then a PnL for each position.

        A position that triggered still gets its PnL, until its sale lands.
        """
        now_ms = self._chain.now_ms()
        signals: list[ServerMessage] = []
        updates: list[ServerMessage] = []
        has_more = self._options.liquidity_snapshots or self._options.trade_ticks
        for position in self.positions.values():
            value = position.value()
            if not position.is_watched or self._options.watched_exits:
                rules = position.rules or self.rules
                signals += self._exits.judge(position, rules, value)
            updates.append(pnl_update(position, value, now_ms))
            if has_more:
                updates += self._more(position, now_ms)
            position.pool = position.market.pool
            position.graduations = position.market.graduations
        return signals + updates

    def _more(self, position: Position, now_ms: int) -> list[ServerMessage]:
        messages: list[ServerMessage] = []
        if self._options.liquidity_snapshots:
            messages.append(liquidity_snapshot(position, now_ms))
        if self._options.trade_ticks and position.pool != position.market.pool:
            messages.append(move_tick(position, now_ms))
        return messages
