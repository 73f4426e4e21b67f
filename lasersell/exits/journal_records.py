"""
The rows of the journal, as values.
"""

from __future__ import annotations

import sqlite3
from typing import Literal, TypeAlias

import attrs

from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.server import PositionOpened

__all__ = [
    "AttemptOutcome",
    "AttemptRecord",
    "BuyOutcome",
    "HoldingRecord",
    "SaleOutcome",
    "SaleRecord",
    "SignalRecord",
    "Source",
    "holding_of",
    "sale_of",
    "shortened",
    "signed_of",
    "text_of",
]

Source: TypeAlias = Literal["stream", "api"]
"""Who built a transaction: pushed or answered by the stream, or by the REST API."""

AttemptOutcome: TypeAlias = Literal["landed", "failed", "rejected", "expired"]
"""
``landed``: it is on the chain and did what it should; ``failed``: it is on the chain,
with an error; ``rejected``: no target took it, so it never left; ``expired``: its
block hash is too old, and it is not on the chain.
"""

SaleOutcome: TypeAlias = Literal["sold", "superseded", "closed", "gave_up", "dry_run"]
"""
``sold``: its transaction landed; ``superseded``: a sale of the whole position came
instead; ``closed``: the position ended without it; ``gave_up``: no attempt is left;
``dry_run``: it would have been submitted.
"""

BuyOutcome: TypeAlias = Literal["landed", "failed", "rejected", "expired", "refused"]
"""As for an attempt; ``refused``: not submitted, for the reason in ``detail``."""

_DETAIL_LIMIT = 500
"""Characters of a detail that are kept."""


@attrs.frozen(kw_only=True)
class HoldingRecord:
    """A position as it was opened."""

    id: int
    opened: PositionOpened
    """What tells it from another opening of the same account."""
    closed_ms: int | None
    """When it was seen closed, Unix epoch ms."""
    sold_slot: int | None
    """The slot in which our sale of the whole landed."""


@attrs.frozen(kw_only=True)
class SaleRecord:
    """One sale that is to happen once."""

    id: int
    holding_id: int
    level: int | None
    outcome: SaleOutcome | None
    sell_tokens: int | None
    """What its latest signal sells."""


@attrs.frozen(kw_only=True)
class SignalRecord:
    """A transaction that was offered; the row that an attempt refers to."""

    sale_id: int
    born_ms: int
    """When it was built, Unix epoch ms by our clock."""
    source: Source
    reason: str | None = None
    slippage_bps: int | None = None
    """What was asked for; None if nothing was."""
    sell_tokens: int | None = None


@attrs.frozen(kw_only=True)
class AttemptRecord:
    """A transaction of which it is not known what became."""

    id: int
    sale: SaleRecord
    holding: HoldingRecord
    signed: SignedTransaction
    born_ms: int
    begun_ms: int


def text_of(value: int | None) -> str | None:
    """Return a number as the file has it."""
    return None if value is None else str(value)


def number_of(value: str | None) -> int | None:
    """Return a number that the file has as text."""
    return None if value is None else int(value)


def shortened(text: str | None) -> str | None:
    """Return a detail, cut to what is kept of one."""
    return None if text is None else text[:_DETAIL_LIMIT]


def holding_of(row: sqlite3.Row) -> HoldingRecord:
    """Return a row of the holdings."""
    opened = PositionOpened(
        position_id=int(row["position_id"]),
        wallet_pubkey=row["wallet"],
        mint=row["mint"],
        token_account=row["token_account"],
        tokens=int(row["tokens"]),
        entry_quote_units=int(row["entry_quote_units"]),
        token_symbol=row["symbol"],
        opened_at_ms=row["opened_at_ms"],
        slot=row["slot"],
    )
    return HoldingRecord(
        id=row["id"],
        opened=opened,
        closed_ms=row["closed_ms"],
        sold_slot=row["sold_slot"],
    )


def sale_of(row: sqlite3.Row) -> SaleRecord:
    """Return a row of the latest sales."""
    return SaleRecord(
        id=row["id"],
        holding_id=row["holding_id"],
        level=row["level"],
        outcome=row["outcome"],
        sell_tokens=number_of(row["sell_tokens"]),
    )


def signed_of(row: sqlite3.Row) -> SignedTransaction:
    """Return the transaction of a row of the attempts."""
    return SignedTransaction(
        raw=row["raw"],
        signature=row["signature"],
        wallet=row["wallet"],
        blockhash=row["blockhash"],
        tip_lamports=number_of(row["tip_lamports"]),
    )
