from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from tests.skips import SkipWatch


def _skip(nodeid: str, reason: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=nodeid,
        location=("", 0, ""),
        keywords={},
        outcome="skipped",
        longrepr=("file.py", 1, f"Skipped: {reason}"),
        when="setup",
    )


def _exit_code(*reports: pytest.TestReport) -> int:
    """Return what a run with these reports ends with."""
    session = cast(pytest.Session, SimpleNamespace(exitstatus=pytest.ExitCode.OK))
    watch = SkipWatch()
    for report in reports:
        watch.pytest_runtest_logreport(report)
    watch.pytest_sessionfinish(session)
    return int(session.exitstatus)


def test_an_unlisted_skip_fails_the_run() -> None:
    """A test that quietly stops running is noticed."""
    assert _exit_code(_skip("tests/unit/test_x.py::test_x", "no time")) == 1


def test_a_listed_skip_is_fine() -> None:
    """A skip whose place and reason are on the list is nobody's business."""
    listed = _skip("tests/interop/test_x.py::test_x", "lasersell-sdk needs Python 3.11")
    assert _exit_code(listed) == 0


def test_another_reason_at_a_listed_place_fails_the_run() -> None:
    """The list allows a reason, not a place."""
    other = _skip("tests/interop/test_x.py::test_x", "could not import lasersell_sdk")
    assert _exit_code(other) == 1


def test_an_expected_failure_is_no_skip() -> None:
    """Pytest reports xfail as skipped too; it is left alone."""
    report = _skip("tests/unit/test_x.py::test_x", "known")
    report.wasxfail = "known"
    assert _exit_code(report) == 0
