from __future__ import annotations

import logging

import pytest

from lasersell.exits.auto_events import AutoExitEvent, EventType, Reporter


def test_an_event_is_a_line_a_person_can_read() -> None:
    """What it is about, what happened, and the facts that are known."""
    event = AutoExitEvent(
        type="not_taken",
        at_ms=0,
        symbol="SIM1",
        mint="mint",
        level=2,
        attempt=1,
        outcome="rejected",
        detail="no route",
    )
    assert str(event) == "SIM1: not taken: level 2, attempt 1, rejected, no route"
    assert str(AutoExitEvent(type="paused", at_ms=0)) == "paused"
    landed = AutoExitEvent(type="landed", at_ms=0, mint="mint", slot=7, signature="sig")
    assert str(landed) == "mint: landed: slot 7, sig"


@pytest.mark.parametrize(
    ("type", "outcome", "expected"),
    [
        ("failed", None, True),
        ("paused", None, True),
        ("ended", "gave_up", True),
        ("ended", "sold", False),
        ("submitted", None, False),
    ],
)
def test_some_events_are_warnings(
    type: EventType, outcome: str | None, expected: bool
) -> None:
    """Those that somebody should look at."""
    event = AutoExitEvent(type=type, at_ms=0, outcome=outcome)
    assert event.is_warning is expected


@pytest.mark.parametrize("error", [ValueError("a mistake"), SystemExit("a mistake")])
def test_each_event_is_logged_and_handed_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level that it deserves; what the callback raises is logged."""
    caplog.set_level(logging.INFO)
    seen: list[AutoExitEvent] = []

    def take(event: AutoExitEvent) -> None:
        seen.append(event)
        raise error

    reporter = Reporter(take)
    reporter.report(AutoExitEvent(type="submitted", at_ms=0))
    reporter.report(AutoExitEvent(type="failed", at_ms=0))
    Reporter(None).report(AutoExitEvent(type="resumed", at_ms=0))
    assert [event.type for event in seen] == ["submitted", "failed"]
    levels = [(record.levelname, record.message) for record in caplog.records]
    assert ("INFO", "submitted") in levels
    assert ("WARNING", "failed") in levels
    assert ("INFO", "resumed") in levels
    assert "a mistake" in caplog.text
