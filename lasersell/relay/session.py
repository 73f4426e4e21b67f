"""
:class:`RelaySession`: a session over a relay, with the face of a ``StreamSession``.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import attrs

from lasersell._clock import Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import (
    ConfigurationError,
    ForkedError,
    LaserSellError,
    RelayError,
)
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import Limits
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay.commands import CommandSender
from lasersell.relay.events import RelayEvent
from lasersell.relay.feed import Feed
from lasersell.relay.keys import Keys, check_name
from lasersell.relay.lanes import RelayCallbacks, RelayLanes
from lasersell.relay.link import RedisLink
from lasersell.relay.replica import Replica
from lasersell.relay.work import GroupSettings, Work
from lasersell.session.events import StreamEvent
from lasersell.session.face import Position, SessionFace
from lasersell.stream.lanes import LaneStats
from lasersell.stream.options import (
    check_count,
    check_seconds,
    check_strategy,
    check_wallets,
    check_watch_wallets,
)
from lasersell.stream.stats import State

__all__ = ["RelayEvent", "RelaySession", "RelaySessionStats"]

CLOSE_TIMEOUT = 5.0
SHORTEST_SEC = 0.05
"""The least that a Redis gets to let us go, however little time is left."""


@attrs.frozen(kw_only=True)
class RelaySessionStats:
    """A snapshot of a session's counters."""

    state: State
    high: LaneStats
    low: LaneStats
    is_held_back: bool
    """Whether no more is read from Redis because the high lane is full."""
    silent: float
    """Seconds since the publisher was last heard."""
    given_up: int
    """Signals of the group that this worker gave up, because nobody could deal with them."""


class RelaySession(SessionFace):
    """
    The events of a relay's session, its positions, and commands to it.

    Made by :meth:`connect`; use it in a ``with`` block. Everything that a
    :class:`~lasersell.session.session.StreamSession` has works alike, but for deadlines,
    which are the publisher's. Look-ups and commands may be used from any thread; one
    thread at a time receives.
    """

    def __init__(self, link: RedisLink, core: _Core, sender: CommandSender) -> None:
        callbacks = RelayCallbacks()
        core.callbacks = callbacks
        super().__init__(core.lanes, core.replica, callbacks)
        self._link = link
        self._core = core
        self._sender = sender
        self._pid = os.getpid()
        # The threads hold the core, never this face: dropped, it ends.
        self._finalizer = weakref.finalize(self, core.abandon)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        return f"<RelaySession {self._sender.keys.name!r} at {self._link.where}, {self.state}>"

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        name: str = "default",
        group: str | None = None,
        worker: str | None = None,
        high_capacity: int = 16384,
        low_priority_capacity: int = 1024,
        stale_after: float = 5.0,
        command_timeout: float = 5.0,
        handler_timeout: float = 60.0,
        retry_after: float = 2.0,
        max_deliveries: int | None = None,
        redis_options: dict[str, Any] | None = None,
    ) -> RelaySession:
        """
        Connect to Redis, learn what is true now, and return the session.

        Blocks for a few seconds at most. The positions that are open are known when it
        returns, and come as ``position_opened`` events. It is no error that no publisher
        runs yet: :attr:`state` is ``connecting`` until one does. All times are seconds.

        Without ``group`` the session sees every event. With one, exit signals and mirror
        buys are shared out among all sessions of that group: each goes to one of them,
        is acknowledged a second after that one asked for the next event (or its callbacks
        returned), and goes to another one if it dies or a callback raises. So it may come more than
        once, with the same ``event.id``. All other events still come to every session.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``, with user, password, database.
            name: Of the relay.
            group: Who shares the signals; None is every session for itself.
            worker: The name of this one in its group, unlike any other; None makes one.
            high_capacity: Events in the high lane at which no more are read.
            low_priority_capacity: Events in the low lane before the oldest is dropped.
            stale_after: Silence of the publisher, or of Redis, until it counts as stale.
            command_timeout: How long a command waits for its answer.
            handler_timeout: After how long a signal that a living worker has not dealt
                with is given to another one.
            retry_after: After how long a signal whose callback raised comes again.
            max_deliveries: How often a signal is handed out before it is given up, with
                an error in the log; None never gives one up. Workers that died count.
            redis_options: Further arguments of ``redis.Redis``, such as ``ssl_ca_certs``.

        Raises:
            RelayConnectError: Redis cannot be reached, or does not let us in; see its
                subclasses.
            RelayVersionError: Redis is too old.
            ConfigurationError: An argument is wrong.
            MissingExtraError: The extra ``relay`` is not installed.
        """
        keys = Keys(name)
        if worker is not None and group is None:
            raise ConfigurationError("a worker without a group shares nothing")
        settings = GroupSettings(
            group=check_name("group", "none" if group is None else group),
            worker=check_name("worker", worker or _worker_name()),
            handler_timeout=check_seconds("handler_timeout", handler_timeout, 0.1),
            retry_after=check_seconds("retry_after", retry_after),
            max_deliveries=None
            if max_deliveries is None
            else check_count("max_deliveries", max_deliveries),
        )
        sender_timeout = check_seconds("command_timeout", command_timeout, 0.1)
        link = RedisLink(url, **(redis_options or {}))
        core = _Core(
            link,
            keys,
            None if group is None else settings,
            high_capacity=check_count("high_capacity", high_capacity),
            low_capacity=check_count("low_priority_capacity", low_priority_capacity),
            stale_after=check_seconds("stale_after", stale_after, 0.1),
        )
        try:
            link.check()
            core.start()
        except BaseException:
            core.close(Deadline(CLOSE_TIMEOUT))
            raise
        return cls(link, core, CommandSender(link, keys, sender_timeout))

    # What is known of the stream

    @property
    def state(self) -> State:
        """
        One of connecting, live, stale, reconnecting, closed.

        ``connecting`` while no publisher was heard of, ``stale`` while neither it nor
        Redis is heard, ``reconnecting`` while its stream is away.
        """
        return "closed" if self._core.is_closed else self._core.feed.state

    @property
    def error(self) -> LaserSellError | None:
        """Why the session failed; None otherwise."""
        return self._core.lanes.error

    @property
    def limits(self) -> Limits | None:
        """What the server allows the publisher's account; None while it is not known."""
        about = self._core.feed.about
        return None if about is None else about.limits

    @property
    def session_id(self) -> int | None:
        """The server's id of the publisher's present connection."""
        about = self._core.feed.about
        return None if about is None else about.session_id

    @property
    def publisher(self) -> str | None:
        """The name of the publisher that was heard last."""
        about = self._core.feed.about
        return None if about is None else about.publisher

    def stats(self) -> RelaySessionStats:
        """Return a snapshot of the counters."""
        core = self._core
        return RelaySessionStats(
            state=self.state,
            high=core.lanes.high_stats(),
            low=core.lanes.low_stats(),
            is_held_back=core.lanes.held_back,
            silent=core.feed.silent,
            given_up=0 if core.work is None else core.work.given_up,
        )

    # Commands

    def request_exit_signal(
        self, position: Position, slippage_bps: int | None = None
    ) -> None:
        """
        Ask for an exit transaction now, whatever the strategy says.

        Blocks until the publisher took the command, ``command_timeout`` at most; the
        signal comes as an event. That holds for every command here, and so do the errors.

        Raises:
            RelayTimeoutError: No publisher answered in time.
            RelayConnectError: Redis is away.
            LaserSellError: What the publisher's session raised.
        """
        account = self._account(position)
        message = RequestExitSignal(token_account=account, slippage_bps=slippage_bps)
        self._ask(message, account=account)

    def close_position(self, position: Position) -> None:
        """Stop tracking a position, now and after reconnects. This does not sell it."""
        account = self._handle(position).token_account
        self._ask(ClosePosition(token_account=account), account=account)

    def update_position_strategy(
        self, position: Position, strategy: StrategyConfig
    ) -> None:
        """Give one position a strategy of its own, until it closes."""
        check_strategy(strategy)
        handle = self._handle(position)
        message = UpdatePositionStrategy(
            position_id=max(0, handle.position_id), strategy=strategy
        )
        self._ask(message, account=handle.token_account)

    def update_strategy(
        self, strategy: StrategyConfig, deadline_timeout_sec: float | None = None
    ) -> None:
        """
        Replace the strategy of the session, and the deadline if given.

        Raises:
            ConfigurationError: The strategy is not valid; nothing was changed.
        """
        check_strategy(strategy)
        self._ask(UpdateStrategy(strategy=strategy), deadline=deadline_timeout_sec)

    def update_strategy_optional(self, **changes: Any) -> None:
        """
        Change only what is named, on the strategy that the publisher has.

        Raises:
            ConfigurationError: There is no such field, or the result is not valid.
        """
        deadline = changes.pop("deadline_timeout_sec", None)
        try:
            strategy = attrs.evolve(
                StrategyConfig(target_profit_pct=0.0, stop_loss_pct=0.0), **changes
            )
        except TypeError as error:
            raise ConfigurationError(f"not a strategy: {error}") from error
        self._ask(
            UpdateStrategy(strategy=strategy), deadline=deadline, changes=list(changes)
        )

    def update_wallets(self, wallet_pubkeys: Iterable[str]) -> None:
        """Replace the list of own wallets."""
        self._ask(UpdateWallets(wallet_pubkeys=check_wallets(wallet_pubkeys)))

    def update_watch_wallets(self, watch_wallets: Iterable[WatchWallet]) -> None:
        """Replace the list of watched wallets; this also re-enables a disabled one."""
        self._ask(UpdateWatchWallets(watch_wallets=check_watch_wallets(watch_wallets)))

    def mirror_buy_result(self, mint: str, success: bool) -> None:
        """Tell the server whether a mirror buy was submitted."""
        self._ask(MirrorBuyResult(mint=mint, success=success))

    def _ask(self, message: ClientMessage, **about: Any) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(self._pid)
        if self._core.is_closed:
            raise RelayError("the session is closed; connect another one")
        self._sender.ask(message, **about)

    # The end

    def close(self, *args: object, timeout: float = CLOSE_TIMEOUT) -> None:
        """
        Close the session; the relay and its stream go on.

        Idempotent, from any thread or callback; does nothing in a forked child. Returns
        within ``timeout`` seconds. A signal that was not dealt with goes to another
        worker.

        Raises:
            TypeError: A position was passed; that is ``close_position``.
        """
        if args:
            raise TypeError(
                "close() ends the whole session and takes no position; "
                "to stop tracking one position use close_position(position)"
            )
        if os.getpid() != self._pid:
            return
        deadline = Deadline(timeout)
        self._finalizer.detach()
        self._core.close(deadline)
        self._dispatcher.join(deadline.remaining() or 0.0)
        self._observers.join(deadline.remaining() or 0.0)

    def __enter__(self) -> RelaySession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _worker_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class _Core:
    """What the threads of a session hold: never the session itself."""

    def __init__(
        self,
        link: RedisLink,
        keys: Keys,
        settings: GroupSettings | None,
        *,
        high_capacity: int,
        low_capacity: int,
        stale_after: float,
    ) -> None:
        self._link = link
        self.replica = Replica()
        self.lanes = RelayLanes(high_capacity, low_capacity, self._done)
        self.callbacks = RelayCallbacks()
        self.is_closed = False
        self._pid = os.getpid()
        self._closer: int | None = None
        self._threads: list[threading.Thread] = []
        self._links = [link.dedicated()]
        self.feed = Feed(
            self._links[0],
            keys,
            self.lanes,
            self.replica,
            stale_after=stale_after,
            with_signals=settings is None,
        )
        self.work: Work | None = None
        if settings is not None:
            self._links.append(link.dedicated())
            self.work = Work(
                self._links[1], keys, self.lanes, self.feed, self.replica, settings
            )

    def start(self) -> None:
        """Join the relay, and start the threads."""
        _cores.add(self)
        if self.work is not None:
            # First: what comes after the snapshot must find the group.
            self.work.make_group()
        self.feed.join()
        number = next_number()
        for what, part in (("feed", self.feed), ("work", self.work)):
            if part is not None:
                name = f"lasersell-relay-{what}-{number}"
                self._threads.append(start_thread(name, part.run))

    def _done(self, event: StreamEvent) -> None:
        """Take a word of the consumer that it has dealt with an event."""
        if self.work is not None and isinstance(event, RelayEvent) and event.entry:
            self.work.done(event, failed=self.callbacks.has_failed(event))

    def close(self, deadline: Deadline) -> None:
        """End the threads and the connections."""
        if self._closer == threading.get_ident():
            # A signal handler interrupted close() itself, which goes on after it.
            return
        is_first, self.is_closed = not self.is_closed, True
        self._closer = threading.get_ident()
        parts: list[Feed | Work] = [self.feed]
        if self.work is not None:
            parts.append(self.work)
        for part in parts:
            part.stop()
        self.lanes.end(None)
        if is_first:
            self._let_go(parts, (deadline.remaining() or 0.0) / 4)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(deadline.remaining())
        for link in (*self._links, self._link):
            link.close()
        self._closer = None

    def _let_go(self, parts: list[Feed | Work], patience: float) -> None:
        """End the reads that wait in Redis; one that hangs takes ``patience`` for each."""
        patience = max(SHORTEST_SEC, patience)
        link = self._link.dedicated(
            socket_timeout=patience, socket_connect_timeout=patience
        )
        for part in parts:
            link.let_go(part.connection)
        link.close()

    def abandon(self) -> None:
        """End because nobody holds the session any more."""
        warnings.warn(
            "a RelaySession was dropped without close(); use it in a with block",
            ResourceWarning,
            stacklevel=2,
        )
        self.close(Deadline(CLOSE_TIMEOUT))

    def after_fork(self) -> None:
        """Make a child's copy say why it cannot be used: its threads are not there."""
        self.is_closed = True
        self._threads = []
        self.lanes.after_fork(ForkedError(self._pid))


_cores: weakref.WeakSet[_Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_cores):
        core.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
