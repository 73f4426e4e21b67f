"""The synchronous, threaded SDK for the LaserSell Exit Intelligence Stream."""

from __future__ import annotations

from lasersell.errors import (
    ApiError,
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    DecodeError,
    ForkedError,
    GuardRefusedError,
    HandshakeError,
    HoldFullError,
    LaserSellError,
    MissingExtraError,
    NotConnectedError,
    RelayAuthenticationError,
    RelayConnectError,
    RelayError,
    RelayTimeoutError,
    RelayTlsError,
    RelayVersionError,
    SessionInUseError,
    StreamError,
    StreamLostError,
    TlsError,
    TxError,
)
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.client import StreamClient, StreamConnection, StreamLanes
from lasersell.stream.options import StreamConfigure
from lasersell.stream.sender import StreamSender

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AuthenticationError",
    "AutoBuy",
    "ConcurrencyError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "DecodeError",
    "ForkedError",
    "GuardRefusedError",
    "HandshakeError",
    "HoldFullError",
    "LaserSellError",
    "MirrorConfig",
    "MissingExtraError",
    "NotConnectedError",
    "PositionHandle",
    "RelayAuthenticationError",
    "RelayConnectError",
    "RelayError",
    "RelayTimeoutError",
    "RelayTlsError",
    "RelayVersionError",
    "SessionInUseError",
    "StrategyConfig",
    "StreamClient",
    "StreamConfigure",
    "StreamConnection",
    "StreamError",
    "StreamEvent",
    "StreamLanes",
    "StreamLostError",
    "StreamSender",
    "StreamSession",
    "TakeProfitLevel",
    "TlsError",
    "TxError",
    "WatchWallet",
    "__version__",
]
