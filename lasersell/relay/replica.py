"""
The positions of a relay as a subscriber knows them.

Read by any thread without a lock: every step is one operation on a dictionary.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.server import LiquiditySnapshot, PnlUpdate
from lasersell.relay.codec import PositionRecord, opened_of
from lasersell.session.positions import PositionHandle

__all__ = ["Replica"]

OVER_KEPT = 1024
"""Positions that are over and still remembered, for a late event of them."""


class Replica:
    """A book of positions that follows its publisher's."""

    def __init__(self) -> None:
        self.epoch = ""
        """The publisher's present connection; ids are good for one only."""
        # Guards changes: the thread of the feed and that of the signals make them.
        self._mutex = threading.Lock()
        self._by_key: dict[str, PositionHandle] = {}
        self._numbers: dict[str, int] = {}
        self._over: OrderedDict[str, None] = OrderedDict()
        self._by_id: dict[tuple[str, int], PositionHandle] = {}
        self._ids: dict[str, tuple[str, int]] = {}
        self._by_account: dict[str, PositionHandle] = {}
        self._by_wallet_mint: dict[tuple[str, str], dict[str, PositionHandle]] = {}

    # Looking up, from any thread

    def open(self) -> list[PositionHandle]:
        """Return the open positions, oldest first."""
        return list(self._by_account.values())

    def with_id(self, position_id: int) -> PositionHandle | None:
        """Return the open position that the present connection gave an id."""
        return self._by_id.get((self.epoch, position_id))

    def by_account(self, token_account: str) -> PositionHandle | None:
        """Return the open position on a token account."""
        return self._by_account.get(token_account)

    def by_wallet_mint(self, wallet: str, mint: str) -> list[PositionHandle]:
        """Return the open positions of one wallet in one token."""
        return list(self._by_wallet_mint.get((wallet, mint), {}).values())

    # Changing

    def apply(self, record: PositionRecord, number: int) -> PositionHandle:
        """
        Take what the publisher knows of a position; return its handle.

        Args:
            record: What it knows.
            number: Of the event that brought it; an earlier one changes nothing.

        Raises:
            RelayError: Another version wrote it.
        """
        with self._mutex:
            return self._apply(record, number)

    def _apply(self, record: PositionRecord, number: int) -> PositionHandle:
        key = record.key
        handle = self._by_key.get(key)
        if handle is None:
            handle = self._by_key[key] = handle_of(record)
        elif number <= self._numbers[key]:
            return handle
        else:
            update(handle, record)
        self._numbers[key] = number
        if handle.is_open and handle.known:
            self._enter(record, handle)
        else:
            self._leave(key, handle)
            self._bury(key, handle)
        return handle

    def known(self, record: PositionRecord) -> PositionHandle:
        """Return the handle of a position, whose record was taken before; any thread."""
        handle = self._by_key.get(record.key)
        if handle is None:
            handle = handle_of(record)
            if handle.known and handle.is_open:
                # It would be here if it still were.
                handle.status = "lost"
        return handle

    def disconnected(self) -> None:
        """Note that every position must be named again."""
        for handle in self.open():
            handle.is_here = False

    def replace(
        self, records: Iterable[PositionRecord], number: int
    ) -> tuple[list[PositionHandle], list[PositionHandle]]:
        """
        Take everything that the publisher knows.

        Args:
            records: Of all open positions, in any order.
            number: Of the last event that they are made of.

        Returns:
            The positions that were not known, oldest first, and those that are gone.
        """
        records = sorted(records, key=lambda record: opened_of(record).slot)
        with self._mutex:
            before = dict(self._by_key)
            were_open = {key for key in before if before[key].is_open}
            # A Redis that has forgotten events may count from an earlier one.
            self._numbers = dict.fromkeys(before, number - 1)
            new = []
            for record in records:
                handle = self._apply(record, number)
                if record.key not in were_open:
                    new.append(handle)
            gone = []
            for key in were_open - {record.key for record in records}:
                handle = before[key]
                if not handle.known:
                    continue
                self._leave(key, handle)
                handle.status = "lost"
                self._bury(key, handle)
                gone.append(handle)
            return new, gone

    def take_pnl(self, handle: PositionHandle, message: PnlUpdate) -> None:
        """Note the latest profit."""
        handle.pnl = message
        peak = handle.peak_profit_units
        if peak is None or message.profit_units > peak:
            handle.peak_profit_units = message.profit_units

    def take_latest(self, key: str, message: PnlUpdate | LiquiditySnapshot) -> None:
        """Note what was last said of a position before we listened."""
        handle = self._by_key.get(key)
        if handle is None:
            return
        if isinstance(message, PnlUpdate):
            self.take_pnl(handle, message)
        else:
            handle.liquidity = message

    def _enter(self, record: PositionRecord, handle: PositionHandle) -> None:
        # In place, so that nobody who looks meanwhile misses it: of all its names only
        # the id ever changes.
        self._over.pop(record.key, None)
        name = (record.epoch, handle.position_id)
        if self._ids.get(record.key) != name:
            self._forget_id(record.key, handle)
        self._ids[record.key] = name
        self._by_id[name] = handle
        self._by_account[handle.token_account] = handle
        holdings = self._by_wallet_mint.setdefault(
            (handle.wallet_pubkey, handle.mint), {}
        )
        holdings[handle.token_account] = handle

    def _leave(self, key: str, handle: PositionHandle) -> None:
        self._forget_id(key, handle)
        account = handle.token_account
        if self._by_account.get(account) is handle:
            del self._by_account[account]
        whose = (handle.wallet_pubkey, handle.mint)
        holdings = self._by_wallet_mint.get(whose, {})
        if holdings.get(account) is handle:
            del holdings[account]
            if not holdings:
                del self._by_wallet_mint[whose]

    def _forget_id(self, key: str, handle: PositionHandle) -> None:
        name = self._ids.pop(key, None)
        if name is not None and self._by_id.get(name) is handle:
            del self._by_id[name]

    def _bury(self, key: str, handle: PositionHandle) -> None:
        handle.liquidity = None
        self._over[key] = None
        if len(self._over) > OVER_KEPT:
            oldest, _ = self._over.popitem(last=False)
            self._by_key.pop(oldest, None)
            self._numbers.pop(oldest, None)


def handle_of(record: PositionRecord) -> PositionHandle:
    """
    Return a handle of its own for a record.

    Raises:
        RelayError: Another version wrote it.
    """
    handle = PositionHandle(
        opened_of(record), SYSTEM_CLOCK.monotonic(), known=record.known
    )
    update(handle, record)
    return handle


def update(handle: PositionHandle, record: PositionRecord) -> None:
    """Make a handle say what a record says."""
    handle.opened = opened_of(record)
    handle.position_id = record.position_id
    handle.tokens = record.tokens
    handle.market_context = handle.opened.market_context
    handle.status = record.status
    handle.close_reason = record.close_reason
    handle.is_here = record.is_here
    handle.is_untracked = record.is_untracked
    handle.exit_attempts = dict(record.attempts)
    if record.peak_profit_units is not None:
        handle.peak_profit_units = record.peak_profit_units
