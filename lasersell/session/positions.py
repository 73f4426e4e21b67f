"""
The positions of a session, and what a re-emission, a re-buy or a gap means for them.

Written by one thread at a time (the reader, or the supervisor between two
connections), read by any: every step is one operation on a dictionary.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal

import attrs

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    LiquiditySnapshot,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
)
from lasersell.stream.recognition import (
    TOMBSTONE_SEC,
    Frame,
    Recognition,
    is_about,
)

__all__ = [
    "QUOTE_DECIMALS",
    "Opened",
    "PositionBook",
    "PositionHandle",
    "Status",
]

STRANGERS_KEPT = 1024

SOL_MINT = "So11111111111111111111111111111111111111112"
USD1_MINT = "USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB"
_QUOTES = {SOL_MINT: "SOL", USD1_MINT: "USD1"}
_SOL_MARKETS = frozenset({"pump_fun", "pump_swap"})
QUOTE_DECIMALS = {"SOL": 9, "USD1": 6}
"""Decimal places of the quote assets that are known."""

Status = Literal["open", "closed", "lost"]


class PositionHandle:
    """
    One position, from its opening to its end; the same object in all its events.

    The library writes, you read, from any thread. Amounts are integers in atomic
    units: ``*_units`` of the quote asset, ``tokens`` of the token.
    """

    __slots__ = (
        "close_reason",
        "counts_from",
        "deadline_fired",
        "excused_until",
        "exit_attempts",
        "heard_until_ms",
        "is_here",
        "is_untracked",
        "known",
        "liquidity",
        "market_context",
        "opened",
        "peak_profit_units",
        "pnl",
        "position_id",
        "status",
        "tokens",
    )

    def __init__(
        self, opened: PositionOpened, now: float, *, known: bool = True
    ) -> None:
        self.opened = opened
        """The latest ``position_opened`` of it."""
        self.known = known
        """False for one made up from an exit signal that matched no position."""
        self.position_id = opened.position_id
        """Its id on the latest connection that named it; ids change."""
        self.tokens = opened.tokens
        """What the wallet holds, by the latest balance."""
        self.market_context = opened.market_context
        """Where it trades, by the latest message that said so."""
        self.status: Status = "open"
        """``open``, ``closed``, or ``lost`` (gone while the stream was away)."""
        self.close_reason: str | None = None
        """The server's reason for the close."""
        self.pnl: PnlUpdate | None = None
        """The latest profit and loss, also when the lane dropped its event."""
        self.peak_profit_units: int | None = None
        """The highest profit seen."""
        self.liquidity: LiquiditySnapshot | None = None
        """The latest liquidity; None again once the position is over."""
        self.is_untracked = False
        """Whether you asked to stop tracking it."""
        self.is_here = True
        """Whether the present connection has named it."""
        self.heard_until_ms: float | None = None
        """When the last connection that had named it was last heard, by the server's clock."""
        self.counts_from = now
        """The moment its deadline counts from, monotonic seconds."""
        self.excused_until = float("-inf")
        """Until then its deadline waits, for it was overdue when first seen."""
        self.deadline_fired = False
        """Whether its exit was asked for because of the deadline."""
        self.exit_attempts: dict[int | None, int] = {}
        """Exit signals so far, by ladder level; None is the whole position."""

    def __repr__(self) -> str:
        name = self.token_symbol or self.mint
        return f"<PositionHandle {self.position_id} {name} {self.status}>"

    @property
    def wallet_pubkey(self) -> str:
        """The wallet that holds it."""
        return self.opened.wallet_pubkey

    @property
    def mint(self) -> str:
        """The token."""
        return self.opened.mint

    @property
    def token_account(self) -> str:
        """The account that holds it; its identity over reconnects."""
        return self.opened.token_account

    @property
    def token_program(self) -> str | None:
        """The program of the token."""
        return self.opened.token_program

    @property
    def entry_quote_units(self) -> int:
        """What it cost, in atomic units of the quote asset."""
        return self.opened.entry_quote_units

    @property
    def token_name(self) -> str | None:
        """Name of the token."""
        return self.opened.token_name

    @property
    def token_symbol(self) -> str | None:
        """Ticker symbol of the token."""
        return self.opened.token_symbol

    @property
    def token_decimals(self) -> int | None:
        """Decimal places of the token."""
        return self.opened.token_decimals

    @property
    def slot(self) -> int:
        """Solana slot of the opening."""
        return self.opened.slot

    @property
    def opened_at_ms(self) -> int | None:
        """When it was opened, by the server's clock, Unix epoch ms."""
        return self.opened.opened_at_ms

    @property
    def watched(self) -> bool:
        """Whether it is a watched wallet's position, not yours."""
        return bool(self.opened.watched)

    @property
    def mirror_source(self) -> str | None:
        """The watched wallet this position of yours was copied from."""
        return self.opened.mirror_source

    @property
    def market_type(self) -> str | None:
        """Kind of market, as on the wire."""
        return None if self.market_context is None else self.market_context.market_type

    @property
    def quote(self) -> str | None:
        """
        The quote asset: ``SOL``, ``USD1``, or None where the market does not tell.

        Read from the market's quote mint; Pump markets carry none and trade in SOL.
        """
        context = self.market_context
        if context is None:
            return None
        if context.market_type in _SOL_MARKETS:
            return "SOL"
        venue = context.venue
        return None if venue is None else _QUOTES.get(venue.quote_mint or "")

    @property
    def quote_decimals(self) -> int | None:
        """Decimal places of the quote asset; None where it is unknown."""
        quote = self.quote
        return None if quote is None else QUOTE_DECIMALS[quote]

    @property
    def is_open(self) -> bool:
        """Whether it is held, as far as is known."""
        return self.status == "open"

    @property
    def profit_units(self) -> int | None:
        """Latest profit; negative is a loss."""
        return None if self.pnl is None else self.pnl.profit_units

    @property
    def proceeds_units(self) -> int | None:
        """What selling all would have brought, by the latest update."""
        return None if self.pnl is None else self.pnl.proceeds_units

    @property
    def pnl_pct(self) -> float | None:
        """Latest profit in percent of the entry cost; None while it is not known."""
        return self._percent(self.profit_units)

    @property
    def peak_pnl_pct(self) -> float | None:
        """Highest profit seen, in percent of the entry cost."""
        return self._percent(self.peak_profit_units)

    def _percent(self, units: int | None) -> float | None:
        entry = self.entry_quote_units
        return None if units is None or not entry else 100 * units / entry

    def to_dict(self) -> dict[str, Any]:
        """Return the position as plain values, ready for JSON."""
        names = (
            "position_id wallet_pubkey mint token_account token_program tokens entry_quote_units "
            "token_name token_symbol token_decimals slot opened_at_ms watched mirror_source "
            "market_type quote status close_reason known profit_units proceeds_units pnl_pct "
            "peak_profit_units is_untracked"
        )
        return {name: getattr(self, name) for name in names.split()}


@attrs.frozen
class Opened:
    """What a ``position_opened`` meant."""

    handle: PositionHandle
    is_new: bool
    """Whether it is a position not seen before."""
    reopened: bool = False
    """Whether a position of an earlier connection was named again."""
    previous_position_id: int | None = None
    replaced: PositionHandle | None = None
    """The position that must have gone from the same account unseen."""


class PositionBook:
    """
    All positions of a session: the open ones, and those that may yet be named again.

    Args:
        recognition: What tells a re-emission from a new position.
    """

    def __init__(self, recognition: Recognition | None = None) -> None:
        self.recognition = recognition or Recognition()
        self.by_id: dict[int, PositionHandle] = {}
        """Positions of the present connection; the hot path looks here itself."""
        self._former_ids: dict[int, PositionHandle] = {}
        self._by_account: dict[str, PositionHandle] = {}
        self._by_wallet_mint: dict[tuple[str, str], dict[str, PositionHandle]] = {}
        # Untracked positions that the server closed; the holdings may remain, and be
        # named again on the next connection.
        self._untracked: dict[str, PositionHandle] = {}
        # Positions given up after a reconnect, and since when, oldest first.
        self._tombstones: OrderedDict[str, tuple[PositionHandle, float]] = OrderedDict()
        # What only exit signals have named, on this connection.
        self._strangers: dict[tuple[object, ...], PositionHandle] = {}

    # Looking up, from any thread

    def open(self) -> list[PositionHandle]:
        """Return the open positions, oldest first."""
        return list(self._by_account.values())

    def with_id(self, position_id: int) -> PositionHandle | None:
        """
        Return the open position with an id.

        Of the present connection, or of the last one while it was not named again.
        """
        handle = self.by_id.get(position_id)
        if handle is None:
            handle = self._former_ids.get(position_id)
            if handle is not None and (handle.is_here or not handle.is_open):
                return None
        return handle

    def by_account(self, token_account: str) -> PositionHandle | None:
        """Return the open position on a token account."""
        return self._by_account.get(token_account)

    def by_wallet_mint(self, wallet: str, mint: str) -> list[PositionHandle]:
        """Return the open positions of one wallet in one token."""
        return list(self._by_wallet_mint.get((wallet, mint), {}).values())

    def find(self, frame: Frame) -> PositionHandle | None:
        """
        Return the open position that a frame is about.

        By the id of this connection, then the token account, then wallet and mint
        where only one position has them; nothing else in the frame may contradict.
        """
        for handle in self._candidates(frame):
            if handle is not None and is_about(
                frame, handle.opened, is_here=handle.is_here
            ):
                return handle
        return None

    def _candidates(self, frame: Frame) -> Iterator[PositionHandle | None]:
        if not isinstance(frame, BalanceUpdate) and frame.position_id is not None:
            yield self.by_id.get(frame.position_id)
        if frame.token_account is not None:
            yield self._by_account.get(frame.token_account)
        holdings = self.by_wallet_mint(frame.wallet_pubkey, frame.mint)
        if len(holdings) == 1:
            yield holdings[0]

    # Changing, by the applying thread only

    def opened(self, message: PositionOpened, now: float) -> Opened:
        """Take a ``position_opened``; ``now`` is monotonic seconds."""
        account = message.token_account
        existing = self._by_account.get(account)
        known = (
            existing or self._untracked.get(account) or self._tombstone(account, now)
        )
        # Whatever this is, nothing that came before it can come back.
        self._untracked.pop(account, None)
        self._tombstones.pop(account, None)
        if known is not None and self.recognition.is_same(
            known.opened,
            message,
            is_here=known.is_here,
            is_over=existing is None,
            heard_until_ms=known.heard_until_ms,
        ):
            reopened, former = known is not existing or not known.is_here, None
            if reopened:
                former = known.position_id
            self._name_again(known, message)
            return Opened(known, False, reopened, former)
        if existing is not None:
            self._remove(existing)
            existing.status = "lost"
        handle = PositionHandle(message, now)
        self._enter(handle)
        return Opened(handle, True, replaced=existing)

    def _name_again(self, handle: PositionHandle, message: PositionOpened) -> None:
        # Ids may have changed hands: only its own entry is taken away.
        if self.by_id.get(handle.position_id) is handle:
            del self.by_id[handle.position_id]
        handle.opened = message
        handle.position_id = message.position_id
        handle.tokens = message.tokens
        handle.market_context = message.market_context or handle.market_context
        handle.status = "open"
        handle.close_reason = None
        handle.is_here = True
        self._enter(handle)

    def _enter(self, handle: PositionHandle) -> None:
        self.by_id[handle.position_id] = handle
        self._by_account[handle.token_account] = handle
        holdings = self._by_wallet_mint.setdefault(
            (handle.wallet_pubkey, handle.mint), {}
        )
        holdings[handle.token_account] = handle

    def closed(self, message: PositionClosed, now: float) -> PositionHandle | None:
        """Take a ``position_closed``; return the position that ended."""
        handle = self.find(message) or self._lost_one(message, now)
        if handle is None:
            return None
        self._remove(handle)
        handle.status = "closed"
        handle.close_reason = message.reason
        if handle.is_untracked:
            self._untracked[handle.token_account] = handle
        return handle

    def balance(self, message: BalanceUpdate) -> PositionHandle | None:
        """Take a ``balance_update``; return the position whose tokens it counts."""
        handle = self.find(message)
        if handle is not None:
            handle.tokens = message.tokens
        return handle

    def exit_signal(
        self, message: ExitSignalWithTx, now: float
    ) -> tuple[PositionHandle, int]:
        """
        Take an exit signal; return its position and which attempt it is.

        One that matches no position gets a handle made from its own fields.
        """
        handle = self.find(message)
        if handle is None:
            handle = self._stranger(message, now)
        elif message.market_context is not None:
            handle.market_context = message.market_context
        attempt = handle.exit_attempts.get(message.level_index, 0) + 1
        handle.exit_attempts[message.level_index] = attempt
        return handle, attempt

    def _stranger(self, message: ExitSignalWithTx, now: float) -> PositionHandle:
        # Kept, so that a replacement of the same exit is seen as one.
        name = message.token_account or message.position_id
        key = (message.wallet_pubkey, message.mint, name)
        handle = self._strangers.get(key)
        if handle is None:
            if len(self._strangers) >= STRANGERS_KEPT:
                self._strangers.clear()
            handle = PositionHandle(_opening_of(message), now, known=False)
            self._strangers[key] = handle
        return handle

    def disconnected(self) -> None:
        """Forget the ids; every position must be named again."""
        self.by_id.clear()
        self._strangers.clear()
        handles = self.open()
        self._former_ids = {handle.position_id: handle for handle in handles}
        for handle in (*handles, *self._untracked.values()):
            if handle.is_here:
                handle.is_here = False
                handle.heard_until_ms = self.recognition.heard_until_ms

    def resynced(self, now: float) -> list[PositionHandle]:
        """Give up the positions that the new connection has not named; return them."""
        gone = [handle for handle in self.open() if not handle.is_here]
        for handle in gone:
            self._remove(handle)
            handle.status = "lost"
            self._bury(handle, now)
        for handle in list(self._untracked.values()):
            if not handle.is_here:
                del self._untracked[handle.token_account]
                self._bury(handle, now)
        return gone

    def _remove(self, handle: PositionHandle) -> None:
        if self.by_id.get(handle.position_id) is handle:
            del self.by_id[handle.position_id]
        if self._by_account.get(handle.token_account) is handle:
            del self._by_account[handle.token_account]
        key = (handle.wallet_pubkey, handle.mint)
        holdings = self._by_wallet_mint.get(key, {})
        if holdings.get(handle.token_account) is handle:
            del holdings[handle.token_account]
            if not holdings:
                del self._by_wallet_mint[key]
        handle.liquidity = None

    # Tombstones

    def _bury(self, handle: PositionHandle, now: float) -> None:
        self._forget_old(now)
        self._tombstones.pop(handle.token_account, None)
        self._tombstones[handle.token_account] = (handle, now)

    def _tombstone(self, token_account: str, now: float) -> PositionHandle | None:
        self._forget_old(now)
        entry = self._tombstones.get(token_account)
        return None if entry is None else entry[0]

    def _lost_one(self, message: PositionClosed, now: float) -> PositionHandle | None:
        """Take the lost position whose end is told now out of the tombstones."""
        handle = self._tombstone(message.token_account or "", now)
        if handle is None or not is_about(
            message, handle.opened, is_here=handle.is_here
        ):
            return None
        del self._tombstones[handle.token_account]
        return handle

    def _forget_old(self, now: float) -> None:
        while self._tombstones:
            account, (_, since) = next(iter(self._tombstones.items()))
            if now - since < TOMBSTONE_SEC:
                return
            del self._tombstones[account]


def _opening_of(message: ExitSignalWithTx) -> PositionOpened:
    return PositionOpened(
        position_id=-1 if message.position_id is None else message.position_id,
        wallet_pubkey=message.wallet_pubkey,
        mint=message.mint,
        token_account=message.token_account or "",
        token_program=message.token_program,
        tokens=message.position_tokens or 0,
        entry_quote_units=0,
        market_context=message.market_context,
        slot=0,
        watched=message.watched,
        mirror_source=message.mirror_source,
    )
