"""
A skipped test fails the run, unless allowed_skips.txt says why it may be skipped.

Each line there is ``<pattern of test ids>: <reason>``; a skip is allowed where the
pattern matches its id and the reason is part of the reason it gave.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

__all__ = ["SkipWatch"]

_ALLOWED = Path(__file__).with_name("allowed_skips.txt")


class SkipWatch:
    """A pytest plugin that fails a run in which something was skipped unexpectedly."""

    def __init__(self) -> None:
        self._allowed = _read_rules(_ALLOWED)
        self._unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at one phase of one test."""
        self._look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look at one file; a skip of the whole file shows only here."""
        self._look_at(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a green run red."""
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """Name what was skipped, above the line of totals."""
        for skip in self._unexpected:
            terminalreporter.write_line(f"SKIPPED BUT NOT ALLOWED {skip}", red=True)

    def _look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure is reported as skipped too, but is no skip.
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if not any(
            fnmatchcase(report.nodeid, pattern) and text in reason
            for pattern, text in self._allowed
        ):
            self._unexpected.append(f"{report.nodeid}: {reason}")


def _read_rules(path: Path) -> list[tuple[str, str]]:
    rules = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, reason = line.partition(": ")
            rules.append((pattern.strip(), reason.strip()))
    return rules
