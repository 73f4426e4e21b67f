"""The synchronous, threaded SDK for the LaserSell Exit Intelligence Stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

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


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext lasersell``; see :mod:`lasersell.contrib.jupyter`."""
    # Needs an extra, and nobody but IPython calls this.
    from lasersell.contrib import jupyter  # noqa: PLC0415

    jupyter.load_ipython_extension(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext lasersell``."""
    from lasersell.contrib import jupyter  # noqa: PLC0415  as above

    jupyter.unload_ipython_extension(shell)
