"""What the fixtures of the pytest plugin do, once they are used."""

from __future__ import annotations

from typing import Any

from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.session import StreamSession
from lasersell.sim import ManualClock, SimServer
from lasersell.sim.solana import private_key
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = [
    "API_KEY",
    "OTHER_WALLET",
    "PRIVATE_KEY",
    "WALLET",
    "connect",
    "environment",
    "make_sim",
]

API_KEY = "a-key-for-tests"
"""The key the environment has during a test; the server accepts any."""

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
"""The public key of the keypair whose seed is 32 bytes of 1; nobody's money."""

PRIVATE_KEY = private_key(bytes([1]) * 32)
"""The private key of :data:`WALLET`, in base58."""

OTHER_WALLET = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"
"""Another wallet: the same with bytes of 2."""

_STRATEGY = StrategyConfig(target_profit_pct=5.0, stop_loss_pct=10.0)


def make_sim(options: dict[str, Any]) -> SimServer:
    """
    Return a server whose time and prices stand still, if not said otherwise.

    Args:
        options: Arguments of :class:`SimServer`; ``realtime`` lets it tick by itself.
    """
    options = {"volatility_pct": 0.0, **options}
    if not options.pop("realtime", False):
        # From the present on: a wallet's proof must be of the last five minutes.
        options.setdefault("clock", ManualClock(SYSTEM_CLOCK.wall_ms()))
    return SimServer(**options)


def environment(sim: SimServer) -> dict[str, str]:
    """Return the variables by which a program finds a server, and all it needs there."""
    return {
        "LASERSELL_API_KEY": API_KEY,
        "LASERSELL_STREAM_ENDPOINT": sim.url,
        "LASERSELL_API_URL": sim.api_url,
        "LASERSELL_RPC_URL": sim.rpc_url,
        "LASERSELL_PRIVATE_KEY": PRIVATE_KEY,
    }


def connect(sim: SimServer, fields: dict[str, Any]) -> StreamSession:
    """
    Return a session that is live on a server.

    Args:
        sim: Where to connect.
        fields: Fields of :class:`StreamConfigure`, before one wallet with a target
            of 5 % and a stop of 10 %.
    """
    configure: dict[str, Any] = {"wallet_pubkeys": [WALLET], "strategy": _STRATEGY}
    client = StreamClient(API_KEY, endpoint=sim.url)
    return StreamSession.connect(client, StreamConfigure(**{**configure, **fields}))
