from __future__ import annotations

from typing import Any

import pytest

from lasersell.cli.narrate import EVENT_TYPES, narrate
from lasersell.protocol.client import RequestExitSignal
from lasersell.protocol.server import (
    ExitSignalWithTx,
    MirrorBuyFailed,
    MirrorWalletAutoDisabled,
    PnlUpdate,
    PositionClosed,
    PositionOpened,
    ServerError,
)
from lasersell.session.events import Arrival, EventFacts, StreamEvent
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

OPENED = PositionOpened(
    position_id=1,
    wallet_pubkey="wallet",
    mint="mint",
    token_account="account",
    tokens=1000,
    entry_quote_units=2_000,
    token_symbol="SIM1",
    slot=1,
)
CLOSED = PositionClosed(
    position_id=1, wallet_pubkey="wallet", mint="mint", reason="stop_loss", slot=2
)
SIGNAL = ExitSignalWithTx(
    session_id=1,
    position_id=1,
    wallet_pubkey="wallet",
    mint="mint",
    position_tokens=1000,
    profit_units=-5,
    reason="stop_loss",
    triggered_at_ms=0,
    unsigned_tx_b64="AA==",
)
LOST = PositionLost(
    position_id=1,
    wallet_pubkey="wallet",
    mint="mint",
    token_account="account",
    reason="not_reemitted",
)
ASKED = RequestExitSignal(token_account="account")


def event(
    message: Any, handle: PositionHandle | None = None, **facts: Any
) -> StreamEvent:
    """Return an event."""
    return StreamEvent(message, handle, Arrival(0.0, None), EventFacts(**facts))


@pytest.mark.parametrize(
    ("message", "facts", "text", "kind"),
    [
        (OPENED, {}, "SIM1 opened", "plain"),
        (OPENED, {"reopened": True}, "SIM1 is still open", "plain"),
        (
            OPENED,
            {"deadline_overdue": True},
            "SIM1 opened, and is past its deadline already",
            "warning",
        ),
        (SIGNAL, {"exit_attempt": 1}, "SIM1 exit signal: stop_loss", "good"),
        (SIGNAL, {"exit_attempt": 2}, "SIM1 exit signal: stop_loss, again", "good"),
        (CLOSED, {}, "SIM1 closed: stop_loss", "plain"),
        (LOST, {}, "SIM1 lost: gone while the stream was away", "warning"),
        (
            ExitRequestUnanswered(token_account="account", asks=3),
            {},
            "SIM1: its exit was asked for 3 times, no answer",
            "bad",
        ),
    ],
)
def test_a_line_about_a_position_names_it(
    message: Any, facts: dict[str, Any], text: str, kind: str
) -> None:
    """What happened to which token, in words."""
    told = narrate(event(message, PositionHandle(OPENED, 0.0), **facts))
    assert told == (text, kind)


@pytest.mark.parametrize(
    ("message", "text", "kind"),
    [
        (Connected(number=1, attempts=1), "the stream is live", "good"),
        (Connected(number=2, attempts=3), "the stream is back, connection 2", "good"),
        (Disconnected(cause="cut", delay=0.1), "the stream is lost: cut", "warning"),
        (Disconnected(cause="cut"), "the stream has ended: cut", "bad"),
        (
            Gap(from_ms=1000, to_ms=3500, attempts=1, restored=()),
            "nothing was heard for 2.5 s",
            "warning",
        ),
        (Stale(silent_sec=31.0), "the server has been silent for 31 s", "warning"),
        (Fresh(), "the server speaks again", "good"),
        (ServerError(code="odd", message="w"), "the server says odd: w", "bad"),
        (
            MirrorBuyFailed(watched_wallet="w", mint="mint", reason="dust"),
            "mirror buy of mint failed: dust",
            "warning",
        ),
        (
            MirrorWalletAutoDisabled(watched_wallet="w", reason="losses", loss_count=3),
            "watched wallet w was disabled: losses",
            "warning",
        ),
        (
            CommandExpired(command=ASKED, held_sec=30.2),
            "request_exit_signal expired after 30 s offline",
            "warning",
        ),
        (
            Undecodable(raw=b"", problem="no JSON"),
            "a message could not be read: no JSON",
            "warning",
        ),
    ],
)
def test_other_lines_say_what_happened(message: Any, text: str, kind: str) -> None:
    """The stream's ups and downs, and what the server complains of."""
    assert narrate(event(message)) == (text, kind)


def test_a_position_that_is_not_known_is_named_by_its_token() -> None:
    """An exit signal out of the blue is told all the same."""
    told = narrate(event(SIGNAL, exit_attempt=1))
    assert told == ("mint exit signal: stop_loss", "good")


def test_profits_are_no_events() -> None:
    """They are in the table, and too many for a line each."""
    update = PnlUpdate(
        position_id=1, profit_units=1, proceeds_units=2, server_time_ms=3
    )
    assert narrate(event(update)) is None
    assert "pnl_update" not in EVENT_TYPES
