"""
One connected client, as the server sees it: messages in, messages out.

Pure: no socket, no thread. What a session knows dies with its connection, the
chain does not; so after a reconnect positions come back as they were bought,
while peaks, strategies of single positions and "stop tracking" are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    Configure,
    MirrorBuyResult,
    Ping,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import (
    ExitSignalWithTx,
    HelloOk,
    Pong,
    PositionClosed,
    PositionOpened,
    ServerError,
    ServerMessage,
)
from lasersell.protocol.strategy import StrategyConfig, validate_strategy
from lasersell.sim.chain import Chain
from lasersell.sim.ledger import Holding, Trade
from lasersell.sim.market import Pool
from lasersell.sim.options import SimOptions
from lasersell.sim.reports import (
    balance_update,
    exit_signal,
    liquidity_snapshot,
    pnl_update,
    position_closed,
    position_opened,
)
from lasersell.sim.strategy import ExitState, Valuation, evaluate

__all__ = ["Position", "SimSession"]

_DEFAULT_SLIPPAGE_BPS = 1000


@attrs.define(eq=False)
class Position:
    """
    A holding this session tracks.

    Attributes:
        position_id: Its id in this session.
        holding: What is held, as the ledger last said.
        pool: The pool at the last tick.
        state: What the strategy's rules remember.
        strategy: Its own strategy; None follows the session's.
        is_exiting: Whether the strategy triggered; it triggers once.
    """

    position_id: int
    holding: Holding
    pool: Pool
    state: ExitState = attrs.field(factory=ExitState)
    strategy: StrategyConfig | None = None
    is_exiting: bool = False


class _Refusal(Exception):
    """A command is answered with an ``error`` frame and changes nothing."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.frame = ServerError(code=code, message=message)


class SimSession:
    """
    The state of one connection.

    The methods return what the server must send, in order. None of them may be
    called by two threads at once.

    Args:
        session_id: The id announced in ``hello_ok``.
        chain: The world this session reports on.
        options: How to behave.

    Attributes:
        wallets: The client's own wallets; empty before ``configure``.
        watch_wallets: The wallets it watches.
        strategy: The session's strategy; None before ``configure``.
        positions: What is tracked, by position id.
    """

    def __init__(self, session_id: int, chain: Chain, options: SimOptions) -> None:
        self.session_id = session_id
        self.wallets: tuple[str, ...] = ()
        self.watch_wallets: tuple[WatchWallet, ...] = ()
        self.strategy: StrategyConfig | None = None
        self.positions: dict[int, Position] = {}
        self._chain = chain
        self._options = options
        self._tip_lamports = 0
        self._is_greeted = False
        self._commands: dict[type[Any], Callable[[Any], list[ServerMessage]]] = {
            Ping: self._ping,
            Configure: self._configure,
            UpdateStrategy: self._update_strategy,
            ClosePosition: self._close_position,
            RequestExitSignal: self._request_exit_signal,
            UpdateWallets: self._update_wallets,
            UpdateWatchWallets: self._update_watch_wallets,
            UpdatePositionStrategy: self._update_position_strategy,
            MirrorBuyResult: self._mirror_buy_result,
        }

    @property
    def is_configured(self) -> bool:
        """Whether a ``configure`` was accepted."""
        return self.strategy is not None

    @property
    def mints(self) -> set[str]:
        """The tokens whose prices this session watches."""
        return {position.holding.mint for position in self.positions.values()}

    def greet(self) -> list[ServerMessage]:
        """Return ``hello_ok``, once."""
        if self._is_greeted:
            return []
        self._is_greeted = True
        return [
            HelloOk(
                session_id=self.session_id,
                server_time_ms=self._chain.now_ms(),
                limits=self._options.limits,
            )
        ]

    # --- commands -------------------------------------------------------------

    def receive(self, message: ClientMessage) -> list[ServerMessage]:
        """Return the answer to a command; an ``error`` frame if it is refused."""
        needs_configure = not isinstance(message, (Ping, Configure))
        try:
            if needs_configure and not self.is_configured:
                raise _Refusal("not_configured", "send configure first")
            return self._commands[type(message)](message)
        except _Refusal as refusal:
            return [refusal.frame]

    def _ping(self, _message: Ping) -> list[ServerMessage]:
        return [Pong(server_time_ms=self._chain.now_ms())]

    def _configure(self, message: Configure) -> list[ServerMessage]:
        # A second one on the same connection starts over; nothing forbids it.
        self._check_strategy(message.strategy)
        wallets = self._checked_wallets(message.wallet_pubkeys)
        self._check_watch_wallets(message.watch_wallets)
        self.strategy = message.strategy
        self.watch_wallets = message.watch_wallets
        self.wallets = wallets
        self._tip_lamports = message.tip_lamports or 0
        self.positions.clear()
        return self.greet() + self._report_wallets(self.wallets)

    def _update_strategy(self, message: UpdateStrategy) -> list[ServerMessage]:
        # Positions with a strategy of their own keep it; the documents are silent.
        self._check_strategy(message.strategy)
        self.strategy = message.strategy
        return []

    def _update_position_strategy(
        self, message: UpdatePositionStrategy
    ) -> list[ServerMessage]:
        position = self._find(message.position_id, None)
        self._check_strategy(message.strategy)
        position.strategy = message.strategy
        return []

    def _update_wallets(self, message: UpdateWallets) -> list[ServerMessage]:
        # Of the two documents that differ, the API reference: tracking stops.
        wallets = self._checked_wallets(message.wallet_pubkeys)
        added = [wallet for wallet in wallets if wallet not in self.wallets]
        self.wallets = wallets
        removed = [
            position
            for position in self.positions.values()
            if position.holding.wallet not in self.wallets
        ]
        closed = [self._stop_tracking(position, "manual") for position in removed]
        return [*closed, *self._report_wallets(added)]

    def _update_watch_wallets(self, message: UpdateWatchWallets) -> list[ServerMessage]:
        self._check_watch_wallets(message.watch_wallets)
        self.watch_wallets = message.watch_wallets
        return []

    def _mirror_buy_result(self, _message: MirrorBuyResult) -> list[ServerMessage]:
        return []

    def _close_position(self, message: ClosePosition) -> list[ServerMessage]:
        position = self._find(message.position_id, message.token_account)
        return [self._stop_tracking(position, "manual")]

    def _request_exit_signal(self, message: RequestExitSignal) -> list[ServerMessage]:
        position = self._find(message.position_id, message.token_account)
        slippage_bps = message.slippage_bps
        if slippage_bps is None:
            slippage_bps = _DEFAULT_SLIPPAGE_BPS
        return [self._signal(position, "sell_now", slippage_bps)]

    def _find(self, position_id: int | None, token_account: str | None) -> Position:
        if (position_id is None) == (token_account is None):
            raise _Refusal(
                "invalid_message", "name one of position_id and token_account"
            )
        for position in self.positions.values():
            if token_account in (None, position.holding.token_account) and (
                position_id in (None, position.position_id)
            ):
                return position
        raise _Refusal("unknown_position", "this session tracks no such position")

    # --- checks ---------------------------------------------------------------

    def _check_strategy(self, strategy: StrategyConfig) -> None:
        # A client with a deadline may send a strategy in which nothing is set.
        assumed_deadline = 0.0 if self._options.require_exit_condition else 1.0
        try:
            validate_strategy(strategy, assumed_deadline)
        except ConfigurationError as error:
            raise _Refusal("invalid_strategy", str(error)) from error

    def _checked_wallets(self, named: Iterable[str]) -> tuple[str, ...]:
        wallets = tuple(dict.fromkeys(named))
        for wallet in wallets:
            if not self._chain.is_registered(wallet):
                raise _Refusal(
                    "wallet_not_registered", f"wallet {wallet[:44]} is not registered"
                )
        self._check_room("max_wallets_per_session", len(wallets))
        return wallets

    def _check_watch_wallets(self, wallets: Sequence[WatchWallet]) -> None:
        self._check_room("max_watch_wallets_per_session", len(wallets))

    def _check_room(self, limit: str, wanted: int) -> None:
        allowed: int | None = getattr(self._options.limits, limit)
        # 0 means unknown on the wire, and no limit here.
        if allowed and wanted > allowed:
            raise _Refusal("capacity_exceeded", f"{limit} limit reached")

    # --- positions ------------------------------------------------------------

    def _report_wallets(self, wallets: Iterable[str]) -> list[ServerMessage]:
        return [
            message
            for wallet in wallets
            for holding in self._chain.ledger.holdings(wallet)
            for message in self._report_holding(holding)
        ]

    def _report_holding(self, holding: Holding) -> list[ServerMessage]:
        balance = balance_update(holding, holding.tokens, self._chain.slot)
        try:
            return [balance, self._start_tracking(holding)]
        except _Refusal as refusal:
            return [balance, refusal.frame]

    def _start_tracking(self, holding: Holding) -> PositionOpened:
        in_wallet = sum(
            position.holding.wallet == holding.wallet
            for position in self.positions.values()
        )
        self._check_room("max_positions_per_session", len(self.positions) + 1)
        self._check_room("max_positions_per_wallet", in_wallet + 1)
        is_kept = self._options.position_ids == "kept"
        position_id = holding.position_id if is_kept else self._chain.next_position_id()
        market = self._chain.market(holding.mint)
        self.positions[position_id] = Position(position_id, holding, market.pool)
        return position_opened(position_id, holding, market)

    def _stop_tracking(self, position: Position, reason: str) -> PositionClosed:
        del self.positions[position.position_id]
        return position_closed(
            position.position_id, position.holding, reason, self._chain.slot
        )

    # --- what happens on the chain --------------------------------------------

    def see_trade(self, trade: Trade) -> list[ServerMessage]:
        """Return what the client is told about a trade that landed."""
        if trade.holding.wallet not in self.wallets:
            return []
        if trade.side == "buy":
            return self._report_holding(trade.holding)
        messages: list[ServerMessage] = [
            balance_update(trade.holding, trade.balance, self._chain.slot)
        ]
        for position in list(self.positions.values()):
            if position.holding.token_account == trade.holding.token_account:
                messages += self._shrink(position, trade)
        return messages

    def _shrink(self, position: Position, trade: Trade) -> list[ServerMessage]:
        left = self._chain.ledger.holding(trade.holding.token_account)
        if left is None:
            return [self._stop_tracking(position, trade.reason)]
        position.holding = left
        return []

    def tick(self) -> list[ServerMessage]:
        """
        Return what one tick brings: exit signals first, then a PnL for each position.

        A position that triggered still gets its PnL, until its sale lands.
        """
        now_ms = self._chain.now_ms()
        signals: list[ServerMessage] = []
        updates: list[ServerMessage] = []
        for position in self.positions.values():
            market = self._chain.market(position.holding.mint)
            value = self._value(position)
            signals += self._evaluate(position, value)
            updates.append(pnl_update(position.position_id, value, market, now_ms))
            if self._options.liquidity_snapshots:
                updates.append(
                    liquidity_snapshot(
                        position.position_id,
                        position.holding.tokens,
                        position.pool,
                        market.pool,
                        now_ms,
                    )
                )
            position.pool = market.pool
        return signals + updates

    def _value(self, position: Position) -> Valuation:
        holding = position.holding
        return Valuation(holding.entry_quote_units, self._chain.proceeds(holding))

    def _evaluate(self, position: Position, value: Valuation) -> list[ServerMessage]:
        strategy = position.strategy or self.strategy
        assert strategy is not None, "only a configured session has positions"
        decision = evaluate(strategy, value, position.state)
        if decision is None or position.is_exiting:
            return []
        return [self._signal(position, decision.reason, _DEFAULT_SLIPPAGE_BPS)]

    def _signal(
        self, position: Position, reason: str, slippage_bps: int
    ) -> ExitSignalWithTx:
        position.is_exiting = True
        now_ms = self._chain.now_ms()
        delay_ms = self._options.auto_sell_after_ms
        self._chain.expect_exit(
            position.holding, reason, None if delay_ms is None else now_ms + delay_ms
        )
        return exit_signal(
            position.holding,
            self._chain.market(position.holding.mint),
            self._value(position),
            session_id=self.session_id,
            position_id=position.position_id,
            reason=reason,
            slippage_bps=slippage_bps,
            tip_lamports=self._tip_lamports,
            slot=self._chain.slot,
            now_ms=now_ms,
        )
