"""
The blocking facade: :class:`StreamSession`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar, overload

import attrs

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.errors import ConfigurationError
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import LiquidityBand, PnlUpdate
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.callbacks import Callback, CallbackRegistry
from lasersell.session.core import DeadlineSettings, SessionCore
from lasersell.session.dispatch import Dispatcher
from lasersell.session.events import StreamEvent
from lasersell.session.exclusive import Exclusive, claim
from lasersell.session.observers import Hook, Observation, Observers
from lasersell.session.positions import PositionHandle
from lasersell.stream.client import (
    CLOSE_TIMEOUT,
    StreamClient,
    StreamHandle,
    check_capacity,
    check_configure,
    open_stream,
)
from lasersell.stream.intent import HoldSettings
from lasersell.stream.lanes import Lanes
from lasersell.stream.lifecycle import is_last
from lasersell.stream.options import StreamConfigure, check_seconds
from lasersell.stream.supervisor import Supervisor

__all__ = ["Position", "StreamSession"]

Position = PositionHandle | int | str
"""A handle, a position id of the present connection, or a token account."""

F = TypeVar("F", bound=Callback)


class StreamSession(StreamHandle[StreamEvent]):
    """
    A stream with its positions, deadlines, callbacks, and a blocking ``recv()``.

    Made by :meth:`connect`; use it in a ``with`` block. Look-ups and commands may
    be used from any thread; one thread at a time receives.
    """

    def __init__(self, stream: Supervisor[StreamEvent], core: SessionCore) -> None:
        super().__init__(stream)
        self._core = core
        self._callbacks = CallbackRegistry()
        self._receiver = stream.lanes.receiver()
        self._dispatcher = Dispatcher(self._receiver, self._callbacks)
        self._observers = Observers(stream.lanes)

    @classmethod
    def connect(
        cls,
        client: StreamClient,
        configure: StreamConfigure,
        *,
        timeout: float = 10.0,
        wait_configured: float = 0.25,
        low_priority_capacity: int = 1024,
        resync_window: float = 5.0,
        deadline_from: Literal["opened", "seen"] = "opened",
        deadline_grace_sec: float = 5.0,
        deadline_retry_sec: float = 5.0,
        hold_capacity: int = 256,
        hold_max_age: float = 30.0,
        exclusive: Exclusive = False,
    ) -> StreamSession:
        """
        Connect, configure, and return the session.

        Blocks for ``timeout + wait_configured`` seconds at most, with
        ``exclusive="wait"`` from the moment a session is free. The session
        reconnects by itself; the first connect fails fast. All times are seconds.

        Args:
            client: Where the stream is.
            configure: What to watch and when to exit.
            timeout: For names, TCP, TLS, upgrade and ``hello_ok`` together.
            wait_configured: How long the server may take to reject ``configure``.
            low_priority_capacity: Events in the low lane before the oldest is dropped.
            resync_window: Quiet time after a reconnect until a position that was
                not named again counts as lost.
            deadline_from: What a deadline counts from: ``opened``, the position's
                opening by the server's clock, or ``seen``, its first event here.
            deadline_grace_sec: How long a position that is overdue when first seen
                is left alone.
            deadline_retry_sec: After how long an exit that was not answered is
                asked for again.
            hold_capacity: Commands given while offline that are held at most.
            hold_max_age: After how long offline a held command expires.
            exclusive: Whether other processes of this user must not stream with this
                key meanwhile: True fails if one does already, ``"wait"`` stands by
                until it ends. Needs the extra ``exclusive``; see
                :mod:`lasersell.session.exclusive`.

        Raises:
            SessionInUseError: Another process streams with this key; names its pid.
            AuthenticationError: The key was refused.
            HandshakeError: The upgrade or the configuration was refused.
            ConnectError: The network, TLS or the proxy failed; see its subclasses.
            ConfigurationError: An argument is wrong.
        """
        if not isinstance(client, StreamClient):
            raise ConfigurationError(
                f"client must be a StreamClient, not {type(client).__name__}"
            )
        check_configure(configure)
        if deadline_from not in ("opened", "seen"):
            raise ConfigurationError(
                f"deadline_from must be 'opened' or 'seen', not {deadline_from!r}"
            )
        core = SessionCore(
            DeadlineSettings(
                timeout=configure.deadline_timeout_sec,
                counted_from=deadline_from,
                grace=check_seconds("deadline_grace_sec", deadline_grace_sec),
            ),
            SYSTEM_CLOCK,
        )
        lanes: Lanes[StreamEvent] = Lanes(
            client.options.high_capacity,
            check_capacity(low_priority_capacity),
            is_last=lambda event: is_last(event.message),
        )
        hold = HoldSettings(
            capacity=hold_capacity,
            max_age=check_seconds("hold_max_age", hold_max_age),
            retry_after=check_seconds("deadline_retry_sec", deadline_retry_sec, 0.01),
        )
        with claim(client.options.api_key, exclusive) as key_hold:

            def prepare(stream: Supervisor[StreamEvent]) -> None:
                core.attach(stream)
                if key_hold is not None:
                    stream.on_ended = key_hold.release

            stream = open_stream(
                client.options,
                configure,
                lanes,
                core,
                timeout=timeout,
                wait_configured=wait_configured,
                hold=hold,
                resync_window=check_seconds("resync_window", resync_window),
                prepare=prepare,
            )
            if key_hold is not None and stream.limits is not None:
                key_hold.allow(stream.limits.max_sessions_per_api_key)
        return cls(stream, core)

    # Receiving

    def recv(self, timeout: float | None = None) -> StreamEvent | None:
        """
        Return the next event, high lane first; None once the session was closed.

        Blocks until one comes. One thread at a time may call this. Interrupted by
        Ctrl-C it loses nothing: the next call may repeat an event of the high lane.

        Args:
            timeout: Seconds to wait; None is for ever, 0 or less only looks.

        Raises:
            TimeoutError: Nothing came in time.
            ConcurrencyError: Another thread is receiving, or callbacks are.
            LaserSellError: The error that ended the stream, at every later call.
        """
        if self._dispatcher.is_dispatching:
            self._dispatcher.check_idle()
        return self._receiver.get(timeout)

    def __iter__(self) -> Iterator[StreamEvent]:
        """Iterate over the events until the session is closed."""
        self._dispatcher.check_idle()
        return self._receiver.each(self)

    def wait_for(
        self,
        type: str,
        position: Position | None = None,
        timeout: float | None = None,
    ) -> StreamEvent:
        """
        Return the next event of one type, of one position if given.

        Receives like :meth:`recv`. High-lane events that it passes over stay where
        they are for the next ``recv()``; low-lane ones are skipped.

        Args:
            type: Such as ``exit_signal_with_tx``.
            position: A handle, an id, or a token account; None is any.
            timeout: Seconds to wait; None is for ever.

        Raises:
            TimeoutError: None came in time.
            StreamError: The session was closed or failed first.
        """
        self._dispatcher.check_idle()

        def matches(event: StreamEvent) -> bool:
            return event.type == type and (
                position is None or _concerns(event, position)
            )

        return self._receiver.find(matches, timeout, what=type)

    # Callbacks

    @overload
    def on(self, type: str) -> Callable[[F], F]: ...

    @overload
    def on(self, type: str, callback: F) -> F: ...

    def on(self, type: str, callback: Any = None) -> Any:
        """
        Call ``callback`` with each event of a type; ``"*"`` is every type.

        Without a callback it is a decorator. Callbacks run one after the other in
        the thread of :meth:`run` or :meth:`start`; one that raises is logged and
        reported to ``on("callback_error")``, and the next one still runs.
        """
        if callback is None:
            return lambda function: self._callbacks.on(type, function)
        return self._callbacks.on(type, callback)

    def off(self, type: str, callback: Callback | None = None) -> None:
        """Stop calling a callback for a type, or all of that type."""
        self._callbacks.off(type, callback)

    def run(self) -> None:
        """
        Dispatch events to the callbacks in this thread until the session is closed.

        Raises:
            ConcurrencyError: Another thread is receiving.
            LaserSellError: The error that ended the stream.
        """
        self._dispatcher.run()

    def start(self) -> None:
        """
        Dispatch events to the callbacks in a thread of its own; returns at once.

        The thread ends with the session. An error that ends the stream is logged
        and is in :attr:`error`.
        """
        self._dispatcher.start()

    # Observing

    def observe(self, hook: Hook, *, low: bool = False) -> Observation:
        """
        Call ``hook`` with every event of the high lane from now on, beside its consumer.

        For tracing, alerts, recorders: it takes no event away from ``recv()`` or the
        callbacks, and delays none. All hooks of a session share one thread of their
        own, which ends with the session or its last hook. A hook that raises is logged
        and called again; what the hooks are too slow for is dropped, oldest first, and
        counted. Any thread may call this; it does not block.

        Args:
            hook: Called with a :class:`StreamEvent`.
            low: Whether it also gets the events of the low lane, such as
                ``pnl_update``, also those that the lane drops. They come in batches,
                up to 50 ms late.

        Returns:
            What stops it, also a context manager.

        Raises:
            ConfigurationError: The hook cannot be called.
            ForkedError: This is not the process that connected.
        """
        with self._stream.calling():
            return self._observers.add(hook, low=low)

    # Positions

    def positions(self) -> list[PositionHandle]:
        """Return the open positions, oldest first."""
        return self._core.book.open()

    def position(self, position_id: int) -> PositionHandle | None:
        """
        Return the open position with an id.

        Of the present connection, or of the last one while it was not named again.
        """
        return self._core.book.with_id(position_id)

    def position_by_token_account(self, token_account: str) -> PositionHandle | None:
        """Return the open position on a token account."""
        return self._core.book.by_account(token_account)

    def positions_for_wallet_mint(self, wallet: str, mint: str) -> list[PositionHandle]:
        """Return the open positions of one wallet in one token."""
        return self._core.book.by_wallet_mint(wallet, mint)

    def pnl(self, position_id: int) -> PnlUpdate | None:
        """Return the latest profit and loss, also when the lane dropped its event."""
        handle = self.position(position_id)
        return None if handle is None else handle.pnl

    def deadline_remaining(self, position: Position) -> float | None:
        """Return the seconds until a position's exit is asked for; None without deadline."""
        return self._core.deadline_remaining(self._known(position))

    # Liquidity

    def get_slippage_bands(self, position_id: int) -> tuple[LiquidityBand, ...]:
        """Return the latest liquidity bands of a position; empty while none are known."""
        handle = self.position(position_id)
        if handle is None or handle.liquidity is None:
            return ()
        return handle.liquidity.bands

    def get_max_sell_at_slippage(
        self, position_id: int, slippage_bps: int
    ) -> int | None:
        """
        Return how many tokens can be sold within a slippage, by the largest band not above it.

        None while no such band is known.
        """
        bands = self.get_slippage_bands(position_id)
        below = [band for band in bands if band.slippage_bps <= slippage_bps]
        if not below:
            return None
        return max(below, key=lambda band: band.slippage_bps).max_tokens

    def get_liquidity_trend(self, position_id: int) -> str | None:
        """Return ``growing``, ``stable`` or ``draining``; None while it is not known."""
        handle = self.position(position_id)
        if handle is None or handle.liquidity is None:
            return None
        return handle.liquidity.liquidity_trend

    # Commands

    def request_exit_signal(
        self, position: Position, slippage_bps: int | None = None
    ) -> None:
        """
        Ask for an exit transaction now, whatever the strategy says.

        See :meth:`lasersell.stream.sender.StreamSender.request_exit_signal`.
        """
        self.sender.request_exit_signal(
            token_account=self._account(position), slippage_bps=slippage_bps
        )

    def close_position(self, position: Position) -> None:
        """Stop tracking a position, now and after reconnects. This does not sell it."""
        handle = self._handle(position)
        self.sender.close_position(token_account=handle.token_account)

    def update_position_strategy(
        self, position: Position, strategy: StrategyConfig
    ) -> None:
        """Give one position a strategy of its own, until it closes."""
        handle = self._handle(position)
        self.sender.update_position_strategy(
            handle.position_id, strategy, token_account=handle.token_account
        )

    def update_strategy(
        self, strategy: StrategyConfig, deadline_timeout_sec: float | None = None
    ) -> None:
        """
        Replace the strategy of the session, and the deadline if given.

        Args:
            strategy: The whole strategy.
            deadline_timeout_sec: Seconds; None leaves it, 0 turns it off. Every
                open position is re-timed at once.

        Raises:
            ConfigurationError: The strategy is not valid; nothing was changed.
        """
        deadline = self._core.deadlines.timeout
        if deadline_timeout_sec is not None:
            deadline = deadline_timeout_sec
        self.sender.update_strategy(strategy, deadline_timeout_sec=deadline)
        if deadline_timeout_sec is not None:
            self._core.set_deadline_timeout(deadline)

    def update_strategy_optional(self, **changes: Any) -> None:
        """
        Change only what is named, on the strategy last given.

        Takes the fields of :class:`~lasersell.protocol.strategy.StrategyConfig` and
        ``deadline_timeout_sec``.

        Raises:
            ConfigurationError: There is no such field, or the result is not valid.
        """
        deadline = changes.pop("deadline_timeout_sec", None)
        try:
            strategy = attrs.evolve(self._stream.intent.strategy, **changes)
        except TypeError as error:
            raise ConfigurationError(f"not a strategy: {error}") from error
        self.update_strategy(strategy, deadline)

    def update_wallets(self, wallet_pubkeys: Iterable[str]) -> None:
        """Replace the list of own wallets."""
        self.sender.update_wallets(wallet_pubkeys)

    def update_watch_wallets(self, watch_wallets: Iterable[WatchWallet]) -> None:
        """Replace the list of watched wallets; this also re-enables a disabled one."""
        self.sender.update_watch_wallets(watch_wallets)

    def mirror_buy_result(self, mint: str, success: bool) -> None:
        """Tell the server whether a mirror buy was submitted."""
        self.sender.mirror_buy_result(mint, success)

    def _handle(self, position: Position) -> PositionHandle:
        """Return the position that a command is for; its account must still be its own."""
        handle = self._known(position)
        if not handle.is_open:
            raise ConfigurationError(
                f"{handle!r} is over; its account may hold another position by now"
            )
        return handle

    def _known(self, position: Position) -> PositionHandle:
        if isinstance(position, PositionHandle):
            return position
        handle = (
            self.position_by_token_account(position)
            if isinstance(position, str)
            else self.position(position)
        )
        if handle is None:
            raise ConfigurationError(
                f"no open position {position!r} in this session; pass a handle of an event, "
                "the id it has on this connection, or its token account"
            )
        return handle

    def _account(self, position: Position) -> str:
        # A token account need not be known here: the server may know it.
        account = (
            position
            if isinstance(position, str)
            else self._handle(position).token_account
        )
        if not account:
            raise ConfigurationError(
                f"the token account of position {position!r} is not known, and an "
                "exit is asked for by that"
            )
        return account

    # The end

    def close(self, *args: object, timeout: float = CLOSE_TIMEOUT) -> None:
        """
        Close the session; see :meth:`lasersell.stream.client.StreamHandle.close`.

        Callbacks and hooks under way are waited for too, unless this is one.
        """
        deadline = Deadline(timeout)
        super().close(*args, timeout=timeout)
        self._dispatcher.join(deadline.remaining() or 0.0)
        self._observers.join(deadline.remaining() or 0.0)

    def __enter__(self) -> StreamSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _concerns(event: StreamEvent, position: Position) -> bool:
    """Tell whether an event is about a position, which need not be open any more."""
    handle = event.handle
    if isinstance(position, PositionHandle):
        return handle is position
    about = event.message if handle is None else handle
    name = "token_account" if isinstance(position, str) else "position_id"
    return getattr(about, name, None) == position
