"""How the verdicts of the Autobahn test suite are read."""

from __future__ import annotations

from tests.conformance.autobahn import judge


def test_cases_that_passed_leave_nothing_to_say() -> None:
    """What Autobahn calls right, not strict or informational is no failure."""
    verdicts = {
        "1.1.1": {"behavior": "OK", "behaviorClose": "OK"},
        "6.4.1": {"behavior": "NON-STRICT", "behaviorClose": "OK"},
        "7.13.1": {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"},
    }
    assert judge(verdicts, 3) == []


def test_a_failed_case_is_named() -> None:
    """A case that went wrong is told with its number, and so is a wrong close."""
    verdicts = {
        "1.1.1": {"behavior": "FAILED", "behaviorClose": "OK"},
        "1.1.2": {"behavior": "OK", "behaviorClose": "WRONG CODE"},
        "1.1.3": {"behavior": "UNIMPLEMENTED", "behaviorClose": "OK"},
    }
    assert judge(verdicts, 3) == [
        "1.1.1: FAILED, close: OK",
        "1.1.2: OK, close: WRONG CODE",
        "1.1.3: UNIMPLEMENTED, close: OK",
    ]


def test_a_case_without_a_verdict_is_a_failure() -> None:
    """A run that judged fewer cases than there are, or none at all, proves nothing."""
    right = {"behavior": "OK", "behaviorClose": "OK"}
    assert judge({"1.1.1": right}, 2) == ["1 of 2 cases were judged"]
    assert judge({}, 0) == ["0 of 0 cases were judged"]
