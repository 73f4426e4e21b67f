"""How the server behaves towards its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import Limits

__all__ = ["DEFAULT_LIMITS", "SimOptions"]

DEFAULT_LIMITS = Limits(
    hi_capacity=1024,
    pnl_flush_ms=100,
    max_positions_per_session=100,
    max_wallets_per_session=10,
    max_positions_per_wallet=20,
    max_sessions_per_api_key=5,
)
"""The specification's example, but with the flush interval of every public tier."""


def _to_keys(keys: Iterable[str] | None) -> frozenset[str] | None:
    if keys is None:
        return None
    return frozenset([keys] if isinstance(keys, str) else keys)


def _one_of(*choices: str) -> Callable[[object, attrs.Attribute[str], str], None]:
    def check(_options: object, field: attrs.Attribute[str], value: str) -> None:
        if value not in choices:
            raise ConfigurationError(
                f"{field.name} is {value!r}; choose one of {', '.join(choices)}"
            )

    return check


def _check_limits(_options: object, _field: object, limits: Limits) -> None:
    if limits.pnl_flush_ms < 1:
        raise ConfigurationError("limits.pnl_flush_ms must be at least 1 millisecond")


@attrs.frozen(kw_only=True)
class SimOptions:
    """
    What may be changed while the server runs; new connections see the change.

    Attributes:
        api_keys: Keys that are let in, or one of them; None lets any key in that is not empty.
        hello: ``first``: ``hello_ok`` at once, as the specification says;
            ``after_configure``: only in answer to ``configure``, as the deployed
            service is reported to do; ``never``: the server accepts the connection
            and stays mute.
        hello_delay: Seconds by which ``hello_ok`` is late.
        close_after_hello: Close code sent right after ``hello_ok``; 1006 cuts the
            connection without a close frame; None keeps it open.
        limits: What ``hello_ok`` announces and the server enforces; 0 is no limit.
        auto_sell_after_ms: Milliseconds after an exit signal in which its sale
            lands by itself; it lands with the first tick after that. None waits
            for ``land_exit``.
        position_ids: Whether a position keeps its id over a reconnect, or gets a
            new one; the documents allow both.
        liquidity_snapshots: Whether each tick sends one per position.
        starter_holdings: Tokens bought for a wallet that is configured and holds
            nothing.
        require_exit_condition: Whether a strategy with nothing set is refused. Off
            by default: a deadline is not on the wire, so a session that has only
            one sends such a strategy.
    """

    api_keys: frozenset[str] | None = attrs.field(
        default=None, converter=_to_keys, repr=False
    )
    hello: Literal["first", "after_configure", "never"] = attrs.field(
        default="first", validator=_one_of("first", "after_configure", "never")
    )
    hello_delay: float = 0.0
    close_after_hello: int | None = None
    limits: Limits = attrs.field(default=DEFAULT_LIMITS, validator=_check_limits)
    auto_sell_after_ms: int | None = None
    position_ids: Literal["kept", "renewed"] = attrs.field(
        default="kept", validator=_one_of("kept", "renewed")
    )
    liquidity_snapshots: bool = False
    starter_holdings: int = 0
    require_exit_condition: bool = False
