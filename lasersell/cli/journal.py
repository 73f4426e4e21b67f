"""``lasersell journal``: what an auto-exit has done."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import IO, Literal

import click
from rich.console import Console
from rich.table import Table

from lasersell.cli.common import Common, command, pass_common
from lasersell.exits.config import default_journal
from lasersell.exits.journal_report import (
    BuyReport,
    Filter,
    JournalReader,
    SaleReport,
    to_csv,
    to_json,
)
from lasersell.session.positions import QUOTE_DECIMALS

__all__ = ["journal"]


@command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--buys", is_flag=True, help="Show mirror buys instead of exits.")
@click.option("--wallet", metavar="PUBKEY", help="Only of this wallet.")
@click.option("--mint", metavar="PUBKEY", help="Only of this token.")
@click.option("--outcome", metavar="WORD", help="Only with this outcome, such as sold.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Only from this moment on, UTC.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Only the newest so many; a table shows 50 by default.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
)
@click.option(
    "-o",
    "--output",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="Write to this file.",
)
@pass_common
def journal(
    common: Common,
    path: Path | None,
    buys: bool,
    wallet: str | None,
    mint: str | None,
    outcome: str | None,
    since: datetime.datetime | None,
    limit: int | None,
    form: Literal["table", "json", "csv"],
    output: IO[str],
) -> None:
    """
    List or export the journal of `lasersell run`, also while it runs.

    PATH is the journal; by default that of a daemon whose configuration names none.
    """
    if common.as_json:
        form = "json"
    wanted = Filter(
        wallet=wallet,
        mint=mint,
        outcome=outcome,
        since_ms=None if since is None else _to_ms(since),
        limit=50 if form == "table" and limit is None else limit,
    )
    with JournalReader(path or default_journal()) as reader:
        reports = reader.buys(wanted) if buys else reader.sales(wanted)
    if form == "json":
        output.write(f"{to_json(reports)}\n")
    elif form == "csv":
        output.write(to_csv(reports))
    else:
        table = Table(box=None, header_style="bold")
        for column in _BUY_COLUMNS if buys else _SALE_COLUMNS:
            table.add_column(column)
        for report in reports:
            table.add_row(*_row(report))
        Console(file=output).print(table)


def _to_ms(moment: datetime.datetime) -> int:
    return round(moment.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)


def _time(at_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.timezone.utc)
    return moment.strftime("%m-%d %H:%M:%S")


_SALE_COLUMNS = ("UTC", "token", "level", "outcome", "tries", "profit", "signature")
_BUY_COLUMNS = ("UTC", "token", "spent", "outcome", "signature", "detail")


def _row(report: SaleReport | BuyReport) -> tuple[str, ...]:
    if isinstance(report, BuyReport):
        return (
            _time(report.at_ms),
            report.mint,
            _amount(report.quote_units, report.quote),
            report.outcome or "under way",
            report.signature or "",
            report.detail or "",
        )
    return (
        _time(report.begun_ms),
        report.symbol or report.mint,
        "all" if report.level is None else str(report.level),
        report.outcome or "under way",
        str(len(report.attempts)),
        _profit(report),
        report.attempts[-1].signature if report.attempts else report.detail or "",
    )


def _profit(report: SaleReport) -> str:
    if report.outcome != "sold" or report.profit_units is None or report.quote is None:
        return ""
    return _amount(report.profit_units, report.quote)


def _amount(units: int, quote: str) -> str:
    return f"{units / 10 ** QUOTE_DECIMALS.get(quote, 0):+.4f} {quote}"
