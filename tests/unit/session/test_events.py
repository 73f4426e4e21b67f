from __future__ import annotations

import json
from typing import Any

import pytest

from lasersell.protocol.client import MirrorBuyResult, RequestExitSignal
from lasersell.protocol.codec import decode_server_message
from lasersell.protocol.server import Pong, UnknownMessage
from lasersell.session.events import (
    Arrival,
    CallbackError,
    EventFacts,
    EventMessage,
    StreamEvent,
)
from lasersell.session.positions import PositionHandle
from lasersell.stream.lifecycle import (
    CommandExpired,
    Connected,
    Disconnected,
    ExitRequestUnanswered,
    Fresh,
    Gap,
    PositionLost,
    Stale,
    Undecodable,
)
from tests.unit.session.frames import (
    START_MS,
    balance,
    closed,
    exit_signal,
    hello,
    liquidity,
    opened,
    pnl,
    tick,
)
from tests.wire.vectors import MESSAGES, Vector

FROM_SERVER = [v for v in MESSAGES.values() if v.direction == "server"]


def _event(message: EventMessage, server_ms: float | None = None) -> StreamEvent:
    return StreamEvent(message, None, Arrival(5.0, server_ms))


LIFECYCLE: list[EventMessage] = [
    Connected(number=2, attempts=3),
    Disconnected(cause="gone", status=401, code="x", close_code=1006, delay=0.1),
    Gap(from_ms=1, to_ms=2, attempts=1, restored=("strategy",)),
    Stale(silent_sec=30.0),
    Fresh(),
    PositionLost(
        position_id=1,
        wallet_pubkey="W",
        mint="M",
        token_account="A",
        reason="replaced",
    ),
    CommandExpired(command=RequestExitSignal(token_account="A"), held_sec=30.0),
    CommandExpired(command=MirrorBuyResult(mint="M", success=True), held_sec=30.0),
    ExitRequestUnanswered(token_account="A", asks=3),
    Undecodable(raw=b'\xff{"type":', problem="not UTF-8", binary=True),
    UnknownMessage(type="fee_update", raw={"type": "fee_update", "fees": [1, {}]}),
]


def test_an_event_of_no_particular_kind_says_nothing_particular() -> None:
    """The facts of a few events are absent from the others."""
    event = _event(pnl())
    assert event.type == "pnl_update"
    assert event.exit_attempt is None
    assert event.reopened is False
    assert event.previous_position_id is None
    assert event.deadline_overdue is False


def test_an_event_says_what_was_true_of_it() -> None:
    """And keeps saying it, though the handle it shares goes on living."""
    handle = PositionHandle(opened(), 0.0)
    facts = EventFacts(
        exit_attempt=2, reopened=True, previous_position_id=1, deadline_overdue=True
    )
    event = StreamEvent(exit_signal(), handle, Arrival(0.0, None), facts)
    handle.exit_attempts[None] = 9
    handle.position_id = 77
    assert event.exit_attempt == 2
    assert event.reopened
    assert event.previous_position_id == 1
    assert event.deadline_overdue


@pytest.mark.parametrize(
    "message",
    [exit_signal(), pnl(), tick(), liquidity(), opened(), hello()],
    ids=lambda message: str(message.type),
)
def test_the_age_is_counted_from_the_messages_own_time(message: EventMessage) -> None:
    """By the server's clock, when it arrived."""
    assert _event(message, START_MS + 250.0).age_ms == 250.0


def test_a_message_from_the_future_is_not_younger_than_new() -> None:
    """The clocks are never quite the same."""
    assert _event(pnl(), START_MS - 40.0).age_ms == 0.0


@pytest.mark.parametrize(
    "event",
    [_event(pnl()), _event(closed(), 1.0), _event(opened(opened_at_ms=None), 1.0)],
    ids=["clock unknown", "no time in the message", "time left out"],
)
def test_an_age_that_cannot_be_known_is_none(event: StreamEvent) -> None:
    """Rather than a guess."""
    assert event.age_ms is None


@pytest.mark.parametrize("vector", FROM_SERVER, ids=lambda vector: vector.name)
def test_every_message_of_the_wire_becomes_json(vector: Vector) -> None:
    """With its type, and nothing that a JSON encoder refuses."""
    message = decode_server_message(vector.text)
    plain = json.loads(json.dumps(_event(message, START_MS).to_dict()))
    assert plain["type"] == message.type
    assert set(plain["message"]) >= _scalars_of(vector.wire)


def _scalars_of(frame: dict[str, Any]) -> set[str]:
    return {
        name
        for name, value in frame.items()
        if name != "type" and isinstance(value, (int, str))
    }


@pytest.mark.parametrize("message", LIFECYCLE, ids=lambda m: m.type)
def test_every_message_of_ours_becomes_json(message: EventMessage) -> None:
    """Commands within it too; bytes become text that shows them."""
    plain = json.loads(json.dumps(_event(message).to_dict()))
    assert plain["type"] == message.type


def test_bytes_become_text_that_shows_them() -> None:
    """What is not UTF-8 is escaped."""
    message = Undecodable(raw=b"ok \xff", problem="not UTF-8")
    assert _event(message).to_dict()["message"]["raw"] == "ok \\xff"


def test_the_report_of_a_failed_callback_becomes_json() -> None:
    """The event it failed on is in it; the callback and the error are described."""
    message = CallbackError(_event(balance(5)), print, ValueError("no"))
    plain = json.loads(json.dumps(_event(message).to_dict()))
    assert plain["message"]["event"]["type"] == "balance_update"
    assert plain["message"]["error"] == "ValueError('no')"
    assert "print" in plain["message"]["callback"]


def test_the_position_is_in_the_plain_values() -> None:
    """As it is now."""
    handle = PositionHandle(opened(), 0.0)
    event = StreamEvent(pnl(), handle, Arrival(0.0, None))
    assert event.to_dict()["position"]["token_account"] == "A"
    assert _event(Pong(server_time_ms=1)).to_dict()["position"] is None
