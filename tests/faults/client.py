"""Clients of the servers of these tests."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.client import StreamClient, StreamConnection
from lasersell.stream.options import StreamConfigure
from tests.patience import PATIENCE

__all__ = ["CONFIGURE", "KEY", "connect", "make_client", "stream_socket", "wait_for"]

KEY = "sk-made-up-for-tests-7f3a"
CONFIGURE = StreamConfigure(
    wallet_pubkeys=["AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"],
    strategy=StrategyConfig(target_profit_pct=5.0),
)


def make_client(
    endpoint: str, context: ssl.SSLContext | None = None, **options: Any
) -> StreamClient:
    """Return a client for an endpoint."""
    return StreamClient(KEY, endpoint=endpoint, ssl_context=context, **options)


def connect(
    endpoint: str,
    context: ssl.SSLContext | None = None,
    *,
    timeout: float = PATIENCE,
    configure: StreamConfigure = CONFIGURE,
    **options: Any,
) -> StreamConnection:
    """Connect to an endpoint without waiting for a rejection."""
    client = make_client(endpoint, context, **options)
    return client.connect(configure, timeout=timeout, wait_configured=0)


def wait_for(
    connection: StreamConnection, kind: str, *, timeout: float = PATIENCE
) -> Any:
    """Return the next message of a type; those before it are passed over."""
    while True:
        message = connection.recv(timeout=timeout)
        assert message is not None, f"the stream was closed before a {kind}"
        if message.type == kind:
            return message


def stream_socket(connection: StreamConnection) -> socket.socket:
    """Return the socket of a live connection."""
    link = connection._stream._link
    assert link is not None
    sock = link.transport.sock
    assert isinstance(sock, socket.socket)
    return sock
