"""
One connected client, as the server sees it: messages in, messages out.

Pure: no socket, no thread. What a session knows dies with its connection, the
chain does not; so after a reconnect positions come back as they were bought,
while strategies of single positions and "stop tracking" are forgotten. Whether
peaks, ladders and exits under way are, is an option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

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
from lasersell.protocol.server import HelloOk, Pong, ServerMessage
from lasersell.protocol.strategy import StrategyConfig, validate_strategy
from lasersell.sim.chain import Chain
from lasersell.sim.exit_desk import DEFAULT_SLIPPAGE_BPS, ExitDesk
from lasersell.sim.ledger import Trade
from lasersell.sim.mirror import MirrorDesk
from lasersell.sim.options import SimOptions
from lasersell.sim.position import Memory, Position
from lasersell.sim.refusals import Refused, check_room
from lasersell.sim.reports import Sender
from lasersell.sim.strategy import Exit, Rulebook
from lasersell.sim.tracking import Tracker

__all__ = ["SimSession"]


class SimSession:
    """
    The state of one connection.

    The methods return what the server must send, in order. None of them may be
    called by two threads at once.

    Args:
        session_id: The id announced in ``hello_ok``.
        chain: The world this session reports on.
        options: How to behave.
        memory: What is kept from one connection of the key to the next.

    Attributes:
        strategy: The session's strategy; None before ``configure``.
    """

    def __init__(
        self,
        session_id: int,
        chain: Chain,
        options: SimOptions,
        memory: Memory | None = None,
    ) -> None:
        self.session_id = session_id
        self.strategy: StrategyConfig | None = None
        self._chain = chain
        self._options = options
        self._sender = Sender(session_id=session_id, has_table=options.lookup_tables)
        self._exits = ExitDesk(chain, options, self._sender)
        self._tracker = Tracker(
            chain, options, self._exits, {} if memory is None else memory
        )
        self._desk = MirrorDesk(chain, options, self._sender)
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
    def positions(self) -> dict[int, Position]:
        """What is tracked, by position id."""
        return self._tracker.positions

    @property
    def wallets(self) -> tuple[str, ...]:
        """The client's own wallets; empty before ``configure``."""
        return self._tracker.wallets

    @property
    def watch_wallets(self) -> tuple[WatchWallet, ...]:
        """The wallets it watches."""
        return self._desk.wallets

    @property
    def mints(self) -> set[str]:
        """The tokens whose prices this session watches."""
        return self._tracker.mints

    def greet(self) -> list[ServerMessage]:
        """Return ``hello_ok``, or the error in place of it, once."""
        if self._is_greeted:
            return []
        self._is_greeted = True
        if self._options.hello_error is not None:
            return [self._options.hello_error]
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
        if self._options.hello_error is not None and not isinstance(message, Ping):
            return self.greet()
        needs_configure = not isinstance(message, (Ping, Configure))
        try:
            if needs_configure and not self.is_configured:
                raise Refused("not_configured", "send configure first")
            return self._commands[type(message)](message)
        except Refused as refusal:
            return [refusal.frame]

    def _ping(self, _message: Ping) -> list[ServerMessage]:
        return [Pong(server_time_ms=self._chain.now_ms())]

    def _configure(self, message: Configure) -> list[ServerMessage]:
        # A second one on the same connection starts over; nothing forbids it.
        self._check_strategy(message.strategy)
        wallets = self._checked_wallets(message.wallet_pubkeys)
        self._check_watch_wallets(message.watch_wallets)
        self._set_strategy(message.strategy)
        self._sender.send_mode = message.send_mode
        self._sender.tip_lamports = message.tip_lamports
        self._desk.config = message.mirror_config or self._options.mirror_defaults
        self._desk.watch(message.watch_wallets)
        self._tracker.clear()
        return self.greet() + self._tracker.follow(wallets, self._desk.pubkeys)

    def _update_strategy(self, message: UpdateStrategy) -> list[ServerMessage]:
        self._check_strategy(message.strategy)
        self._set_strategy(message.strategy)
        if self._options.readings.position_strategy == "overwritten":
            for position in self.positions.values():
                position.rules = None
        return []

    def _set_strategy(self, strategy: StrategyConfig) -> None:
        self.strategy = strategy
        self._tracker.rules = Rulebook(strategy)

    def _update_position_strategy(
        self, message: UpdatePositionStrategy
    ) -> list[ServerMessage]:
        position = self._find(message.position_id, None)
        self._check_strategy(message.strategy)
        position.rules = Rulebook(message.strategy)
        return []

    def _update_wallets(self, message: UpdateWallets) -> list[ServerMessage]:
        wallets = self._checked_wallets(message.wallet_pubkeys)
        return self._tracker.follow(wallets, self._desk.pubkeys)

    def _update_watch_wallets(self, message: UpdateWatchWallets) -> list[ServerMessage]:
        self._check_watch_wallets(message.watch_wallets)
        self._desk.watch(message.watch_wallets)
        return self._tracker.follow(self.wallets, self._desk.pubkeys)

    def _mirror_buy_result(self, message: MirrorBuyResult) -> list[ServerMessage]:
        return self._desk.report(message.mint, message.success)

    def _close_position(self, message: ClosePosition) -> list[ServerMessage]:
        position = self._find(message.position_id, message.token_account)
        return [self._tracker.stop(position, "manual")]

    def _request_exit_signal(self, message: RequestExitSignal) -> list[ServerMessage]:
        position = self._find(message.position_id, message.token_account)
        slippage_bps = message.slippage_bps
        if slippage_bps is None:
            slippage_bps = DEFAULT_SLIPPAGE_BPS
        return [self._exits.signal(position, Exit("sell_now"), slippage_bps)]

    def _find(self, position_id: int | None, token_account: str | None) -> Position:
        if (position_id is None) == (token_account is None):
            raise Refused(
                "invalid_message", "name one of position_id and token_account"
            )
        if token_account is not None:
            position = self._tracker.with_account(token_account)
        else:
            position = self.positions.get(position_id or 0)
        if position is None:
            raise Refused("unknown_position", "this session tracks no such position")
        return position

    # --- checks ---------------------------------------------------------------

    def _check_strategy(self, strategy: StrategyConfig) -> None:
        # A client with a deadline may send a strategy in which nothing is set.
        assumed_deadline = 0.0 if self._options.require_exit_condition else 1.0
        try:
            validate_strategy(strategy, assumed_deadline)
        except ConfigurationError as error:
            raise Refused("invalid_strategy", str(error)) from error
        is_advanced = (
            strategy.take_profit_levels
            or strategy.liquidity_guard
            or strategy.breakeven_trail_pct
        )
        if is_advanced and not self._options.advanced_exits:
            raise Refused(
                "invalid_strategy",
                "take_profit_levels, liquidity_guard and breakeven_trail_pct "
                "need a paid tier",
            )

    def _checked_wallets(self, named: Iterable[str]) -> tuple[str, ...]:
        wallets = tuple(dict.fromkeys(named))
        for wallet in wallets:
            if not self._chain.is_registered(wallet):
                raise Refused(
                    "wallet_not_registered", f"wallet {wallet[:44]} is not registered"
                )
        check_room(self._options.limits, "max_wallets_per_session", len(wallets))
        return wallets

    def _check_watch_wallets(self, wallets: Iterable[WatchWallet]) -> None:
        named = {wallet.pubkey for wallet in wallets}
        check_room(self._options.limits, "max_watch_wallets_per_session", len(named))

    # --- what happens on the chain --------------------------------------------

    def see_trade(self, trade: Trade) -> list[ServerMessage]:
        """Return what the client is told about a trade that landed."""
        messages = self._tracker.see_trade(trade)
        if self._desk.wallets:
            messages += self._desk.see_trade(trade)
            messages += self._follow(trade)
        return messages

    def _follow(self, trade: Trade) -> list[ServerMessage]:
        if trade.side == "buy":
            return []
        return [
            self._exits.signal(position, Exit("mirror_sell"))
            for position in self.positions.values()
            if not position.progress.is_full
            and self._desk.follows(position.holding, trade)
        ]

    def tick(self) -> list[ServerMessage]:
        """Return what one tick brings: exit signals first, then the profits."""
        return self._tracker.tick()
