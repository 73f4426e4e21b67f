"""
Positions and their history as pandas frames.

Needs the extra ``jupyter``; without it the import raises ``MissingExtraError``.

Every column has a nullable dtype of pandas, so that an amount stays an exact integer
where others are unknown (``<NA>``). ``frame.attrs["units"]`` says for each column of
amounts, shares and times what one is:

* ``*_units``: atomic units of the quote asset (lamports in SOL markets); the column
  ``quote`` names it.
* ``tokens``, ``sell_tokens``: token atomic units.
* ``*_pct``: percent of what the position cost.
* ``*_sec``: seconds; ``*_ms``: milliseconds.
* ``at``, ``opened_at``: UTC, by the server's clock; in the history of a journal, ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasersell.contrib.recorder import Moment, PnlPoint, PnlRecorder, PositionHistory
from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession

try:
    import pandas as pd
except ImportError as error:
    raise MissingExtraError("a frame", "jupyter") from error

if TYPE_CHECKING:
    from lasersell.exits.journal import Journal
    from lasersell.exits.journal_report import JournalReader, SaleReport

__all__ = ["HISTORY_DTYPES", "POSITION_DTYPES", "history_frame", "positions_frame"]

_TIME = "datetime64[ms, UTC]"
_IDENTITY = {
    "position_id": "UInt64",
    "wallet_pubkey": "string",
    "mint": "string",
    "token_account": "string",
    "token_symbol": "string",
    "quote": "string",
}

POSITION_DTYPES: Mapping[str, str] = {
    **_IDENTITY,
    "market_type": "string",
    "token_decimals": "UInt8",
    "tokens": "UInt64",
    "entry_quote_units": "UInt64",
    "proceeds_units": "UInt64",
    "profit_units": "Int64",
    "pnl_pct": "Float64",
    "peak_profit_units": "Int64",
    "peak_pnl_pct": "Float64",
    "opened_at": _TIME,
    "deadline_sec": "Float64",
    "watched": "boolean",
    "mirror_source": "string",
}
"""The columns of :func:`positions_frame`."""

HISTORY_DTYPES: Mapping[str, str] = {
    "at": _TIME,
    "what": "category",
    "position": "Int64",
    **_IDENTITY,
    "entry_quote_units": "UInt64",
    "proceeds_units": "UInt64",
    "profit_units": "Int64",
    "pnl_pct": "Float64",
    "reason": "string",
    "level_index": "UInt32",
    "exit_attempt": "UInt32",
    "sell_tokens": "UInt64",
    "age_ms": "Float64",
    "outcome": "string",
    "signature": "string",
}
"""The columns of :func:`history_frame`."""

_WHAT = (
    "opened",
    "reopened",
    "pnl",
    "exit_signal",
    "attempt",
    "sold",
    "closed",
    "lost",
)
_UNITS = {
    "tokens": "token atomic units",
    "sell_tokens": "token atomic units",
    "entry_quote_units": "atomic units of the quote asset",
    "proceeds_units": "atomic units of the quote asset",
    "profit_units": "atomic units of the quote asset",
    "peak_profit_units": "atomic units of the quote asset",
    "pnl_pct": "percent of the entry cost",
    "peak_pnl_pct": "percent of the entry cost",
    "deadline_sec": "seconds until the exit is asked for",
    "age_ms": "milliseconds from the trigger to its arrival",
    "at": "UTC",
    "opened_at": "UTC, by the server's clock",
}

Row = dict[str, Any]


def positions_frame(session: StreamSession) -> pd.DataFrame:
    """
    Return the open positions of a session, oldest first, one row each.

    Columns and dtypes are :data:`POSITION_DTYPES`, units in ``frame.attrs["units"]``.
    Any thread may call this; it does not block.

    Args:
        session: Whose positions; ``deadline_sec`` is what is left of their deadlines.
    """
    rows = [_position(session, handle) for handle in session.positions()]
    return _frame(rows, POSITION_DTYPES)


def history_frame(
    source: PnlRecorder | Journal | JournalReader | str | Path,
) -> pd.DataFrame:
    """
    Return what happened over time, oldest first, one row for each thing.

    Columns and dtypes are :data:`HISTORY_DTYPES`, units in ``frame.attrs["units"]``.
    ``what`` is one of ``opened``, ``reopened`` (named again after a reconnect), ``pnl``,
    ``exit_signal``, ``closed``, ``lost``; in a journal ``exit_signal``, ``attempt`` (a
    transaction that was signed), ``sold`` (how a sale ended). ``position`` numbers the
    positions, or the sales of a journal, for a token account may be used again.

    Args:
        source: A recorder, a journal, what reads one, or the path of one. A journal
            needs the extra ``tx`` too.

    Raises:
        ConfigurationError: There is no such journal.
        MissingExtraError: It is one, and the extra ``tx`` is not installed.
    """
    if isinstance(source, PnlRecorder):
        rows = [row for history in source.histories() for row in _recorded(history)]
    else:
        rows = [row for sale in _sales(source) for row in _journaled(sale)]
    rows.sort(key=lambda row: row["at"])
    frame = _frame(rows, HISTORY_DTYPES)
    frame["what"] = frame["what"].cat.set_categories(list(_WHAT))
    return frame


def _frame(rows: Iterable[Row], dtypes: Mapping[str, str]) -> pd.DataFrame:
    table = list(rows)
    columns = {
        name: _column([row.get(name) for row in table], dtype)
        for name, dtype in dtypes.items()
    }
    frame: pd.DataFrame = pd.DataFrame(columns)
    frame.attrs["units"] = {name: _UNITS[name] for name in dtypes if name in _UNITS}
    return frame


def _column(values: Any, dtype: Any) -> pd.Series[Any]:
    array = pd.array(values, dtype="Int64" if dtype == _TIME else dtype)
    if dtype == _TIME:
        array = pd.to_datetime(array, unit="ms", utc=True)
    column: pd.Series[Any] = pd.Series(array)
    return column.astype(dtype) if dtype == _TIME else column


def _identity(handle: PositionHandle) -> Row:
    return {
        "position_id": handle.position_id if handle.position_id >= 0 else None,
        "wallet_pubkey": handle.wallet_pubkey,
        "mint": handle.mint,
        "token_account": handle.token_account,
        "token_symbol": handle.token_symbol,
        "quote": handle.quote,
    }


def _position(session: StreamSession, handle: PositionHandle) -> Row:
    names = POSITION_DTYPES.keys() - {"opened_at", "deadline_sec"}
    return {
        **{name: getattr(handle, name) for name in names},
        "opened_at": handle.opened_at_ms,
        "deadline_sec": session.deadline_remaining(handle),
    }


# A recorder


def _recorded(history: PositionHistory) -> Iterator[Row]:
    common = {
        **_identity(history.handle),
        "position": history.number,
        "entry_quote_units": history.handle.entry_quote_units or None,
    }
    for moment in history.moments:
        yield {**common, **_moment(moment, history.handle)}
    for point in history.points:
        yield {**common, **_point(point, history.handle)}


def _moment(moment: Moment, handle: PositionHandle) -> Row:
    names = [
        "what",
        "profit_units",
        "reason",
        "level_index",
        "exit_attempt",
        "sell_tokens",
        "age_ms",
    ]
    return {
        **{name: getattr(moment, name) for name in names},
        "at": moment.at_ms,
        "position_id": moment.position_id if moment.position_id >= 0 else None,
        "pnl_pct": _percent(moment.profit_units, handle),
    }


def _point(point: PnlPoint, handle: PositionHandle) -> Row:
    return {
        "at": point.at_ms,
        "what": "pnl",
        "profit_units": point.profit_units,
        "proceeds_units": point.proceeds_units,
        "pnl_pct": _percent(point.profit_units, handle),
    }


def _percent(profit_units: int | None, handle: PositionHandle) -> float | None:
    entry = handle.entry_quote_units
    return None if profit_units is None or not entry else 100 * profit_units / entry


# A journal


def _sales(source: Journal | JournalReader | str | Path) -> list[SaleReport]:
    # They need the extra "tx", which the rest of this file does not.
    from lasersell.exits.journal import Journal  # noqa: PLC0415
    from lasersell.exits.journal_report import JournalReader  # noqa: PLC0415

    if isinstance(source, JournalReader):
        return source.sales()
    if not isinstance(source, Journal | str | Path):
        raise ConfigurationError(
            "a history is made of a PnlRecorder, a journal or the path of one, "
            f"not of a {type(source).__name__}"
        )
    path = source.path if isinstance(source, Journal) else source
    with JournalReader(path) as reader:
        return reader.sales()


def _journaled(sale: SaleReport) -> Iterator[Row]:
    common = {
        "position": sale.id,
        "wallet_pubkey": sale.wallet,
        "mint": sale.mint,
        "token_account": sale.token_account,
        "token_symbol": sale.symbol,
        "quote": sale.quote,
        "level_index": sale.level,
    }
    for number, signal in enumerate(sale.signals, start=1):
        yield {
            **common,
            "at": signal.at_ms,
            "what": "exit_signal",
            "reason": signal.reason,
            "exit_attempt": number,
            "sell_tokens": signal.sell_tokens,
            "age_ms": signal.at_ms - signal.born_ms,
            "outcome": signal.decision,
        }
    for attempt in sale.attempts:
        yield {
            **common,
            "at": attempt.at_ms,
            "what": "attempt",
            "signature": attempt.signature,
            "outcome": attempt.outcome,
        }
    if sale.ended_ms is not None:
        yield {
            **common,
            "at": sale.ended_ms,
            "what": "sold",
            "profit_units": sale.profit_units,
            "outcome": sale.outcome,
        }
