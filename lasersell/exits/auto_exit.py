"""
:class:`AutoExit`: from exit signals to landed sales, each position exactly once.
"""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.errors import ConfigurationError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.auto_buys import LossCap, MirrorBuyer
from lasersell.exits.auto_events import AutoExitEvent, Reporter
from lasersell.exits.auto_loop import EVENT_TYPES, AutoExitLoop
from lasersell.exits.auto_plan import AutoExitSettings
from lasersell.exits.auto_source import ExitSource
from lasersell.exits.auto_work import Broker
from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.journal import IN_MEMORY, Journal
from lasersell.exits.keys import WalletKey
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.protocol.mirror import AutoBuy
from lasersell.session.events import StreamEvent

__all__ = ["AutoExit"]

CLOSE_TIMEOUT = 15.0
ABANDON_TIMEOUT = 1.0

Target = Submitter | SendTarget | Iterable[SendTarget] | None


class AutoExit:
    """
    Turns the exit signals of a session into landed sales; use it in a ``with`` block.

    Each exit (the position, or a level of its ladder) is sold once. One transaction at
    a time is under way for a token account; it is replaced only once the chain says
    that it can never land. A newer signal takes the place of one that was not submitted,
    other levels queue, an exit of the whole position comes before them. What fails is
    asked for again, with more slippage up to a cap, a bounded number of times.

    The journal makes that true across crashes: pass a path, or the next run knows
    nothing of this one. :meth:`run` or :meth:`start` takes the events of the session;
    who loops over ``session.recv()`` gives each event to :meth:`handle` instead.

    Any thread may use it. Close it before the session.

    Args:
        session: Whose signals: a ``StreamSession``, or a ``RelaySession``.
        keypair: The keys of our wallets: one, several, or a ``Signer``.
        target: Where to submit: one target, several at once, or a ``Submitter``, which
            then stays yours to close. None is ``SendTarget.rpc()``.
        settings: How to behave.
        journal: Where everything is written down: a path, or a ``Journal``, which then
            stays yours to close. None keeps it in memory.
        policy: What a transaction may do; None is ``Policy.default()``.
        accounts: Where the guard looks up what it must know of the chain.
        api: Asked for what the stream cannot build: a fresh sale of a ladder level, or
            any sale while the stream is away. None is nobody.
        mirror_buys: What may be spent, by watched wallet; None leaves mirror buys alone.
        loss_cap: When mirror buys stop.
        kill_file: A file that is the kill switch too: while it is there nothing is
            submitted.
        on_event: Called with each step, in threads of ours; must be quick.
        clock: Where time comes from.

    Raises:
        ConfigurationError: A setting is wrong, or the journal cannot be used.
    """

    def __init__(
        self,
        session: ExitSource,
        keypair: Signer | WalletKey | Iterable[WalletKey] | Any,
        target: Target = None,
        *,
        settings: AutoExitSettings | None = None,
        journal: Journal | str | Path | None = None,
        policy: Policy | None = None,
        accounts: AccountSource | None = None,
        api: ExitApiClient | None = None,
        mirror_buys: Mapping[str, AutoBuy] | None = None,
        loss_cap: LossCap | None = None,
        kill_file: str | Path | None = None,
        on_event: Callable[[AutoExitEvent], object] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        settings = settings or AutoExitSettings()
        signer = _signer(keypair, policy, accounts)
        self._session = session
        self._pid = os.getpid()
        self._own_journal = not isinstance(journal, Journal)
        self._own_submitter = not isinstance(target, Submitter)
        self._journal = (
            journal if isinstance(journal, Journal) else Journal(journal or IN_MEMORY)
        )
        try:
            self._submitter = _submitter(target)
        except BaseException:
            self._close_journal()
            raise
        reporter = Reporter(on_event)
        self._loop = AutoExitLoop(
            Broker(
                session=session,
                signer=signer,
                submitter=self._submitter,
                api=api,
                journal=self._journal,
                settings=settings,
                clock=clock,
            ),
            self._journal,
            settings,
            reporter,
            kill_file=None if kill_file is None else Path(kill_file),
            clock=clock,
        )
        self._buyer = None
        if mirror_buys is not None:
            self._buyer = MirrorBuyer(
                session=session,
                signer=signer,
                submitter=self._submitter,
                journal=self._journal,
                reporter=reporter,
                auto_buys=mirror_buys,
                loss_cap=loss_cap or LossCap(),
                max_signal_age=settings.max_signal_age,
                is_paused=lambda: self._loop.is_paused,
                dry_run=settings.dry_run,
                clock=clock,
            )
        self._is_attached = False
        self._is_closed = False
        # The threads hold the loop, never this face: dropped, it ends.
        self._finalizer = weakref.finalize(
            self,
            _abandon,
            self._loop,
            self._submitter if self._own_submitter else None,
            self._journal if self._own_journal else None,
        )
        self._finalizer.atexit = False
        try:
            self._begin()
        except BaseException:
            # Nobody will have this face, so nobody else could.
            self.close(timeout=0.0)
            raise

    def __repr__(self) -> str:
        state = "paused" if self._loop.is_paused else "on"
        return f"<AutoExit {state}, {self._journal!r}>"

    def _begin(self) -> None:
        if self._own_submitter:
            self._submitter.keep_warm()
        self._loop.start()
        if self._buyer is not None:
            self._buyer.start()
        for position in self._session.positions():
            self._loop.adopt(position)

    # Events

    def handle(self, event: StreamEvent) -> None:
        """Take an event of the session; never blocks."""
        self._loop.take(event)
        if self._buyer is not None:
            self._buyer.take(event)

    def run(self) -> None:
        """
        Take the events of the session in this thread until the session is closed.

        Callbacks of your own on the session are called too.

        Raises:
            ConcurrencyError: Another thread is receiving.
            LaserSellError: The error that ended the stream.
        """
        self._attach()
        self._session.run()

    def start(self) -> None:
        """
        Take the events of the session in a thread of the session; returns at once.

        Raises:
            ConcurrencyError: Another thread is receiving.
        """
        self._attach()
        self._session.start()

    def _attach(self) -> None:
        if self._is_attached:
            return
        self._is_attached = True
        for event_type in EVENT_TYPES:
            self._session.on(event_type, self._loop.take)
        if self._buyer is not None:
            self._session.on("mirror_buy_signal", self._buyer.take)

    # The kill switch

    def pause(self) -> None:
        """
        Turn the kill switch on: nothing more is submitted, sold or bought.

        What was submitted before may still land, and is watched.
        """
        self._loop.pause()

    def resume(self) -> None:
        """Turn the kill switch off; exits that are still to be done go on."""
        self._loop.resume()

    @property
    def is_paused(self) -> bool:
        """Whether the kill switch is on, by :meth:`pause` or by its file."""
        return self._loop.is_paused

    # The end

    def close(self, *, timeout: float = CLOSE_TIMEOUT) -> bool:
        """
        Ask for nothing more, finish what is under way, and end.

        Blocks for ``timeout`` seconds at most. Again does no harm; while another thread
        closes it, it shortens that to ``timeout`` seconds from now. Does nothing in a
        forked child.

        Returns:
            Whether nothing was left under way. What was is in the journal, and the next
            run finds out what became of it.
        """
        if os.getpid() != self._pid:
            return True
        if self._is_closed:
            return self._loop.stop(timeout)
        self._is_closed = True
        self._finalizer.detach()
        deadline = Deadline(timeout)
        for event_type in EVENT_TYPES:
            self._session.off(event_type, self._loop.take)
        if self._buyer is not None:
            self._session.off("mirror_buy_signal", self._buyer.take)
            self._buyer.stop()
        is_done = self._loop.stop(timeout)
        if self._own_submitter:
            # Ends what waits for a buy to be seen.
            self._submitter.close(timeout=deadline.remaining() or 0.0)
        self._loop.join_workers(deadline.remaining() or 0.0)
        if self._buyer is not None:
            self._buyer.join(deadline.remaining() or 0.0)
        self._close_journal()
        return is_done

    def _close_journal(self) -> None:
        if self._own_journal:
            self._journal.close()

    def __enter__(self) -> AutoExit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _abandon(
    loop: AutoExitLoop, submitter: Submitter | None, journal: Journal | None
) -> None:
    warnings.warn(
        "an AutoExit was dropped without close(); use it in a with block",
        ResourceWarning,
        stacklevel=2,
    )
    loop.stop(ABANDON_TIMEOUT)
    if submitter is not None:
        submitter.close(timeout=ABANDON_TIMEOUT)
    if journal is not None:
        journal.close()


def _signer(
    keypair: Any, policy: Policy | None, accounts: AccountSource | None
) -> Signer:
    if isinstance(keypair, Signer):
        if policy is not None or accounts is not None:
            raise ConfigurationError(
                "a Signer has its policy and accounts already; pass them to it"
            )
        return keypair
    if isinstance(keypair, WalletKey):
        return Signer([keypair], policy=policy, accounts=accounts)
    if isinstance(keypair, Iterable):
        return Signer(keypair, policy=policy, accounts=accounts)
    return Signer([WalletKey(keypair)], policy=policy, accounts=accounts)


def _submitter(target: Target) -> Submitter:
    if isinstance(target, Submitter):
        return target
    if target is None:
        return Submitter()
    return Submitter([target] if isinstance(target, SendTarget) else target)
