"""
Mirror buys: each is submitted once or not at all, and never after too great a loss.

A buy that fails is not tried again: a later price is another deal.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lasersell._clock import Clock, Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import LaserSellError, TxError
from lasersell.exits.auto_events import AutoExitEvent, EventType, Reporter
from lasersell.exits.auto_source import ExitSource
from lasersell.exits.journal import BuyOutcome, DuplicateAttempt, Journal
from lasersell.exits.requests import MAX_U64, check_range
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.mirror import AutoBuy
from lasersell.protocol.server import MirrorBuySignal
from lasersell.session.events import StreamEvent

__all__ = ["LossCap", "MirrorBuyer"]

log = logging.getLogger(__name__)

HOUR_MS = 3_600_000
CONFIRM_SEC = 120.0
"""How long the outcome of a buy is waited for; its block hash lives for less."""
RESEND_SEC = 2.0
LOOK_SEC = 10.0


def _units(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        check_range(attribute.name, value, 0, MAX_U64)


@attrs.frozen(kw_only=True)
class LossCap:
    """
    The loss of the last hour at which buying stops. Selling never does.

    What is lost is what the exits that landed were thought to lose, less what others
    were thought to earn.

    Raises:
        ConfigurationError: A cap is no amount.
    """

    lamports: int | None = attrs.field(default=None, validator=_units)
    """Of positions paid in SOL; None is no cap."""
    usd1_units: int | None = attrs.field(default=None, validator=_units)
    """Of positions paid in USD1; None is no cap."""

    def why_reached(self, journal: Journal, now_ms: int) -> str | None:
        """Return why nothing may be bought, in words; None if it may."""
        for quote, cap in (("SOL", self.lamports), ("USD1", self.usd1_units)):
            if cap is None:
                continue
            loss = -journal.profit_since(now_ms - HOUR_MS, quote)
            if loss >= cap and loss > 0:
                return f"the exits of the last hour lost {loss} units of {quote}"
        return None


class MirrorBuyer:
    """
    Signs and submits mirror buys; each in a thread of its own.

    Any thread may use it.

    Args:
        session: Who is told whether a buy was submitted.
        signer: Checks and signs.
        submitter: Submits.
        journal: Where each buy is written down before it is submitted.
        reporter: Who is told about each step.
        auto_buys: What may be spent, by watched wallet; others are not copied.
        loss_cap: When buying stops.
        max_signal_age: Seconds after which a signal is too old.
        is_paused: Whether the kill switch is on.
        dry_run: Whether everything is done but the submission.
        clock: Where time comes from.
    """

    def __init__(
        self,
        *,
        session: ExitSource,
        signer: Signer,
        submitter: Submitter,
        journal: Journal,
        reporter: Reporter,
        auto_buys: Mapping[str, AutoBuy],
        loss_cap: LossCap,
        max_signal_age: float,
        is_paused: Callable[[], bool],
        dry_run: bool,
        clock: Clock,
    ) -> None:
        self._session = session
        self._signer = signer
        self._submitter = submitter
        self._journal = journal
        self._reporter = reporter
        self._auto_buys = dict(auto_buys)
        self._loss_cap = loss_cap
        self._max_signal_age = max_signal_age
        self._is_paused = is_paused
        self._dry_run = dry_run
        self._clock = clock
        # Guards what follows.
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()

    def start(self) -> None:
        """Find out what became of the buys of an earlier run, in a thread."""
        unknown = self._journal.open_buys()
        if unknown:
            self._start(lambda: self._settle_all(unknown))

    def take(self, event: StreamEvent) -> None:
        """Take a ``mirror_buy_signal``; never blocks."""
        message = event.message
        if isinstance(message, MirrorBuySignal):
            born_at = event.arrival.at
            self._start(functools.partial(self._buy, message, born_at))

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("a mirror buy failed")
            finally:
                with self._mutex:
                    self._threads.discard(threading.current_thread())

        with self._mutex:
            if not self._stopping.is_set():
                self._threads.add(start_thread(f"lasersell-buy-{next_number()}", run))

    def stop(self) -> None:
        """Take no more buys."""
        with self._mutex:
            self._stopping.set()

    def join(self, timeout: float) -> None:
        """Wait for the buys under way, ``timeout`` seconds at most."""
        deadline = Deadline(timeout, self._clock)
        with self._mutex:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(deadline.remaining())

    # One buy, in its thread

    def _buy(self, signal: MirrorBuySignal, born_at: float) -> None:
        why_not = self._why_not(signal, born_at)
        if why_not is not None:
            self._refuse(signal, why_not)
            return
        try:
            signed = self._signer.sign_mirror_buy(
                signal, self._auto_buys[signal.watched_wallet]
            )
            if self._dry_run:
                self._refuse(signal, f"dry run: {signed.signature} would be submitted")
                return
            row = self._journal.begin_buy(signal, signed.signature)
        except (LaserSellError, DuplicateAttempt, sqlite3.Error) as error:
            self._refuse(signal, str(error))
            return
        self._submit(signal, signed, row)

    def _why_not(self, signal: MirrorBuySignal, born_at: float) -> str | None:
        if signal.watched_wallet not in self._auto_buys:
            return "no auto_buy is configured for the watched wallet"
        if self._is_paused():
            return "the kill switch is on"
        if self._clock.monotonic() - born_at > self._max_signal_age:
            return "the signal is too old"
        return self._loss_cap.why_reached(self._journal, self._clock.wall_ms())

    def _refuse(self, signal: MirrorBuySignal, why: str) -> None:
        self._report("buy_refused", signal, detail=why)
        self._tell_server(signal, success=False)
        self._journal.refuse_buy(signal, why)

    def _submit(
        self, signal: MirrorBuySignal, signed: SignedTransaction, row: int
    ) -> None:
        try:
            submission = self._submitter.submit(signed)
        except TxError as error:
            # See the table in lasersell.exits.submit.
            if error.stage == "preflight" or not error.is_retryable:
                self._end(signal, row, "rejected", detail=str(error))
                self._tell_server(signal, success=False)
                return
        else:
            self._report(
                "buy_submitted",
                signal,
                signature=signed.signature,
                target=submission.target,
            )
        self._tell_server(signal, success=True)
        self._settle(signal, signed, row)

    def _settle(
        self, signal: MirrorBuySignal | None, signed: SignedTransaction | str, row: int
    ) -> None:
        """Wait for what becomes of a buy; left open in the journal if nobody can tell."""
        resend_every = None if isinstance(signed, str) else RESEND_SEC
        deadline = Deadline(CONFIRM_SEC, self._clock)
        while not self._stopping.is_set():
            try:
                confirmation = self._submitter.confirm(
                    signed,
                    timeout=deadline.remaining() or 0.0,
                    resend_every=resend_every,
                )
            except TxError as error:
                if error.stage == "execute":
                    self._end(signal, row, "failed", detail=str(error))
                elif error.stage == "expire":
                    self._end(signal, row, "expired", detail=str(error))
                elif not deadline.has_passed():
                    # The node refuses to tell; in a while it may.
                    self._stopping.wait(RESEND_SEC)
                    continue
                elif self._is_unseen(signed):
                    self._end(signal, row, "expired", detail=str(error))
                else:
                    log.warning(
                        "what became of a mirror buy is not known, the next run asks "
                        "again: %s",
                        error,
                    )
            else:
                self._end(signal, row, "landed", slot=confirmation.slot)
            return

    def _is_unseen(self, signed: SignedTransaction | str) -> bool:
        """Tell whether the node answers that it does not know a transaction."""
        watch = self._submitter.watch(signed)
        try:
            confirmation = watch.look(Deadline(LOOK_SEC))
        except TxError:
            return False
        return confirmation is None and watch.last_failure is None

    def _settle_all(self, unknown: list[tuple[int, str]]) -> None:
        for row, signature in unknown:
            self._settle(None, signature, row)

    def _end(
        self,
        signal: MirrorBuySignal | None,
        row: int,
        outcome: BuyOutcome,
        *,
        slot: int | None = None,
        detail: str | None = None,
    ) -> None:
        self._journal.end_buy(row, outcome, slot=slot, detail=detail)
        self._report("buy_ended", signal, outcome=outcome, slot=slot, detail=detail)

    def _tell_server(self, signal: MirrorBuySignal, *, success: bool) -> None:
        try:
            self._session.mirror_buy_result(signal.mint, success)
        except LaserSellError as error:
            log.warning("the server was not told of a mirror buy: %s", error)

    def _report(
        self, type: EventType, signal: MirrorBuySignal | None, **facts: Any
    ) -> None:
        if signal is not None:
            facts.update(wallet=signal.user_wallet, mint=signal.mint)
        self._reporter.report(
            AutoExitEvent(type=type, at_ms=self._clock.wall_ms(), **facts)
        )
