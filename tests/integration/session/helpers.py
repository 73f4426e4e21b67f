"""Sessions on an embedded server, and ways to wait for what they bring."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lasersell.protocol.server import (
    LiquiditySnapshot,
    PnlUpdate,
    TradeTick,
)
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.patience import PATIENCE
from tests.unit.session.frames import OTHER_WALLET, WALLET

__all__ = [
    "LOW_TYPES",
    "OTHER_WALLET",
    "STRATEGY",
    "WALLET",
    "drain",
    "highs_of",
    "make_client",
    "next_event",
    "offline",
    "open_session",
    "told",
    "until",
]

STRATEGY = StrategyConfig(target_profit_pct=500.0)
"""One that does not trigger by itself in these tests."""
LOW_TYPES = {PnlUpdate.type, LiquiditySnapshot.type, TradeTick.type, "undecodable"}


def make_client(server: SimServer, **options: Any) -> StreamClient:
    """Return a client of a server."""
    return StreamClient("a-made-up-key", endpoint=server.url, **options)


@contextlib.contextmanager
def open_session(
    server: SimServer,
    *,
    strategy: StrategyConfig = STRATEGY,
    deadline: float = 0.0,
    client: dict[str, Any] | None = None,
    configure: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[StreamSession]:
    """
    Open a session of the first wallet; rejections are not waited for.

    Nor is the grace of a deadline that had passed before its position was first seen:
    on a slow machine any short one may have.
    """
    with StreamSession.connect(
        make_client(server, **(client or {})),
        StreamConfigure(
            **{
                "wallet_pubkeys": [WALLET],
                "strategy": strategy,
                "deadline_timeout_sec": deadline,
                **(configure or {}),
            }
        ),
        **{
            "timeout": PATIENCE,
            "wait_configured": 0,
            "deadline_grace_sec": 0.0,
            **options,
        },
    ) as session:
        yield session


def next_event(session: StreamSession) -> StreamEvent:
    """Return the next event, which must come."""
    event = session.recv(timeout=PATIENCE)
    assert event is not None, "the session is closed"
    return event


def until(
    session: StreamSession, wanted: str | Callable[[StreamEvent], bool]
) -> list[StreamEvent]:
    """Return the events up to the first of a type, or that something is true of."""
    events = []
    while True:
        event = next_event(session)
        events.append(event)
        if event.type == wanted if isinstance(wanted, str) else wanted(event):
            return events


def told(sim: SimServer, kind: Any) -> Any:
    """Return the next message of a class that the server was sent."""
    return sim.received.wait_for(kind, timeout=PATIENCE)


def drain(session: StreamSession) -> list[StreamEvent]:
    """Close a session, and return all that is left."""
    session.close()
    return list(session)


def highs_of(events: list[StreamEvent]) -> list[str]:
    """Return the types of the high-lane events, in order."""
    return [event.type for event in events if event.type not in LOW_TYPES]


@contextlib.contextmanager
def offline(server: SimServer, code: int = 1006) -> Iterator[None]:
    """Cut every connection, and let none come back before the end of the block."""
    server.refuse_upgrades(503)
    server.drop(code)
    server.upgrades.wait_for(object, where=_is_refusal)
    yield
    server.accept_upgrades()


def _is_refusal(upgrade: Any) -> bool:
    return bool(upgrade.status == 503)
