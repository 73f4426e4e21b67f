"""Tells the test what the callbacks of a site were called with."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from lasersell.session.events import StreamEvent

__all__ = ["NOTES_VARIABLE", "RELAY_VARIABLE", "WALLET", "note", "tables"]

NOTES_VARIABLE = "TEST_NOTES"
"""The environment variable that names the socket which the test reads."""
RELAY_VARIABLE = "TEST_RELAY"
"""The environment variable with the URL of a Redis, where a relay is the source."""
WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"

_LOW = ("pnl_update", "liquidity_snapshot", "trade_tick")


def note(event: StreamEvent) -> None:
    """Send the test a note of an event, unless it is one of the frequent ones."""
    if event.type in _LOW:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
        handle = event.handle
        account = None if handle is None else handle.token_account
        text = json.dumps({"pid": os.getpid(), "type": event.type, "account": account})
        box.sendto(text.encode(), os.environ[NOTES_VARIABLE])


def tables() -> dict[str, Any]:
    """Return the setting of a site."""
    relay = os.environ.get(RELAY_VARIABLE)
    if relay is not None:
        return {"source": "relay", "relay": {"url": relay}}
    return {
        "configure": {"wallet_pubkeys": [WALLET]},
        "strategy": {"target_profit_pct": 5.0},
        "session": {"wait_configured": 0},
    }
