"""
The blocking facade: :class:`StreamSession`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal

import attrs

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.errors import ConfigurationError
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.core import DeadlineSettings, SessionCore
from lasersell.session.events import StreamEvent
from lasersell.session.exclusive import Exclusive, claim
from lasersell.session.face import Position, SessionFace
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


class StreamSession(StreamHandle[StreamEvent], SessionFace):
    """
    A stream with its positions, deadlines, callbacks, and a blocking ``recv()``.

    Made by :meth:`connect`; use it in a ``with`` block. Look-ups and commands may
    be used from any thread; one thread at a time receives.
    """

    def __init__(self, stream: Supervisor[StreamEvent], core: SessionCore) -> None:
        StreamHandle.__init__(self, stream)
        SessionFace.__init__(self, stream.lanes, core.book)
        self._core = core

    def __repr__(self) -> str:
        return f"<StreamSession {self.state}, {len(self.positions())} positions>"

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

    def _calling(self) -> AbstractContextManager[object]:
        return self._stream.calling()

    # Deadlines

    def deadline_remaining(self, position: Position) -> float | None:
        """Return the seconds until a position's exit is asked for; None without deadline."""
        return self._core.deadline_remaining(self._known(position))

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
