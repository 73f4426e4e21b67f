"""What there is to see of a session at one moment, as plain values that travel as JSON."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["EventLine", "Kind", "PositionRow", "Snapshot", "Status"]

Status = Literal["open", "asked", "signalled", "untracked", "away"]
"""
Of a position: held; its exit was asked for; its exit signal came; you asked not to track
it; the stream that is back has not named it yet.
"""

Kind = Literal["plain", "good", "warning", "bad"]
"""What a line is to whoever reads it."""


@attrs.frozen(kw_only=True)
class PositionRow:
    """One open position. Amounts are atomic units of the quote asset."""

    token_account: str
    mint: str
    symbol: str | None
    wallet_pubkey: str
    status: Status
    is_watched: bool
    """Whether it is a watched wallet's, so that nothing can be asked for."""
    age_sec: float
    """Seconds since it was opened."""
    deadline_sec: float | None
    """Seconds until its exit is asked for; None without a deadline."""
    entry_quote_units: int
    profit_units: int | None
    pnl_pct: float | None
    peak_pnl_pct: float | None
    quote: str | None
    quote_decimals: int | None
    liquidity_trend: str | None

    @property
    def name(self) -> str:
        """What to call it."""
        return self.symbol or self.mint


@attrs.frozen(kw_only=True)
class EventLine:
    """One thing that happened, in words."""

    at_ms: int
    """When, Unix epoch ms by the clock of this machine."""
    text: str
    kind: Kind = "plain"


@attrs.frozen(kw_only=True)
class Snapshot:
    """A session at one moment."""

    at_ms: int
    """When it was taken, Unix epoch ms."""
    pid: int
    """The process that holds the stream."""
    endpoint: str
    state: str
    """One of connecting, live, stale, reconnecting, closed, failed."""
    error: str | None
    """Why the stream failed."""
    round_trip_ms: float | None
    silent_sec: float | None
    """Seconds since the last byte."""
    reconnects: int
    frames_in: int
    dropped: int
    """Updates that were dropped, for nobody took them in time."""
    wallets: tuple[str, ...]
    positions: tuple[PositionRow, ...]
    events: tuple[EventLine, ...]
    """The last events, oldest first."""
