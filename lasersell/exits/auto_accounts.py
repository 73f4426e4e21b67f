"""
The token accounts that an auto-exit knows: what is in them, by the stream and the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import attrs

from lasersell._clock import Clock
from lasersell.exits.auto_plan import (
    AccountPlan,
    Attempt,
    AutoExitSettings,
    Holding,
    Sale,
)
from lasersell.exits.journal import AttemptRecord, HoldingRecord, Journal, SaleRecord
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    PositionClosed,
    PositionOpened,
)
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import PositionLost
from lasersell.stream.recognition import Recognition

__all__ = ["Account", "Accounts"]

log = logging.getLogger(__name__)

FORGET_AFTER_SEC = 600.0
"""How long a position that is gone is remembered, so that a late signal is known as one."""
BALANCES_KEPT = 1024


@attrs.define(eq=False)
class Account:
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


class Accounts:
    """
    All accounts; whoever calls a method that changes one must be the loop's thread.

    Args:
        journal: Where everything is written down.
        settings: How to behave.
        clock: Where time comes from.
    """

    def __init__(
        self, journal: Journal, settings: AutoExitSettings, clock: Clock
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._by_key: dict[str, Account] = {}
        # Of accounts that no position is known of yet.
        self._balances: dict[str, BalanceUpdate] = {}

    def __iter__(self) -> Iterator[Account]:
        """Go through them as they are now; any thread may."""
        return iter(list(self._by_key.values()))

    def __contains__(self, token_account: str) -> bool:
        return token_account in self._by_key

    # What the stream says

    def named(self, handle: PositionHandle) -> Account:
        """Take a position that the stream has named as open; return its account."""
        account = self._by_key.get(_key_of(handle))
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
        return account

    def signalled(self, handle: PositionHandle) -> Account:
        """Return the account of an exit signal, which may be the first of its position."""
        account = self._by_key.get(_key_of(handle))
        if account is None:
            account = self._new_account(handle)
        if account.handle is None:
            account.handle = handle
        return account

    def closed(
        self, handle: PositionHandle | None, message: PositionClosed
    ) -> Account | None:
        """Take the close of a position; return its account, if that is news."""
        account = self._account_of(handle, message.token_account)
        if account is None or account.plan.holding.status == "closed":
            return None
        account.plan.holding.status = "closed"
        account.gone_at = self._clock.monotonic()
        self._journal.close_holding(account.record.id, message.reason)
        if account.plan.attempt is not None:
            # It may be what closed the position: worth a look at once.
            account.plan.attempt.looked_at = float("-inf")
        return account

    def lost(
        self, handle: PositionHandle | None, message: PositionLost
    ) -> Account | None:
        """Take a position that did not come back; return its account, if that is news."""
        account = self._account_of(handle, message.token_account)
        if account is None or account.plan.holding.status != "open":
            return None
        account.plan.holding.status = "lost"
        account.gone_at = self._clock.monotonic()
        return account

    def balance(self, handle: PositionHandle | None, message: BalanceUpdate) -> None:
        """Take a balance, also of an account that no position is known of yet."""
        key = message.token_account if handle is None else _key_of(handle)
        if key is None:
            return
        account = self._by_key.get(key)
        if account is not None:
            self._see_balance(account, message)
            return
        self._balances.pop(key, None)
        self._balances[key] = message
        if len(self._balances) > BALANCES_KEPT:
            del self._balances[next(iter(self._balances))]

    def sale_for(self, account: Account, message: ExitSignalWithTx) -> Sale:
        """Return the sale that a signal asks for, written down."""
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

    def forget_old(self) -> None:
        """Forget positions that have been gone for long, with nothing under way."""
        limit = self._clock.monotonic() - FORGET_AFTER_SEC
        for key, account in list(self._by_key.items()):
            is_done = account.plan.attempt is None and not account.is_busy
            if is_done and account.gone_at is not None and account.gone_at < limit:
                del self._by_key[key]

    # What an earlier run left

    def restore(self, record: AttemptRecord) -> None:
        """Take up an attempt that may still land."""
        key = record.holding.opened.token_account
        account = self._by_key.get(key)
        if account is None:
            latest = self._journal.latest_holding(key)
            account = self._enter(latest or record.holding)
        attempt = self._attempt(record, self._sale_in(account, record.sale))
        if account.plan.attempt is None:
            account.plan.attempt = attempt
        else:
            account.backlog.append(attempt)
        log.info("%s may still land; asking the chain", record.signed.signature)

    def _sale_in(self, account: Account, record: SaleRecord) -> Sale:
        known = (s for s in account.plan.sales.values() if s.id == record.id)
        return next(known, None) or self._sale(record)

    def _attempt(self, record: AttemptRecord, sale: Sale) -> Attempt:
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        sale.attempts += 1
        return Attempt(
            id=record.id,
            sale=sale,
            signed=record.signed,
            born_at=now - max(0, now_ms - record.born_ms) / 1000,
            begun_at=now - max(0, now_ms - record.begun_ms) / 1000,
            sent_at=float("-inf"),
            looked_at=float("-inf"),
        )

    # Which position is which

    def _new_account(self, handle: PositionHandle) -> Account:
        record = self._journal.latest_holding(_key_of(handle))
        # A signal that matches no position tells nothing about its opening.
        if record is None or (handle.known and not _is_known(record, handle.opened)):
            record = self._journal.add_holding(_opening_of(handle))
        return self._enter(record)

    def _enter(self, record: HoldingRecord) -> Account:
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
        account = Account(
            key=record.opened.token_account,
            plan=AccountPlan(self._settings, holding, sales),
            record=record,
            gone_at=self._clock.monotonic(),
        )
        self._by_key[account.key] = account
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

    def _meet(self, account: Account, handle: PositionHandle) -> None:
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

    def _account_of(
        self, handle: PositionHandle | None, token_account: str | None
    ) -> Account | None:
        if handle is None:
            return self._by_key.get(token_account or "")
        account = self._by_key.get(_key_of(handle))
        # The end of one position is not that of its successor on the account.
        if account is None or account.handle not in (None, handle):
            return None
        return account

    def _see_balance(self, account: Account, message: BalanceUpdate) -> None:
        if account.plan.see_balance(message.tokens, message.slot):
            self._journal.mark_sold(account.plan.holding.id, None)
            log.info(
                "%s: %s tokens are left after the sale",
                account.record.opened.mint,
                message.tokens,
            )


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
