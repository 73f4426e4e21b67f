"""The nine messages a client sends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeAlias

from attrs import field, frozen

from lasersell.protocol.mirror import MirrorConfig, WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.protocol.wire import U16, U64

__all__ = [
    "ClientMessage",
    "ClosePosition",
    "Configure",
    "MirrorBuyResult",
    "Ping",
    "RequestExitSignal",
    "UpdatePositionStrategy",
    "UpdateStrategy",
    "UpdateWallets",
    "UpdateWatchWallets",
]


# Callers may pass lists. One generic converter would do, but mypy cannot see through it.
def _to_texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def _to_watch_wallets(wallets: Iterable[WatchWallet]) -> tuple[WatchWallet, ...]:
    return tuple(wallets)


@frozen(kw_only=True)
class Ping:
    """Ask the server for a :class:`~lasersell.protocol.server.Pong`."""

    type: ClassVar[str] = "ping"

    client_time_ms: U64
    """The client's clock, in Unix milliseconds. The server does not echo it."""


@frozen(kw_only=True)
class Configure:
    """Set the session up; sent once per connection."""

    type: ClassVar[str] = "configure"

    wallet_pubkeys: tuple[str, ...] = field(converter=_to_texts)
    """Own wallets to track, each registered before; base58 public keys."""

    strategy: StrategyConfig
    """When to exit any position that has no strategy of its own."""

    send_mode: str | None = None
    """How transactions will be submitted: ``rpc``, ``helius_sender`` or ``astralane``."""

    tip_lamports: U64 | None = None
    """Tip in each exit transaction, in lamports; None is the server's default."""

    watch_wallets: tuple[WatchWallet, ...] = field(
        default=(), converter=_to_watch_wallets
    )
    """Other people's wallets to watch or copy."""

    mirror_config: MirrorConfig | None = None
    """Limits on copy trading; no later message can change them."""


@frozen(kw_only=True)
class UpdateStrategy:
    """Replace the session's strategy as a whole, at once for every open position."""

    type: ClassVar[str] = "update_strategy"

    strategy: StrategyConfig
    """The new strategy."""


@frozen(kw_only=True)
class ClosePosition:
    """Stop tracking a position, named by one of the two fields. Sells nothing."""

    type: ClassVar[str] = "close_position"

    position_id: U64 | None = None
    """Id of the position in this connection."""

    token_account: str | None = None
    """Token account of the position; base58."""


@frozen(kw_only=True)
class RequestExitSignal:
    """Ask for an exit transaction now, for the position named by one of two fields."""

    type: ClassVar[str] = "request_exit_signal"

    position_id: U64 | None = None
    """Id of the position in this connection."""

    token_account: str | None = None
    """Token account of the position; base58."""

    slippage_bps: U16 | None = None
    """Slippage of this transaction, in basis points; None is the server's default."""


@frozen(kw_only=True)
class UpdateWallets:
    """Replace the list of own wallets as a whole."""

    type: ClassVar[str] = "update_wallets"

    wallet_pubkeys: tuple[str, ...] = field(converter=_to_texts)
    """Own wallets to track from now on; base58 public keys."""


@frozen(kw_only=True)
class UpdateWatchWallets:
    """Replace the list of watched wallets as a whole."""

    type: ClassVar[str] = "update_watch_wallets"

    watch_wallets: tuple[WatchWallet, ...] = field(converter=_to_watch_wallets)
    """Wallets to watch from now on."""


@frozen(kw_only=True)
class UpdatePositionStrategy:
    """Give one position a strategy of its own; the server forgets it on a reconnect."""

    type: ClassVar[str] = "update_position_strategy"

    position_id: U64
    """Id of the position in this connection."""

    strategy: StrategyConfig
    """The position's strategy, replacing the session's as a whole."""


@frozen(kw_only=True)
class MirrorBuyResult:
    """Tell the server what became of a mirror buy."""

    type: ClassVar[str] = "mirror_buy_result"

    mint: str
    """Mint of the token bought; base58."""

    success: bool
    """Whether the transaction was submitted; not whether it was confirmed."""


ClientMessage: TypeAlias = (
    Ping
    | Configure
    | UpdateStrategy
    | ClosePosition
    | RequestExitSignal
    | UpdateWallets
    | UpdateWatchWallets
    | UpdatePositionStrategy
    | MirrorBuyResult
)
"""Any message a client sends."""
