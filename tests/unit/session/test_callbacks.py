from __future__ import annotations

import logging
from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import UnknownMessage
from lasersell.session.callbacks import CallbackRegistry
from lasersell.session.events import Arrival, CallbackError, StreamEvent
from tests.unit.session.frames import closed, opened, pnl

ARRIVAL = Arrival(0.0, None)
OPENED = StreamEvent(opened(), None, ARRIVAL)
CLOSED = StreamEvent(closed(), None, ARRIVAL)
PNL = StreamEvent(pnl(), None, ARRIVAL)


@pytest.fixture
def registry() -> CallbackRegistry:
    """Return a registry in which nobody is."""
    return CallbackRegistry()


def test_a_callback_gets_the_events_of_its_type(registry: CallbackRegistry) -> None:
    """And no others."""
    seen: list[StreamEvent] = []
    registry.on("position_opened", seen.append)
    for event in (OPENED, CLOSED, PNL, OPENED):
        registry.dispatch(event)
    assert seen == [OPENED, OPENED]


def test_a_star_gets_everything(registry: CallbackRegistry) -> None:
    """After those who asked for the type by name."""
    order: list[str] = []
    registry.on("*", lambda event: order.append(f"* {event.type}"))
    registry.on("position_opened", lambda _: order.append("by name"))
    registry.dispatch(OPENED)
    registry.dispatch(PNL)
    assert order == ["by name", "* position_opened", "* pnl_update"]


def test_callbacks_run_in_the_order_of_registration(registry: CallbackRegistry) -> None:
    """Also the same one twice."""
    order: list[int] = []

    def first(_: StreamEvent) -> None:
        order.append(1)

    registry.on("pnl_update", first)
    registry.on("pnl_update", lambda _: order.append(2))
    registry.on("pnl_update", first)
    registry.dispatch(PNL)
    assert order == [1, 2, 1]


def test_a_callback_can_be_taken_off(registry: CallbackRegistry) -> None:
    """One, or all of a type; one that is not there is no error."""
    first: list[StreamEvent] = []
    second: list[StreamEvent] = []
    on_first = registry.on("pnl_update", first.append)
    registry.on("pnl_update", second.append)
    registry.dispatch(PNL)
    registry.off("pnl_update", on_first)
    registry.off("pnl_update", on_first)
    registry.off("never_seen", on_first)
    registry.dispatch(PNL)
    registry.off("pnl_update")
    registry.dispatch(PNL)
    assert (len(first), len(second)) == (1, 2)


def test_taking_a_bound_method_off_works(registry: CallbackRegistry) -> None:
    """Each look at a method makes a new object, which is equal and not the same."""

    class Bot:
        def __init__(self) -> None:
            self.seen = 0

        def on_pnl(self, _: StreamEvent) -> None:
            self.seen += 1

    bot = Bot()
    registry.on("pnl_update", bot.on_pnl)
    registry.off("pnl_update", bot.on_pnl)
    registry.dispatch(PNL)
    assert bot.seen == 0


def test_a_callback_may_change_the_registry(registry: CallbackRegistry) -> None:
    """What it changes holds from the next event on."""
    order: list[str] = []

    def once(_: StreamEvent) -> None:
        order.append("once")
        registry.off("pnl_update", once)
        registry.on("pnl_update", lambda _: order.append("later"))

    registry.on("pnl_update", once)
    registry.dispatch(PNL)
    registry.dispatch(PNL)
    assert order == ["once", "later"]


def test_only_what_can_be_called_is_taken(registry: CallbackRegistry) -> None:
    """A mistake is told where it was made, not when the first event comes."""
    not_callable: Any = "print"
    with pytest.raises(ConfigurationError, match="callable"):
        registry.on("pnl_update", not_callable)


def test_a_callback_that_raises_does_not_stop_the_next(
    registry: CallbackRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, and reported to who asked for that."""
    seen: list[StreamEvent] = []
    reports: list[StreamEvent] = []
    error = ValueError("no such wallet")

    def fail(_: StreamEvent) -> None:
        raise error

    registry.on("position_opened", fail)
    registry.on("position_opened", seen.append)
    registry.on("callback_error", reports.append)
    with caplog.at_level(logging.ERROR):
        registry.dispatch(OPENED)
    assert seen == [OPENED]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    (report,) = reports
    assert isinstance(report.message, CallbackError)
    assert report.type == "callback_error"
    assert report.message.event is OPENED
    assert report.message.callback is fail
    assert report.message.error is error


def test_a_report_does_not_go_to_a_star(registry: CallbackRegistry) -> None:
    """It is no event of the session: what fails for every event would fail for it too."""
    seen: list[str] = []

    def fail(event: StreamEvent) -> None:
        seen.append(event.type)
        raise ValueError

    registry.on("*", fail)
    registry.dispatch(OPENED)
    assert seen == ["position_opened"]


def test_a_callback_for_errors_that_fails_is_only_logged(
    registry: CallbackRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """It would be called about itself for ever."""
    calls: list[StreamEvent] = []

    def fail(event: StreamEvent) -> None:
        calls.append(event)
        raise ValueError

    registry.on("position_opened", fail)
    registry.on("callback_error", fail)
    registry.dispatch(OPENED)
    assert [event.type for event in calls] == ["position_opened", "callback_error"]
    assert len(caplog.records) == 2


def test_an_interrupt_is_not_swallowed(registry: CallbackRegistry) -> None:
    """Ctrl-C in a callback ends the program, not the callback."""

    def interrupt(_: StreamEvent) -> None:
        raise KeyboardInterrupt

    registry.on("pnl_update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.dispatch(PNL)


def test_types_yet_unknown_can_be_asked_for(registry: CallbackRegistry) -> None:
    """By the name they have on the wire (13.1, P25)."""
    seen: list[StreamEvent] = []
    registry.on("fee_update", seen.append)
    event = StreamEvent(UnknownMessage(type="fee_update", raw={}), None, ARRIVAL)
    registry.dispatch(event)
    assert seen == [event]
