"""How the server behaves towards its clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypedDict

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.mirror import MirrorConfig
from lasersell.protocol.server import Limits, ServerError
from lasersell.sim.readings import Readings, one_of
from lasersell.sim.tiers import TierName, tier_named

__all__ = ["DEFAULT_LIMITS", "Denial", "OptionFields", "SimOptions", "make_options"]

DEFAULT_LIMITS = Limits(
    hi_capacity=1024,
    pnl_flush_ms=100,
    max_positions_per_session=100,
    max_wallets_per_session=10,
    max_positions_per_wallet=20,
    max_sessions_per_api_key=5,
)
"""The specification's example, but with the flush interval of every public tier."""

Denial = Literal["401", "403", "429", "error", "close", "drop_older"]
"""
How a client is turned away: an HTTP status; let in, then an ``error`` frame in place
of ``hello_ok``; let in, then close code 1008; or let in, and the older session of its
key is closed with 1008 instead. The documents say for none which it is.
"""


def _to_keys(keys: Iterable[str] | None) -> frozenset[str] | None:
    if keys is None:
        return None
    return frozenset([keys] if isinstance(keys, str) else keys)


def _check_limits(_options: object, _field: object, limits: Limits) -> None:
    if limits.pnl_flush_ms < 1:
        raise ConfigurationError("limits.pnl_flush_ms must be at least 1 millisecond")


@attrs.frozen(kw_only=True)
class SimOptions:
    """
    What may be changed while the server runs; new connections see the change.

    Attributes:
        api_keys: Keys that are let in, or one of them; None lets any key in that is
            not empty.
        unknown_key: How any other key is turned away.
        too_many_sessions: How a session more than the limit is turned away.
        hello: ``first``: ``hello_ok`` at once, as the specification says;
            ``after_configure``: only in answer to ``configure``, as the deployed
            service is reported to do; ``never``: the server accepts the connection
            and stays mute.
        hello_delay: Seconds by which ``hello_ok`` is late.
        hello_error: Sent in place of ``hello_ok``, and then only pings are answered;
            None sends ``hello_ok``.
        close_after_hello: Close code sent right after ``hello_ok``; 1006 cuts the
            connection without a close frame; None keeps it open.
        limits: What ``hello_ok`` announces and the server enforces; 0 is no limit.
        inactivity_timeout_ms: Milliseconds without a message of the client after
            which it is closed with 1000, looked at on each tick; None is never.
            Pings of the WebSocket do not count.
        advanced_exits: Whether a strategy may have a ladder, a liquidity guard or
            breakeven protection; where not, it is an ``invalid_strategy``.
        auto_sell_after_ms: Milliseconds after an exit signal in which its sale
            lands by itself; it lands with the first tick after that. None waits
            for ``land_exit``.
        auto_buy_after_ms: The same for a mirror buy, from ``mirror_buy_result`` on;
            None waits for ``land_mirror_buy``.
        refresh_after_ms: Milliseconds after which an exit signal whose sale has not
            landed is sent again, with a fresh transaction, with the first tick
            after that. None sends it once.
        position_ids: Whether a position keeps its id over a reconnect, or gets a
            new one; the documents allow both.
        position_facts: Whether slot and time of opening of a position that is told
            again are those of its buy, or of now; not documented either.
        exit_state: Whether peaks, ladders and exits under way are forgotten with the
            connection, or kept for the next one of the same key; not documented.
        liquidity_snapshots: Whether each tick sends one per position.
        trade_ticks: Whether trades in a position's token, and moves of its price,
            are told.
        watched_exits: Whether the strategy is applied to positions of watched
            wallets too, and their exit signals sent. The mirror pages and the wire
            types say so; nobody but their owner can sign them.
        lookup_tables: Whether transactions keep accounts in an address look-up table,
            which ``getAccountInfo`` returns.
        starter_holdings: Tokens bought for a wallet that is configured and holds
            nothing.
        require_exit_condition: Whether a strategy with nothing set is refused. Off
            by default: a deadline is not on the wire, so a session that has only
            one sends such a strategy.
        guard_timeout_ms: Milliseconds for which a liquidity guard that is read as
            ``defer`` holds an exit back; the documents give no number.
        mirror_defaults: What holds for a session without a ``mirror_config``. No
            limits by default, as the wire types have it.
        readings: How the documents are read where they conflict.
    """

    api_keys: frozenset[str] | None = attrs.field(
        default=None, converter=_to_keys, repr=False
    )
    unknown_key: Literal["401", "403", "429", "error", "close"] = attrs.field(
        default="401", validator=one_of("401", "403", "429", "error", "close")
    )
    too_many_sessions: Denial = attrs.field(
        default="429",
        validator=one_of("401", "403", "429", "error", "close", "drop_older"),
    )
    hello: Literal["first", "after_configure", "never"] = attrs.field(
        default="first", validator=one_of("first", "after_configure", "never")
    )
    hello_delay: float = 0.0
    hello_error: ServerError | None = None
    close_after_hello: int | None = None
    limits: Limits = attrs.field(default=DEFAULT_LIMITS, validator=_check_limits)
    inactivity_timeout_ms: int | None = None
    advanced_exits: bool = True
    auto_sell_after_ms: int | None = None
    auto_buy_after_ms: int | None = None
    refresh_after_ms: int | None = None
    position_ids: Literal["kept", "renewed"] = attrs.field(
        default="kept", validator=one_of("kept", "renewed")
    )
    position_facts: Literal["kept", "renewed"] = attrs.field(
        default="kept", validator=one_of("kept", "renewed")
    )
    exit_state: Literal["forgotten", "kept"] = attrs.field(
        default="forgotten", validator=one_of("forgotten", "kept")
    )
    liquidity_snapshots: bool = False
    trade_ticks: bool = False
    watched_exits: bool = True
    lookup_tables: bool = False
    starter_holdings: int = 0
    require_exit_condition: bool = False
    guard_timeout_ms: int = 30_000
    mirror_defaults: MirrorConfig = attrs.field(factory=MirrorConfig)
    readings: Readings = attrs.field(factory=Readings)


class OptionFields(TypedDict, total=False):
    """The fields of :class:`SimOptions`, each of which may be left out."""

    api_keys: Iterable[str] | None
    unknown_key: Literal["401", "403", "429", "error", "close"]
    too_many_sessions: Denial
    hello: Literal["first", "after_configure", "never"]
    hello_delay: float
    hello_error: ServerError | None
    close_after_hello: int | None
    limits: Limits
    inactivity_timeout_ms: int | None
    advanced_exits: bool
    auto_sell_after_ms: int | None
    auto_buy_after_ms: int | None
    refresh_after_ms: int | None
    position_ids: Literal["kept", "renewed"]
    position_facts: Literal["kept", "renewed"]
    exit_state: Literal["forgotten", "kept"]
    liquidity_snapshots: bool
    trade_ticks: bool
    watched_exits: bool
    lookup_tables: bool
    starter_holdings: int
    require_exit_condition: bool
    guard_timeout_ms: int
    mirror_defaults: MirrorConfig
    readings: Readings


def make_options(
    tier: TierName | None, pnl_flush_ms: int | None, fields: OptionFields
) -> SimOptions:
    """
    Return options from a tier's, and what differs from them.

    Args:
        tier: The tier; None is none.
        pnl_flush_ms: The flush interval; None takes it from the limits.
        fields: What to set, whatever the tier says.

    Raises:
        ConfigurationError: If a value is wrong, or there is no such tier or option.
    """
    named: dict[str, Any] = {}
    if tier is not None:
        named = attrs.asdict(tier_named(tier), recurse=False)
    named |= fields
    unknown = named.keys() - {field.name for field in attrs.fields(SimOptions)}
    if unknown:
        raise ConfigurationError(
            f"there is no option {', '.join(sorted(unknown))}; see SimOptions"
        )
    options = SimOptions(**named)
    if pnl_flush_ms is None:
        return options
    limits = attrs.evolve(options.limits, pnl_flush_ms=pnl_flush_ms)
    return attrs.evolve(options, limits=limits)
