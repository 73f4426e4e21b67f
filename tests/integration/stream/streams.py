"""Connections to an embedded server, and what is asked of them again and again."""

from __future__ import annotations

from typing import Any

from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.client import StreamClient, StreamConnection, open_stream
from lasersell.stream.intent import HoldSettings
from lasersell.stream.lanes import Lanes
from lasersell.stream.options import StreamConfigure
from lasersell.stream.reader import Applier, RawApplier
from tests.patience import PATIENCE

__all__ = [
    "KEY",
    "OTHER_WALLET",
    "SECOND",
    "STRATEGY",
    "WALLET",
    "client",
    "connect",
    "connect_applied",
    "connect_held",
    "kinds",
    "receive_until",
    "strategy",
    "wait_for",
]

KEY = "sk-made-up-for-tests-7f3a"
WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
OTHER_WALLET = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"


def strategy(target_profit_pct: float) -> StrategyConfig:
    """Return a strategy that is told from others by its target."""
    return StrategyConfig(target_profit_pct=target_profit_pct)


STRATEGY = strategy(5000.0)
SECOND = strategy(9000.0)
_CONFIGURE = StreamConfigure(wallet_pubkeys=[WALLET], strategy=STRATEGY)


def client(endpoint: str, **options: Any) -> StreamClient:
    """Return a client for an endpoint."""
    return StreamClient(KEY, endpoint=endpoint, **options)


def connect(
    endpoint: str,
    configure: StreamConfigure = _CONFIGURE,
    *,
    wait_configured: float = 0.0,
    **options: Any,
) -> StreamConnection:
    """Return a live connection."""
    return client(endpoint, **options).connect(
        configure, timeout=PATIENCE, wait_configured=wait_configured
    )


def connect_held(
    endpoint: str, hold: HoldSettings, *, resync_window: float = 5.0, **settings: Any
) -> StreamConnection:
    """Return a live connection whose commands wait in a certain way."""
    return connect_applied(
        endpoint, RawApplier(), hold, resync_window=resync_window, **settings
    )


def connect_applied(
    endpoint: str,
    applier: Applier[Any],
    hold: HoldSettings | None = None,
    *,
    resync_window: float = 5.0,
    **settings: Any,
) -> StreamConnection:
    """Return a live connection whose messages are applied in a certain way."""
    options = client(endpoint, **settings).options
    stream = open_stream(
        options,
        _CONFIGURE,
        Lanes(options.high_capacity, 1024),
        applier,
        timeout=PATIENCE,
        wait_configured=0.0,
        hold=hold,
        resync_window=resync_window,
    )
    return StreamConnection(stream, stream.lanes.receiver())


def receive_until(connection: StreamConnection, kind: str) -> list[Any]:
    """Return everything up to the next message of a type, that one included."""
    received: list[Any] = []
    while not received or received[-1].type != kind:
        message = connection.recv(timeout=PATIENCE)
        assert message is not None, f"closed before a {kind}: {kinds(received)}"
        received.append(message)
    return received


def wait_for(connection: StreamConnection, kind: str) -> Any:
    """Return the next message of a type; those before it are passed over."""
    return receive_until(connection, kind)[-1]


def kinds(messages: list[Any]) -> list[str]:
    """Return the types of messages."""
    return [message.type for message in messages]
