"""
What every kind of session has: events received, callbacks, positions looked up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, overload

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import LiquidityBand, PnlUpdate
from lasersell.session.callbacks import Callback, CallbackRegistry
from lasersell.session.dispatch import Dispatcher
from lasersell.session.events import StreamEvent
from lasersell.session.observers import Hook, Observation, Observers
from lasersell.session.positions import PositionHandle
from lasersell.stream.lanes import Lanes
from lasersell.stream.options import check_seconds

__all__ = ["Book", "Position", "SessionFace"]

Position = PositionHandle | int | str
"""A handle, a position id of the present connection, or a token account."""

F = TypeVar("F", bound=Callback)


class Book(Protocol):
    """The open positions of a session; any thread may ask."""

    def open(self) -> list[PositionHandle]:
        """Return the open positions, oldest first."""
        ...

    def with_id(self, position_id: int) -> PositionHandle | None:
        """Return the open position with an id."""
        ...

    def by_account(self, token_account: str) -> PositionHandle | None:
        """Return the open position on a token account."""
        ...

    def by_wallet_mint(self, wallet: str, mint: str) -> list[PositionHandle]:
        """Return the open positions of one wallet in one token."""
        ...


class SessionFace:
    """
    The part of a session that does not depend on where its events come from.

    Look-ups may be used from any thread; one thread at a time receives.

    Args:
        lanes: Where the events are.
        book: Where the positions are.
        callbacks: Who is called; None makes a new registry.
    """

    def __init__(
        self,
        lanes: Lanes[StreamEvent],
        book: Book,
        callbacks: CallbackRegistry | None = None,
    ) -> None:
        self._book = book
        self._callbacks = callbacks or CallbackRegistry()
        self._receiver = lanes.receiver()
        self._dispatcher = Dispatcher(self._receiver, self._callbacks)
        self._observers = Observers(lanes)

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

    def let_low_gather(self, seconds: float) -> None:
        """
        Have ``recv()``, iteration and callbacks wake up for low events in batches.

        Each wake-up costs more than most events do. From the first low event on they are
        left to gather, ``seconds`` at most; one of the high lane comes at once, as ever,
        and so does the end. Any thread may call this; it does not block.

        Args:
            seconds: Such as 0.01; 0, the default, wakes up for each.

        Raises:
            ConfigurationError: It is no time.
        """
        self._receiver.gather_sec = check_seconds("seconds", seconds)

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
        with self._calling():
            return self._observers.add(hook, low=low)

    def _calling(self) -> AbstractContextManager[object]:
        """Return what surrounds a call that a signal handler's close() must not wait for."""
        return contextlib.nullcontext()

    # Positions

    def positions(self) -> list[PositionHandle]:
        """Return the open positions, oldest first."""
        return self._book.open()

    def position(self, position_id: int) -> PositionHandle | None:
        """
        Return the open position with an id.

        Of the present connection, or of the last one while it was not named again.
        """
        return self._book.with_id(position_id)

    def position_by_token_account(self, token_account: str) -> PositionHandle | None:
        """Return the open position on a token account."""
        return self._book.by_account(token_account)

    def positions_for_wallet_mint(self, wallet: str, mint: str) -> list[PositionHandle]:
        """Return the open positions of one wallet in one token."""
        return self._book.by_wallet_mint(wallet, mint)

    def pnl(self, position_id: int) -> PnlUpdate | None:
        """Return the latest profit and loss, also when the lane dropped its event."""
        handle = self.position(position_id)
        return None if handle is None else handle.pnl

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

    # Which position is meant

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


def _concerns(event: StreamEvent, position: Position) -> bool:
    """Tell whether an event is about a position, which need not be open any more."""
    handle = event.handle
    if isinstance(position, PositionHandle):
        return handle is position
    about = event.message if handle is None else handle
    name = "token_account" if isinstance(position, str) else "position_id"
    return getattr(about, name, None) == position
