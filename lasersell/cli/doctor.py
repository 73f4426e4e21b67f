"""``lasersell doctor``: everything that can be wrong, each in a line."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lasersell.cli.codes import (
    EXIT_CODES,
    IN_USE,
    LEFT_UNDER_WAY,
    MISTAKE,
    STOPPED,
    code_table,
)
from lasersell.cli.common import Common, command, force_option, pass_common
from lasersell.cli.examine import Examination, Finding, Level, failure_of
from lasersell.cli.patient import (
    Patient,
    look_at_api,
    look_at_keys,
    look_at_rpcs,
    patient_of,
)
from lasersell.cli.printable import printable
from lasersell.cli.watched import config_option, wallet_option
from lasersell.errors import LaserSellError

__all__ = ["doctor"]

_MARKS: dict[Level, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "bold yellow"),
    "failure": ("failure", "bold red"),
    "skipped": ("-", "dim"),
}
_WIDEST = 100


@command(epilog=code_table(*(code for code in EXIT_CODES if code != LEFT_UNDER_WAY)))
@wallet_option
@config_option
@click.option("--api-url", metavar="URL", help="The REST API; also LASERSELL_API_URL.")
@click.option(
    "--rpc-url", metavar="URL", help="The Solana node; also LASERSELL_RPC_URL."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds for each step.",
)
@force_option
@pass_common
def doctor(
    common: Common,
    wallets: tuple[str, ...],
    path: Path | None,
    api_url: str | None,
    rpc_url: str | None,
    timeout: float,
    force: bool,
) -> None:
    """
    Check all that can be wrong between here and the stream.

    The API key and who may read its file, names, TCP, TLS, the REST API and the tier of
    the account, the Solana node; then, unless another process holds the stream of the
    key, the stream itself: upgrade, handshake, wallets, round trip, clock and limits.

    Each line is ok, a warning, or a failure with what to do about it. Warnings alone
    leave the exit code 0.
    """
    console = Console(soft_wrap=False)
    findings = []
    try:
        patient = patient_of(common, path, wallets, api_url=api_url, rpc_url=rpc_url)
    except LaserSellError as error:
        # Nothing can be looked at before this is right.
        looks = iter([failure_of("settings", error, MISTAKE)])
    else:
        looks = _look(patient, timeout, force=force)
    for finding in looks:
        findings.append(finding)
        if not common.as_json:
            console.print(_line(finding), width=min(console.width, _WIDEST))
    code = _code_of(findings)
    common.announce(_sum(findings), **_document(findings, code))
    sys.exit(code)


def _look(patient: Patient, timeout: float, *, force: bool) -> Iterator[Finding]:
    yield from look_at_keys(patient)
    with Examination(
        patient.client, patient.wallets, force=force, timeout=timeout
    ) as examination:
        yield from examination.look_at_road()
        yield look_at_api(patient)
        yield from look_at_rpcs(patient, timeout)
        yield from examination.look_at_stream()


def _code_of(findings: list[Finding]) -> int:
    """Return the code of the first failure, or that of a stream that is in use."""
    for finding in findings:
        if finding.level == "failure":
            return finding.code
    return IN_USE if any(finding.code == IN_USE for finding in findings) else STOPPED


def _line(finding: Finding) -> Table:
    word, style = _MARKS[finding.level]
    text = Text(
        printable(finding.text), style="dim" if finding.level == "skipped" else ""
    )
    if finding.advice is not None:
        text.append(f"\n→ {printable(finding.advice)}", style=style)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=len("failure"))
    table.add_column(width=len("wallet keys"))
    table.add_column(overflow="fold")
    table.add_row(Text(word, style=style), finding.check, text)
    return table


def _sum(findings: list[Finding]) -> str:
    counts = Counter(finding.level for finding in findings)
    told = [
        (counts["failure"], "failure", "failures"),
        (counts["warning"], "warning", "warnings"),
    ]
    facts = [f"{counts['ok']} ok"]
    facts += [f"{n} {one if n == 1 else many}" for n, one, many in told if n]
    if counts["skipped"]:
        facts.append(f"{counts['skipped']} not looked at")
    return ", ".join(facts)


def _document(findings: list[Finding], code: int) -> dict[str, object]:
    return {
        "exit_code": code,
        "meaning": EXIT_CODES[code],
        "checks": [
            {
                "check": finding.check,
                "level": finding.level,
                "text": finding.text,
                "advice": finding.advice,
            }
            for finding in findings
        ],
    }
