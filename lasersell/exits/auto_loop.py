"""
The thread of an auto-exit: it takes what happens, and starts what is to be done next.

All plans belong to this one thread. What blocks runs in a thread of its own, at most
one for each token account, and reports back through the mailbox; so nothing here waits
for a network, and no exit waits for another one's.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lasersell._clock import Clock, Deadline
from lasersell._mailbox import Mailbox
from lasersell._threads import next_number, start_thread
from lasersell.errors import LaserSellError
from lasersell.exits.auto_accounts import Account, Accounts
from lasersell.exits.auto_events import AutoExitEvent, EventType, Reporter
from lasersell.exits.auto_plan import (
    Ask,
    Attempt,
    AutoExitSettings,
    Conditions,
    End,
    Look,
    Resend,
    Sale,
    Signal,
    Submit,
    WaitUntil,
)
from lasersell.exits.auto_work import (
    ApiOffer,
    Broker,
    Landed,
    NotLanded,
    Offer,
    Sent,
    StreamOffer,
)
from lasersell.exits.journal import (
    DuplicateAttempt,
    Journal,
    SignalRecord,
    Source,
)
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    PositionClosed,
    PositionOpened,
)
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import Connected, PositionLost

__all__ = ["EVENT_TYPES", "AutoExitLoop"]

log = logging.getLogger(__name__)

EVENT_TYPES = (
    "position_opened",
    "position_closed",
    "position_lost",
    "balance_update",
    "exit_signal_with_tx",
    "connected",
)
"""The events of a session that an auto-exit wants."""

KILL_FILE_INTERVAL = 1.0
"""Seconds between two looks for the end of a kill switch that is a file."""
FAILED_STEP_PAUSE = 1.0
"""Seconds until what failed in a way of its own, or in the journal, is tried again."""


class AutoExitLoop:
    """
    The state of an auto-exit, and the thread that owns it.

    ``take``, ``pause``, ``resume`` and ``stop`` may be called from any thread.

    Args:
        broker: Does what is decided here.
        journal: Where everything is written down.
        settings: How to behave.
        reporter: Who is told about each step.
        kill_file: A file that is the kill switch too: while it is there nothing is
            submitted.
        clock: Where time comes from.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        settings: AutoExitSettings,
        reporter: Reporter,
        *,
        kill_file: Path | None,
        clock: Clock,
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._settings = settings
        self._reporter = reporter
        self._kill_file = kill_file
        self._clock = clock
        self._mailbox: Mailbox[Callable[[], None]] = Mailbox()
        self._accounts = Accounts(journal, settings, clock)
        # Events in their order: more than one only while the journal cannot be written.
        self._events: deque[Callable[[], None]] = deque()
        self._events_due: float | None = None
        self._is_paused_by_hand = False
        self._was_paused = False
        self._stop_by: Deadline | None = None
        self._thread: threading.Thread | None = None
        # Guards the set of threads that do something.
        self._mutex = threading.Lock()
        self._workers: set[threading.Thread] = set()
        self._handlers: dict[type, Callable[[Any], None]] = {
            PositionOpened: self._opened,
            PositionClosed: self._closed,
            PositionLost: self._lost,
            BalanceUpdate: self._balance,
            ExitSignalWithTx: self._signal,
            Connected: self._connected,
        }

    # From any thread

    def start(self) -> None:
        """Take up what an earlier run left, and start the thread."""
        self._restore()
        self._thread = start_thread(f"lasersell-auto-{next_number()}", self._run)

    def take(self, event: StreamEvent) -> None:
        """Take an event of the session; never blocks."""
        handler = self._handlers.get(type(event.message))
        if handler is not None:
            self._mailbox.put(partial(self._happened, partial(handler, event)))

    def adopt(self, handle: PositionHandle) -> None:
        """Take a position that was opened before anyone listened; never blocks."""
        self._mailbox.put(partial(self._happened, partial(self._named, handle)))

    def pause(self) -> None:
        """Turn the kill switch on; what was submitted already may still land."""
        self._is_paused_by_hand = True
        self._mailbox.put(self._look_at_all)

    def resume(self) -> None:
        """Turn the kill switch off."""
        self._is_paused_by_hand = False
        self._mailbox.put(self._look_at_all)

    @property
    def is_paused(self) -> bool:
        """Whether the kill switch is on."""
        # Not Path.exists(), which raises where a directory on the way is unreadable.
        by_file = self._kill_file is not None and os.path.exists(self._kill_file)
        return self._is_paused_by_hand or by_file

    def stop(self, timeout: float) -> bool:
        """
        Finish what is under way, and end; blocks for ``timeout`` seconds at most.

        Again with less time ends an earlier call too.

        Returns:
            Whether nothing is under way any more.
        """
        deadline = Deadline(timeout, self._clock)
        self._stop_by = deadline
        self._mailbox.put(self._look_at_all)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())
        return not self._under_way()

    def join_workers(self, timeout: float) -> None:
        """Wait for the threads that still do something."""
        deadline = Deadline(timeout, self._clock)
        with self._mutex:
            workers = list(self._workers)
        for worker in workers:
            if worker is not threading.current_thread():
                worker.join(deadline.remaining())

    # The thread

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._do_next_job()
                self._note_pause()
            except Exception:
                # One account's trouble must not end the exits of all others.
                log.exception("a step of the auto-exit failed")
            # After each job: a stream of events must not keep the clock from being seen.
            self._look_at_due()
            self._take_due_events()

    def _do_next_job(self) -> None:
        try:
            job = self._mailbox.get(timeout=self._patience())
        except queue.Empty:
            return
        job()

    def _is_over(self) -> bool:
        stop_by = self._stop_by
        if stop_by is None:
            return False
        return stop_by.has_passed() or not self._under_way()

    def _under_way(self) -> bool:
        return any(
            account.is_busy or account.plan.attempt is not None
            for account in self._accounts
        )

    def _patience(self) -> float | None:
        now = self._clock.monotonic()
        waits = [
            max(0.0, account.due - now)
            for account in self._accounts
            if account.due is not None and not account.is_busy
        ]
        if self._events_due is not None:
            waits.append(max(0.0, self._events_due - now))
        if self._was_paused and self._kill_file is not None:
            # Nobody says when a file is gone.
            waits.append(KILL_FILE_INTERVAL)
        if self._stop_by is not None:
            waits.append(self._stop_by.remaining() or 0.0)
        return min(waits, default=None)

    def _note_pause(self) -> None:
        is_paused = self.is_paused
        if is_paused == self._was_paused:
            return
        self._was_paused = is_paused
        self._report("paused" if is_paused else "resumed")
        self._look_at_all()

    def _look_at_all(self) -> None:
        for account in self._accounts:
            self._advance(account)

    def _look_at_due(self) -> None:
        now = self._clock.monotonic()
        for account in self._accounts:
            if account.due is not None and account.due <= now:
                self._advance(account)

    # Deciding and doing

    def _conditions(self) -> Conditions:
        return Conditions(
            now=self._clock.monotonic(),
            is_paused=self.is_paused,
            is_stopping=self._stop_by is not None,
            is_live=self._broker.is_live,
            has_api=self._broker.has_api,
        )

    def _advance(self, account: Account) -> None:
        """Start what is to be done next for an account, if nothing is being done."""
        try:
            self._take_steps(account)
        except Exception:
            log.exception("a step of the auto-exit failed")

    def _take_steps(self, account: Account) -> None:
        while not account.is_busy:
            step = account.plan.next_step(self._conditions())
            account.due = step.at if isinstance(step, WaitUntil) else None
            if isinstance(step, End):
                self._end(account, step.sale, step)
            elif isinstance(step, Submit):
                self._work(
                    account, partial(self._submit, account, step.sale, step.signal)
                )
            elif isinstance(step, Resend):
                self._work(account, partial(self._resend, account, step.attempt))
            elif isinstance(step, Look):
                self._work(account, partial(self._look, account, step.attempt))
            elif isinstance(step, Ask):
                self._ask(account, step)
            else:
                return

    def _work(self, account: Account, work: Callable[[], None]) -> None:
        account.is_busy = True

        def run() -> None:
            free = self._free
            try:
                work()
            except sqlite3.OperationalError as error:
                _tell_of_journal(error)
                free = self._free_later
            except Exception:
                log.exception("a step of the auto-exit failed")
                free = self._free_later
            finally:
                with self._mutex:
                    self._workers.discard(threading.current_thread())
                self._mailbox.put(partial(free, account))

        try:
            with self._mutex:
                self._workers.add(start_thread(f"lasersell-sale-{next_number()}", run))
        except RuntimeError:
            # No thread can be started: late is better than not at all.
            log.exception("no thread for a step of the auto-exit")
            run()

    def _free(self, account: Account) -> None:
        account.is_busy = False
        self._advance(account)

    def _free_later(self, account: Account) -> None:
        # The plan was told nothing, and would do the same again at once.
        account.is_busy = False
        account.due = self._clock.monotonic() + FAILED_STEP_PAUSE

    def _tell(self, report: Callable[..., None], *facts: Any) -> None:
        """Have a fact noted by the thread that owns the plans."""
        self._mailbox.put(partial(report, *facts))

    # Steps, each in a thread of its own

    def _submit(self, account: Account, sale: Sale, signal: Signal) -> None:
        offer: Offer = signal.payload
        try:
            signed = offer.sign(self._broker.signer)
            if self._settings.dry_run:
                self._tell(self._would_sell, account, sale, signed.signature)
                return
            if not self._is_wanted(account, signal):
                return
            attempt = self._broker.write_down(sale, signal, signed)
        except DuplicateAttempt as error:
            self._tell(self._repeated, account, sale, signal, error)
            return
        except sqlite3.OperationalError:
            # No fault of the signal, which is tried again once the journal can be written.
            raise
        except Exception as error:
            # Also what nobody expects, of an account source for example: it counts as
            # a failure, or the same would be tried again at once, and for ever.
            log.debug("a transaction was not signed", exc_info=True)
            self._tell(self._refused, account, sale, signal, error)
            return
        # Before it is submitted: from now on the plan must know that it may land.
        self._tell(self._begun, account, attempt)
        self._tell(self._sent, account, attempt, self._broker.send(attempt))

    def _is_wanted(self, account: Account, signal: Signal) -> bool:
        # Signing may have taken time; another look costs none.
        age = self._clock.monotonic() - signal.born_at
        return (
            account.plan.holding.status == "open"
            and age <= self._settings.max_signal_age
            and not self.is_paused
        )

    def _resend(self, account: Account, attempt: Attempt) -> None:
        self._tell(self._resent, account, attempt, self._broker.send(attempt))

    def _look(self, account: Account, attempt: Attempt) -> None:
        self._tell(self._looked, account, attempt, self._broker.look(attempt))

    def _ask(self, account: Account, ask: Ask) -> None:
        sale, handle = ask.sale, account.handle
        account.plan.asked(sale, self._clock.monotonic())
        if ask.source is None:
            return
        self._report(
            "asked",
            account,
            sale,
            slippage_bps=ask.slippage_bps,
            detail=f"the {ask.source} for a fresh transaction",
        )
        assert handle is not None, "only what is open is asked for"
        if ask.source == "stream":
            work = partial(self._ask_stream, account, ask, handle)
        else:
            work = partial(self._ask_api, account, ask, handle)
        self._work(account, work)

    def _ask_stream(self, account: Account, ask: Ask, handle: PositionHandle) -> None:
        try:
            self._broker.ask_stream(handle.token_account, ask.slippage_bps)
        except LaserSellError as error:
            self._tell(self._ask_failed, account, ask.sale, error)

    def _ask_api(self, account: Account, ask: Ask, handle: PositionHandle) -> None:
        asked_at = self._clock.monotonic()
        try:
            offer = self._broker.ask_api(ask.sale, handle, ask.slippage_bps)
        except LaserSellError as error:
            self._tell(self._ask_failed, account, ask.sale, error)
        else:
            self._tell(self._offered, account, ask, offer, asked_at)

    # What came of them, in the thread

    def _begun(self, account: Account, attempt: Attempt) -> None:
        account.plan.begun(attempt)

    def _sent(self, account: Account, attempt: Attempt, sent: Sent) -> None:
        if sent.taken_by is not None:
            self._report_attempt("submitted", account, attempt, target=sent.taken_by)
            return
        if not sent.never_left:
            self._report_attempt("not_taken", account, attempt, detail=sent.problem)
            return
        problem = sent.problem or "no target took it"
        self._report_attempt(
            "not_taken", account, attempt, outcome="rejected", detail=problem
        )
        dead = NotLanded(
            outcome="rejected", problem=problem, by_program=sent.by_program
        )
        self._give_up_attempt(account, attempt, dead)

    def _resent(self, account: Account, attempt: Attempt, sent: Sent) -> None:
        # Whatever is said now: it may have been taken the first time.
        attempt.sent_at = self._clock.monotonic()
        if sent.taken_by is not None:
            self._report_attempt("resent", account, attempt, target=sent.taken_by)
        else:
            self._report_attempt("not_taken", account, attempt, detail=sent.problem)

    def _looked(
        self,
        account: Account,
        attempt: Attempt,
        found: Landed | NotLanded | str | None,
    ) -> None:
        attempt.looked_at = self._clock.monotonic()
        if isinstance(found, Landed):
            self._landed(account, attempt, found.slot)
        elif isinstance(found, NotLanded):
            is_failure = found.outcome == "failed"
            self._report_attempt(
                "failed" if is_failure else "expired",
                account,
                attempt,
                detail=found.problem,
            )
            self._give_up_attempt(account, attempt, found)
        elif found is not None:
            log.warning("what became of %s is not known: %s", attempt.id, found)

    def _landed(self, account: Account, attempt: Attempt, slot: int) -> None:
        plan, sale = account.plan, attempt.sale
        is_current = plan.is_current(sale)
        plan.landed(attempt, slot)
        with self._journal.together():
            self._journal.end_attempt(attempt.id, "landed", slot=slot)
            self._journal.end_sale(sale.id, "sold")
            if sale.is_full:
                sold_slot = plan.holding.sold_slot if is_current else slot
                self._journal.mark_sold(sale.holding_id, sold_slot)
        self._report_attempt("landed", account, attempt, slot=slot)
        self._report("ended", account, sale, outcome="sold")
        self._next_of_backlog(account)

    def _give_up_attempt(
        self, account: Account, attempt: Attempt, dead: NotLanded
    ) -> None:
        plan, sale = account.plan, attempt.sale
        with self._journal.together():
            self._journal.end_attempt(attempt.id, dead.outcome, detail=dead.problem)
            if sale.is_pending and not plan.is_current(sale):
                self._journal.end_sale(sale.id, "closed")
        plan.dead(
            attempt,
            dead.problem,
            self._clock.monotonic(),
            by_program=dead.by_program,
        )
        self._next_of_backlog(account)

    def _next_of_backlog(self, account: Account) -> None:
        if account.backlog:
            account.plan.attempt = account.backlog.pop(0)

    def _refused(
        self, account: Account, sale: Sale, signal: Signal, error: Exception
    ) -> None:
        account.plan.refused(sale, signal, str(error), self._clock.monotonic())
        self._report_refusal(account, sale, signal, error)

    def _repeated(
        self, account: Account, sale: Sale, signal: Signal, error: Exception
    ) -> None:
        account.plan.repeated(sale, signal, str(error), self._clock.monotonic())
        self._report_refusal(account, sale, signal, error)

    def _report_refusal(
        self, account: Account, sale: Sale, signal: Signal, error: Exception
    ) -> None:
        self._report("refused", account, sale, detail=str(error))
        self._journal.decide(signal.id, f"refused: {error}")

    def _would_sell(self, account: Account, sale: Sale, signature: str) -> None:
        self._finish(account, sale, "dry_run", f"{signature} would be submitted")

    def _ask_failed(self, account: Account, sale: Sale, error: LaserSellError) -> None:
        sale.problem = str(error)
        self._report("ask_failed", account, sale, detail=str(error))

    def _offered(
        self, account: Account, ask: Ask, offer: ApiOffer, asked_at: float
    ) -> None:
        sale = ask.sale
        if account.plan.is_current(sale) and sale.is_pending:
            signal = self._noted(sale, offer, asked_at, "api", ask.slippage_bps)
            self._take(account, sale, signal)

    def _end(self, account: Account, sale: Sale, end: End) -> None:
        self._finish(account, sale, end.outcome, end.detail)

    def _finish(
        self, account: Account, sale: Sale, outcome: Any, detail: str | None
    ) -> None:
        account.plan.ended(sale, outcome)
        self._journal.end_sale(sale.id, outcome, detail)
        self._report("ended", account, sale, outcome=outcome, detail=detail)

    # Events of the session, in the thread

    def _happened(self, event: Callable[[], None]) -> None:
        self._events.append(event)
        if self._events_due is None:
            self._take_events()

    def _take_due_events(self) -> None:
        if self._events_due is not None and self._clock.monotonic() >= self._events_due:
            self._take_events()

    def _take_events(self) -> None:
        """
        Take what happened; what the journal has no room for is taken again later.

        A signal that could not be written down must not be lost, nor overtaken.
        """
        self._events_due = None
        while self._events:
            try:
                self._events[0]()
            except sqlite3.OperationalError as error:
                self._events_due = self._clock.monotonic() + FAILED_STEP_PAUSE
                _tell_of_journal(error)
                return
            except Exception:
                log.exception("an event was of no use to the auto-exit")
            self._events.popleft()

    def _connected(self, _: StreamEvent) -> None:
        self._look_at_all()

    def _opened(self, event: StreamEvent) -> None:
        assert event.handle is not None, "an opened position has its handle"
        self._named(event.handle)

    def _named(self, handle: PositionHandle) -> None:
        """The stream has named a position that is open."""
        if handle.watched or handle.wallet_pubkey not in self._broker.signer.wallets:
            return
        self._advance(self._accounts.named(handle))

    def _closed(self, event: StreamEvent) -> None:
        message: PositionClosed = event.message  # type: ignore[assignment]
        self._gone(self._accounts.closed(event.handle, message))

    def _lost(self, event: StreamEvent) -> None:
        message: PositionLost = event.message  # type: ignore[assignment]
        self._gone(self._accounts.lost(event.handle, message))

    def _gone(self, account: Account | None) -> None:
        if account is not None:
            self._advance(account)
            self._accounts.forget_old()

    def _balance(self, event: StreamEvent) -> None:
        message: BalanceUpdate = event.message  # type: ignore[assignment]
        self._accounts.balance(event.handle, message)

    def _signal(self, event: StreamEvent) -> None:
        message: ExitSignalWithTx = event.message  # type: ignore[assignment]
        handle = event.handle
        assert handle is not None, "an exit signal has a handle, if only a made-up one"
        if message.watched or message.wallet_pubkey not in self._broker.signer.wallets:
            self._ignore(message, "it is for a wallet that is not ours")
            return
        if self._stop_by is not None:
            self._ignore(message, "we are stopping")
            return
        account = self._accounts.signalled(handle)
        verdict = account.plan.judge(message.level_index)
        if verdict != "taken":
            self._ignore(message, _WHY_IGNORED[verdict])
            return
        born_at = event.arrival.at - (event.age_ms or 0.0) / 1000
        offer = StreamOffer(message, account.handle or handle)
        with self._journal.together():
            sale = self._accounts.sale_for(account, message)
            if sale.asked_at is not None:
                # The answer to a request is no older than the request.
                born_at = max(born_at, sale.asked_at)
            signal = self._noted(sale, offer, born_at, "stream", None)
        # Not before it is written: an event that is not is taken once more.
        self._take(account, sale, signal)
        self._advance(account)

    def _ignore(self, message: ExitSignalWithTx, why: str) -> None:
        self._reporter.report(
            AutoExitEvent(
                type="ignored",
                at_ms=self._clock.wall_ms(),
                wallet=message.wallet_pubkey,
                mint=message.mint,
                token_account=message.token_account,
                level=message.level_index,
                detail=why,
            )
        )

    def _noted(
        self,
        sale: Sale,
        offer: Offer,
        born_at: float,
        source: Source,
        slippage_bps: int | None,
    ) -> Signal:
        """Return what was offered as a signal that the journal has."""
        age = self._clock.monotonic() - born_at
        row = self._journal.add_signal(
            SignalRecord(
                sale_id=sale.id,
                born_ms=self._clock.wall_ms() - round(age * 1000),
                source=source,
                reason=_reason_of(offer),
                slippage_bps=slippage_bps,
                sell_tokens=sale.sell_tokens,
            )
        )
        return Signal(id=row, born_at=born_at, payload=offer)

    def _take(self, account: Account, sale: Sale, signal: Signal) -> None:
        account.plan.take(sale, signal)
        self._report("signal", account, sale, detail=_reason_of(signal.payload))

    # What an earlier run left

    def _restore(self) -> None:
        for record in self._journal.open_attempts():
            self._accounts.restore(record)
        for account in self._accounts:
            self._mailbox.put(partial(self._advance, account))

    # Reports

    def _report(
        self,
        type: EventType,
        account: Account | None = None,
        sale: Sale | None = None,
        **facts: Any,
    ) -> None:
        if account is not None:
            opened = account.record.opened
            facts.update(
                wallet=opened.wallet_pubkey,
                mint=opened.mint,
                symbol=opened.token_symbol,
                token_account=opened.token_account,
            )
        if sale is not None:
            facts.update(level=sale.level, sale_id=sale.id)
        self._reporter.report(
            AutoExitEvent(type=type, at_ms=self._clock.wall_ms(), **facts)
        )

    def _report_attempt(
        self, type: EventType, account: Account, attempt: Attempt, **facts: Any
    ) -> None:
        self._report(
            type,
            account,
            attempt.sale,
            attempt=attempt.sale.attempts,
            signature=attempt.signed.signature,
            **facts,
        )


def _tell_of_journal(error: sqlite3.OperationalError) -> None:
    log.error("the journal cannot be written: %s; trying again", error)


def _reason_of(offer: Offer) -> str | None:
    return offer.message.reason if isinstance(offer, StreamOffer) else None


_WHY_IGNORED = {
    "closed": "the position is closed",
    "sold": "it was sold already",
    "superseded": "an exit of the whole position is under way",
}
