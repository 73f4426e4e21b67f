"""
The thread of an auto-exit: it takes what happens, and starts what is to be done next.

All plans belong to this one thread. What blocks runs in a thread of its own, at most
one for each token account, and reports back through the mailbox; so nothing here waits
for a network, and no exit waits for another one's.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from lasersell._clock import Clock, Deadline
from lasersell._mailbox import Mailbox
from lasersell._threads import next_number, start_thread
from lasersell.errors import LaserSellError
from lasersell.exits.auto_events import AutoExitEvent, EventType, Reporter
from lasersell.exits.auto_plan import (
    AccountPlan,
    Ask,
    Attempt,
    AutoExitSettings,
    Conditions,
    End,
    Holding,
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
    HoldingRecord,
    Journal,
    SaleRecord,
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
from lasersell.stream.recognition import Recognition

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

FORGET_AFTER_SEC = 600.0
"""How long a position that is gone is remembered, so that a late signal is known as one."""
BALANCES_KEPT = 1024
KILL_FILE_INTERVAL = 1.0
"""Seconds between two looks for the end of a kill switch that is a file."""


@attrs.define(eq=False)
class _Account:
    """One token account: its plan, and what goes on."""

    key: str
    plan: AccountPlan
    record: HoldingRecord
    """What the account holds, as the journal has it."""
    handle: PositionHandle | None = None
    """The live position; None while the stream has not named it."""
    is_busy: bool = False
    """Whether a thread does something for it."""
    due: float | None = None
    """When to look again, monotonic seconds."""
    gone_at: float | None = None
    """Since when the position is closed or lost."""
    backlog: list[Attempt] = attrs.Factory(list)
    """Further attempts of an earlier run that may still land."""


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
        self._accounts: dict[str, _Account] = {}
        # Of accounts that no position is known of yet.
        self._balances: dict[str, BalanceUpdate] = {}
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
            self._mailbox.put(partial(handler, event))

    def adopt(self, handle: PositionHandle) -> None:
        """Take a position that was opened before anyone listened; never blocks."""
        self._mailbox.put(partial(self._named, handle))

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
        by_file = self._kill_file is not None and self._kill_file.exists()
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
            for account in list(self._accounts.values())
        )

    def _patience(self) -> float | None:
        now = self._clock.monotonic()
        waits = [
            max(0.0, account.due - now)
            for account in self._accounts.values()
            if account.due is not None and not account.is_busy
        ]
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
        for account in list(self._accounts.values()):
            self._advance(account)

    def _look_at_due(self) -> None:
        now = self._clock.monotonic()
        for account in list(self._accounts.values()):
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

    def _advance(self, account: _Account) -> None:
        """Start what is to be done next for an account, if nothing is being done."""
        try:
            self._take_steps(account)
        except Exception:
            log.exception("a step of the auto-exit failed")

    def _take_steps(self, account: _Account) -> None:
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

    def _work(self, account: _Account, work: Callable[[], None]) -> None:
        account.is_busy = True

        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("a step of the auto-exit failed")
            finally:
                with self._mutex:
                    self._workers.discard(threading.current_thread())
                self._mailbox.put(partial(self._free, account))

        try:
            with self._mutex:
                self._workers.add(start_thread(f"lasersell-sale-{next_number()}", run))
        except RuntimeError:
            # No thread can be started: late is better than not at all.
            log.exception("no thread for a step of the auto-exit")
            run()

    def _free(self, account: _Account) -> None:
        account.is_busy = False
        self._advance(account)

    def _tell(self, report: Callable[..., None], *facts: Any) -> None:
        """Have a fact noted by the thread that owns the plans."""
        self._mailbox.put(partial(report, *facts))

    # Steps, each in a thread of its own

    def _submit(self, account: _Account, sale: Sale, signal: Signal) -> None:
        offer: Offer = signal.payload
        try:
            signed = offer.sign(self._broker.signer)
            if self._settings.dry_run:
                self._tell(self._would_sell, account, sale, signed.signature)
                return
            if not self._is_wanted(account, signal):
                return
            attempt = self._broker.write_down(sale, signal, signed)
        except (LaserSellError, DuplicateAttempt, sqlite3.Error) as error:
            self._tell(self._refused, account, sale, signal, error)
            return
        # Before it is submitted: from now on the plan must know that it may land.
        self._tell(self._begun, account, attempt)
        self._tell(self._sent, account, attempt, self._broker.send(attempt))

    def _is_wanted(self, account: _Account, signal: Signal) -> bool:
        # Signing may have taken time; another look costs none.
        age = self._clock.monotonic() - signal.born_at
        return (
            account.plan.holding.status == "open"
            and age <= self._settings.max_signal_age
            and not self.is_paused
        )

    def _resend(self, account: _Account, attempt: Attempt) -> None:
        self._tell(self._resent, account, attempt, self._broker.send(attempt))

    def _look(self, account: _Account, attempt: Attempt) -> None:
        self._tell(self._looked, account, attempt, self._broker.look(attempt))

    def _ask(self, account: _Account, ask: Ask) -> None:
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

    def _ask_stream(self, account: _Account, ask: Ask, handle: PositionHandle) -> None:
        try:
            self._broker.ask_stream(handle.token_account, ask.slippage_bps)
        except LaserSellError as error:
            self._tell(self._ask_failed, account, ask.sale, error)

    def _ask_api(self, account: _Account, ask: Ask, handle: PositionHandle) -> None:
        asked_at = self._clock.monotonic()
        try:
            offer = self._broker.ask_api(ask.sale, handle, ask.slippage_bps)
        except LaserSellError as error:
            self._tell(self._ask_failed, account, ask.sale, error)
        else:
            self._tell(self._offered, account, ask, offer, asked_at)

    # What came of them, in the thread

    def _begun(self, account: _Account, attempt: Attempt) -> None:
        account.plan.begun(attempt)

    def _sent(self, account: _Account, attempt: Attempt, sent: Sent) -> None:
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

    def _resent(self, account: _Account, attempt: Attempt, sent: Sent) -> None:
        # Whatever is said now: it may have been taken the first time.
        attempt.sent_at = self._clock.monotonic()
        if sent.taken_by is not None:
            self._report_attempt("resent", account, attempt, target=sent.taken_by)
        else:
            self._report_attempt("not_taken", account, attempt, detail=sent.problem)

    def _looked(
        self,
        account: _Account,
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

    def _landed(self, account: _Account, attempt: Attempt, slot: int) -> None:
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
        self, account: _Account, attempt: Attempt, dead: NotLanded
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

    def _next_of_backlog(self, account: _Account) -> None:
        if account.backlog:
            account.plan.attempt = account.backlog.pop(0)

    def _refused(
        self, account: _Account, sale: Sale, signal: Signal, error: Exception
    ) -> None:
        account.plan.refused(sale, signal, str(error), self._clock.monotonic())
        self._report("refused", account, sale, detail=str(error))
        self._journal.decide(signal.id, f"refused: {error}")

    def _would_sell(self, account: _Account, sale: Sale, signature: str) -> None:
        self._finish(account, sale, "dry_run", f"{signature} would be submitted")

    def _ask_failed(self, account: _Account, sale: Sale, error: LaserSellError) -> None:
        sale.problem = str(error)
        self._report("ask_failed", account, sale, detail=str(error))

    def _offered(
        self, account: _Account, ask: Ask, offer: ApiOffer, asked_at: float
    ) -> None:
        sale = ask.sale
        if account.plan.is_current(sale) and sale.is_pending:
            self._take(account, sale, offer, asked_at, "api", ask.slippage_bps)

    def _end(self, account: _Account, sale: Sale, end: End) -> None:
        self._finish(account, sale, end.outcome, end.detail)

    def _finish(
        self, account: _Account, sale: Sale, outcome: Any, detail: str | None
    ) -> None:
        account.plan.ended(sale, outcome)
        self._journal.end_sale(sale.id, outcome, detail)
        self._report("ended", account, sale, outcome=outcome, detail=detail)

    # Events of the session, in the thread

    def _connected(self, _: StreamEvent) -> None:
        self._look_at_all()

    def _opened(self, event: StreamEvent) -> None:
        assert event.handle is not None, "an opened position has its handle"
        self._named(event.handle)

    def _named(self, handle: PositionHandle) -> None:
        """The stream has named a position that is open."""
        if handle.watched or handle.wallet_pubkey not in self._broker.signer.wallets:
            return
        account = self._accounts.get(_key_of(handle))
        if account is None:
            account = self._new_account(handle)
        elif account.handle is not handle:
            self._meet(account, handle)
        if account.record.opened != handle.opened:
            # The next run must know it by what the server says of it now.
            account.record = self._journal.rename_holding(account.record, handle.opened)
        if account.plan.holding.status == "closed":
            self._journal.reopen_holding(account.record.id)
        account.gone_at = None
        account.handle = handle
        account.plan.holding.status = "open"
        balance = self._balances.pop(account.key, None)
        if balance is not None:
            self._see_balance(account, balance)
        self._advance(account)

    def _new_account(self, handle: PositionHandle) -> _Account:
        record = self._journal.latest_holding(_key_of(handle))
        # A signal that matches no position tells nothing about its opening.
        if record is None or (handle.known and not _is_known(record, handle.opened)):
            record = self._journal.add_holding(_opening_of(handle))
        return self._enter(record)

    def _enter(self, record: HoldingRecord) -> _Account:
        """Take up a holding with its sales so far, as lost until it is named."""
        is_over = record.closed_ms is not None
        holding = Holding(
            id=record.id,
            status="closed" if is_over else "lost",
            sold_slot=record.sold_slot,
        )
        sales = [
            self._sale(sale)
            for sale in self._journal.sales_of(record.id)
            # Something was left of what had been sold as the whole.
            if not (_is_sold_whole(sale) and record.sold_slot is None)
        ]
        account = _Account(
            key=record.opened.token_account,
            plan=AccountPlan(self._settings, holding, sales),
            record=record,
            gone_at=self._clock.monotonic(),
        )
        self._accounts[account.key] = account
        return account

    def _sale(self, record: SaleRecord) -> Sale:
        """Return a sale of an earlier run; what was given up has another chance."""
        outcome = record.outcome
        if outcome == "gave_up":
            outcome = None
            self._journal.reopen_sale(record.id)
        return Sale(
            id=record.id,
            holding_id=record.holding_id,
            level=record.level,
            sell_tokens=record.sell_tokens,
            outcome=outcome,
        )

    def _meet(self, account: _Account, handle: PositionHandle) -> None:
        """Decide whether another handle is another position."""
        known = account.handle
        # The session has told two positions apart, unless it had forgotten the first.
        was_told = known is not None and known.known
        holding = account.plan.holding
        is_over = holding.status == "closed" or holding.sold_slot is not None
        if _is_same(account.record.opened, handle.opened, strictly=was_told or is_over):
            return
        with self._journal.together():
            self._journal.close_holding(account.record.id, "replaced")
            account.record = self._journal.add_holding(handle.opened)
            for sale in account.plan.replace(Holding(id=account.record.id)):
                self._journal.end_sale(sale.id, "closed")

    def _closed(self, event: StreamEvent) -> None:
        message: PositionClosed = event.message  # type: ignore[assignment]
        account = self._account_of(event, message.token_account)
        if account is None or account.plan.holding.status == "closed":
            return
        account.plan.holding.status = "closed"
        account.gone_at = self._clock.monotonic()
        self._journal.close_holding(account.record.id, message.reason)
        if account.plan.attempt is not None:
            # It may be what closed the position: worth a look at once.
            account.plan.attempt.looked_at = float("-inf")
        self._advance(account)
        self._forget_old()

    def _lost(self, event: StreamEvent) -> None:
        message: PositionLost = event.message  # type: ignore[assignment]
        account = self._account_of(event, message.token_account)
        if account is not None and account.plan.holding.status == "open":
            account.plan.holding.status = "lost"
            account.gone_at = self._clock.monotonic()
            self._advance(account)
            self._forget_old()

    def _account_of(
        self, event: StreamEvent, token_account: str | None
    ) -> _Account | None:
        if event.handle is None:
            return self._accounts.get(token_account or "")
        account = self._accounts.get(_key_of(event.handle))
        # The end of one position is not that of its successor on the account.
        if account is None or account.handle not in (None, event.handle):
            return None
        return account

    def _forget_old(self) -> None:
        limit = self._clock.monotonic() - FORGET_AFTER_SEC
        for key, account in list(self._accounts.items()):
            is_done = account.plan.attempt is None and not account.is_busy
            if is_done and account.gone_at is not None and account.gone_at < limit:
                del self._accounts[key]

    def _balance(self, event: StreamEvent) -> None:
        message: BalanceUpdate = event.message  # type: ignore[assignment]
        handle = event.handle
        key = message.token_account if handle is None else _key_of(handle)
        if key is None:
            return
        account = self._accounts.get(key)
        if account is not None:
            self._see_balance(account, message)
            return
        self._balances.pop(key, None)
        self._balances[key] = message
        if len(self._balances) > BALANCES_KEPT:
            del self._balances[next(iter(self._balances))]

    def _see_balance(self, account: _Account, message: BalanceUpdate) -> None:
        if account.plan.see_balance(message.tokens, message.slot):
            self._journal.mark_sold(account.plan.holding.id, None)
            log.info(
                "%s: %s tokens are left after the sale",
                account.record.opened.mint,
                message.tokens,
            )

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
        account = self._accounts.get(_key_of(handle))
        if account is None:
            account = self._new_account(handle)
        if account.handle is None:
            account.handle = handle
        verdict = account.plan.judge(message.level_index)
        if verdict != "taken":
            self._ignore(message, _WHY_IGNORED[verdict])
            return
        born_at = event.arrival.at - (event.age_ms or 0.0) / 1000
        offer = StreamOffer(message, account.handle)
        with self._journal.together():
            sale = self._sale_for(account, message)
            if sale.asked_at is not None:
                # The answer to a request is no older than the request.
                born_at = max(born_at, sale.asked_at)
            self._take(account, sale, offer, born_at, "stream", None)
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

    def _sale_for(self, account: _Account, message: ExitSignalWithTx) -> Sale:
        level = message.level_index
        sale = account.plan.sales.get(level)
        if sale is None:
            holding_id = account.plan.holding.id
            row = self._journal.begin_sale(holding_id, level)
            sale = Sale(id=row, holding_id=holding_id, level=level)
        elif not sale.is_pending:
            self._journal.reopen_sale(sale.id)
        sale.sell_tokens = message.sell_tokens
        return sale

    def _take(
        self,
        account: _Account,
        sale: Sale,
        offer: Offer,
        born_at: float,
        source: Source,
        slippage_bps: int | None,
    ) -> None:
        age = self._clock.monotonic() - born_at
        reason = offer.message.reason if isinstance(offer, StreamOffer) else None
        row = self._journal.add_signal(
            SignalRecord(
                sale_id=sale.id,
                born_ms=self._clock.wall_ms() - round(age * 1000),
                source=source,
                reason=reason,
                slippage_bps=slippage_bps,
                sell_tokens=sale.sell_tokens,
            )
        )
        account.plan.take(sale, Signal(id=row, born_at=born_at, payload=offer))
        self._report("signal", account, sale, detail=reason)

    # What an earlier run left

    def _restore(self) -> None:
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        for record in self._journal.open_attempts():
            account = self._accounts.get(record.holding.opened.token_account)
            if account is None:
                key = record.holding.opened.token_account
                latest = self._journal.latest_holding(key)
                account = self._enter(latest or record.holding)
            sale = next(
                (s for s in account.plan.sales.values() if s.id == record.sale.id),
                None,
            ) or self._sale(record.sale)
            sale.attempts += 1
            attempt = Attempt(
                id=record.id,
                sale=sale,
                signed=record.signed,
                born_at=now - max(0, now_ms - record.born_ms) / 1000,
                begun_at=now - max(0, now_ms - record.begun_ms) / 1000,
                sent_at=float("-inf"),
                looked_at=float("-inf"),
            )
            if account.plan.attempt is None:
                account.plan.attempt = attempt
            else:
                account.backlog.append(attempt)
            log.info("%s may still land; asking the chain", record.signed.signature)
        for account in self._accounts.values():
            self._mailbox.put(partial(self._advance, account))

    # Reports

    def _report(
        self,
        type: EventType,
        account: _Account | None = None,
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
        self, type: EventType, account: _Account, attempt: Attempt, **facts: Any
    ) -> None:
        self._report(
            type,
            account,
            attempt.sale,
            attempt=attempt.sale.attempts,
            signature=attempt.signed.signature,
            **facts,
        )


_WHY_IGNORED = {
    "closed": "the position is closed",
    "sold": "it was sold already",
    "superseded": "an exit of the whole position is under way",
}


def _key_of(handle: PositionHandle) -> str:
    return handle.token_account or f"{handle.wallet_pubkey}/{handle.mint}"


def _is_sold_whole(sale: SaleRecord) -> bool:
    return sale.level is None and sale.outcome == "sold"


def _opening_of(handle: PositionHandle) -> PositionOpened:
    return attrs.evolve(handle.opened, token_account=_key_of(handle))


def _is_same(before: PositionOpened, after: PositionOpened, *, strictly: bool) -> bool:
    """Tell whether ``after`` is the position of ``before``; strictly by its opening."""
    return Recognition().is_same(before, after, is_here=strictly, is_over=strictly)


def _is_known(record: HoldingRecord, opened: PositionOpened) -> bool:
    """Tell whether a position that is named now is the one that the journal has."""
    # What was sold or closed is the same only by its opening, not by its cost alone.
    is_over = record.closed_ms is not None or record.sold_slot is not None
    return _is_same(record.opened, opened, strictly=is_over)
