"""
The thirteen messages a server sends, and the one for types yet unknown.

A field that may be None has one of three reasons: the server may leave it out, it
came malformed, or (:class:`ExitSignalWithTx`) the message is too important to be
refused for the lack of it. The last two are named in ``decode_notes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from attrs import field, frozen

from lasersell.protocol.market import MarketContext
from lasersell.protocol.wire import (
    I64,
    U8,
    U16,
    U32,
    U64,
    HotMessage,
    ServerObject,
    defaults_on_class,
    hot_message,
)

__all__ = [
    "BalanceUpdate",
    "ExitSignalWithTx",
    "HelloOk",
    "Limits",
    "LiquidityBand",
    "LiquiditySnapshot",
    "MirrorBuyFailed",
    "MirrorBuySignal",
    "MirrorWalletAutoDisabled",
    "PnlUpdate",
    "Pong",
    "PositionClosed",
    "PositionOpened",
    "ServerError",
    "ServerMessage",
    "TradeTick",
    "UnknownMessage",
]


@defaults_on_class
@frozen(kw_only=True, slots=False)
class Limits(ServerObject):
    """What the account may do in one session; 0 and None are unknown, not none."""

    hi_capacity: U32
    """High-priority messages the server buffers for this session."""

    pnl_flush_ms: U64
    """Time between two ``pnl_update`` of a position, in milliseconds."""

    max_positions_per_session: U32
    """Positions tracked at once."""

    max_wallets_per_session: U32 | None = 0
    """Own wallets tracked at once."""

    max_positions_per_wallet: U32 | None = 0
    """Positions tracked at once in one wallet."""

    max_sessions_per_api_key: U32 | None = 0
    """Connections open at once with one API key."""

    max_watch_wallets_per_session: U32 | None = 0
    """Watched wallets at once."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class HelloOk(ServerObject):
    """The server accepted the connection; sent once per connection."""

    type: ClassVar[str] = "hello_ok"

    session_id: U64
    """The server's id of this connection; a reconnect has another."""

    server_time_ms: U64
    """The server's clock, in Unix milliseconds."""

    limits: Limits
    """What the account may do in this session."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class Pong(ServerObject):
    """The answer to a ping."""

    type: ClassVar[str] = "pong"

    server_time_ms: U64
    """The server's clock, in Unix milliseconds."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class ServerError(ServerObject):
    """
    The server refused something; on the wire its type is ``error``.

    Nothing in it says which command was meant, nor whether it is fatal.
    """

    type: ClassVar[str] = "error"

    code: str
    """Machine-readable code, such as ``capacity_exceeded``; an open set."""

    message: str
    """The server's words for a person."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class BalanceUpdate(ServerObject):
    """A wallet's balance of one token."""

    type: ClassVar[str] = "balance_update"

    wallet_pubkey: str
    """Wallet that holds the token; base58."""

    mint: str
    """Mint of the token; base58."""

    token_account: str | None = None
    """Account that holds the token; base58."""

    token_program: str | None = None
    """Program of the token; base58."""

    tokens: U64
    """The balance itself, not a change of it, in token atomic units."""

    slot: U64
    """Solana slot of the change."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class PositionOpened(ServerObject):
    """A position is tracked from now on; sent again after a reconnect."""

    type: ClassVar[str] = "position_opened"

    position_id: U64
    """Id of the position in this connection."""

    wallet_pubkey: str
    """Wallet that holds the position; base58."""

    mint: str
    """Mint of the token; base58."""

    token_account: str
    """Account that holds the token; base58."""

    token_program: str | None = None
    """Program of the token; base58."""

    tokens: U64
    """Size of the position, in token atomic units."""

    entry_quote_units: U64
    """Entry cost, in atomic units of the quote asset (lamports in SOL markets)."""

    market_context: MarketContext | None = None
    """Where the token trades."""

    token_name: str | None = None
    """Name of the token."""

    token_symbol: str | None = None
    """Ticker symbol of the token."""

    token_decimals: U8 | None = None
    """Decimal places of the token: 10 to this power atomic units are one token."""

    token_price_quote: U64 | None = None
    """Price of the token, in quote units."""

    market_cap_quote: U64 | None = None
    """Market capitalisation, in quote units."""

    pool_liquidity_quote: U64 | None = None
    """Liquidity of the pool, in quote units."""

    opened_at_ms: U64 | None = None
    """When the position was opened, by the server's clock, in Unix milliseconds."""

    slot: U64
    """Solana slot of the opening."""

    watched: bool | None = False
    """True: the position of a watched wallet, not ours."""

    mirror_source: str | None = None
    """The watched wallet this position of ours was copied from; base58."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class PositionClosed(ServerObject):
    """A position is no longer tracked."""

    type: ClassVar[str] = "position_closed"

    position_id: U64
    """Id of the position in this connection."""

    wallet_pubkey: str
    """Wallet that held the position; base58."""

    mint: str
    """Mint of the token; base58."""

    token_account: str | None = None
    """Account that held the token; base58."""

    reason: str
    """Why, such as ``stop_loss``; an open set."""

    slot: U64
    """Solana slot of the close."""

    mirror_source: str | None = None
    """The watched wallet this position of ours was copied from; base58."""

    watched: bool | None = False
    """True: the position of a watched wallet, not ours."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class ExitSignalWithTx(ServerObject):
    """
    A strategy triggered: sign and submit this transaction to exit.

    Decoding needs only ``unsigned_tx_b64``, ``wallet_pubkey``, ``mint`` and one of
    ``position_id`` and ``token_account``. Every other field that is malformed, or
    missing though the server always sends it, is None and named in
    ``decode_notes``.
    """

    type: ClassVar[str] = "exit_signal_with_tx"

    session_id: U64 | None
    """The server's id of the connection."""

    position_id: U64 | None
    """Id of the position in this connection."""

    wallet_pubkey: str
    """Wallet that must sign; base58."""

    mint: str
    """Mint of the token to sell; base58."""

    token_account: str | None = None
    """Account that holds the token; base58."""

    token_program: str | None = None
    """Program of the token; base58."""

    position_tokens: U64 | None
    """Size of the position, in token atomic units."""

    profit_units: I64 | None
    """Profit at the trigger, in atomic units of the quote asset; negative is a loss."""

    reason: str | None
    """Why, such as ``target_profit``; an open set."""

    triggered_at_ms: U64 | None
    """When, by the server's clock, in Unix milliseconds."""

    market_context: MarketContext | None = None
    """Where the token trades."""

    unsigned_tx_b64: str
    """The unsigned Solana ``VersionedTransaction``, in base64."""

    sell_tokens: U64 | None = None
    """How much this transaction sells, in token atomic units; set for partial exits."""

    level_index: U32 | None = None
    """Which level of the take-profit ladder triggered, counted from 0."""

    mirror_source: str | None = None
    """The watched wallet this position of ours was copied from; base58."""

    watched: bool | None = False
    """True: the position of a watched wallet, not ours."""


@hot_message
class PnlUpdate(HotMessage, frozen=True, kw_only=True, tag="pnl_update"):
    """A position's profit now; comes every ``limits.pnl_flush_ms``."""

    position_id: U64
    """Id of the position in this connection."""

    profit_units: I64
    """Proceeds less entry cost, in atomic units of the quote asset; negative is a loss."""

    proceeds_units: U64
    """What selling all would bring now, in atomic units of the quote asset."""

    server_time_ms: U64
    """When, by the server's clock, in Unix milliseconds."""

    token_price_quote: U64 | None = None
    """Price of the token, in quote units."""

    market_cap_quote: U64 | None = None
    """Market capitalisation, in quote units."""

    watched: bool | None = False
    """True: the position of a watched wallet, not ours."""


@frozen(kw_only=True)
class LiquidityBand:
    """How much could be sold within one slippage."""

    slippage_bps: U16
    """The slippage, in basis points."""

    max_tokens: U64
    """The most that can be sold within it, in token atomic units."""

    coverage_pct: float
    """That amount in percent of the position, 0 to 100."""


@hot_message
class LiquiditySnapshot(
    HotMessage, frozen=True, kw_only=True, tag="liquidity_snapshot"
):
    """How much of a position the market could take; needs a paid tier."""

    position_id: U64
    """Id of the position in this connection."""

    bands: tuple[LiquidityBand, ...]
    """One band per slippage, lowest first."""

    liquidity_trend: str
    """``growing``, ``stable`` or ``draining``; an open set."""

    server_time_ms: U64
    """When, by the server's clock, in Unix milliseconds."""

    watched: bool | None = False
    """True: the position of a watched wallet, not ours."""


@hot_message
class TradeTick(HotMessage, frozen=True, kw_only=True, tag="trade_tick"):
    """Somebody traded the token of a position."""

    position_id: U64
    """Id of the position in this connection."""

    time_ms: U64
    """When, in Unix milliseconds."""

    side: str
    """``buy`` or ``sell``; an open set."""

    token_amount: U64
    """Tokens traded, in token atomic units."""

    quote_amount: U64
    """Paid or received for them, in atomic units of the quote asset."""

    price_quote: U64
    """Price of the token, in quote units."""

    maker: str | None = None
    """Wallet that traded; base58."""

    tx_signature: str | None = None
    """Signature of the trade's transaction; base58."""

    watched: bool | None = False
    """True: the position of a watched wallet, not ours."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class MirrorBuySignal(ServerObject):
    """
    A watched wallet bought: sign and submit this transaction to buy too.

    Report what became of it with ``mirror_buy_result``.
    """

    type: ClassVar[str] = "mirror_buy_signal"

    session_id: U64
    """The server's id of the connection."""

    watched_wallet: str
    """The wallet that bought; base58."""

    mint: str
    """Mint of the token; base58."""

    user_wallet: str
    """Own wallet that pays and must sign; base58."""

    amount_quote_units: U64
    """What the buy spends, in atomic units of the asset named by ``input``."""

    input: str
    """The asset spent: ``SOL`` or ``USD1``."""

    unsigned_tx_b64: str
    """The unsigned Solana ``VersionedTransaction``, in base64."""

    slippage_bps: U16
    """Slippage of the buy, in basis points."""

    send_mode: str | None = None
    """How the transaction is meant to be submitted."""

    tip_lamports: U64 | None = None
    """Tip in the transaction, in lamports."""

    market_context: MarketContext | None = None
    """Where the token trades."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class MirrorBuyFailed(ServerObject):
    """A buy of a watched wallet was not copied."""

    type: ClassVar[str] = "mirror_buy_failed"

    watched_wallet: str
    """The wallet that bought; base58."""

    mint: str
    """Mint of the token; base58."""

    reason: str
    """Why, such as ``no_route``; an open set."""


@defaults_on_class
@frozen(kw_only=True, slots=False)
class MirrorWalletAutoDisabled(ServerObject):
    """The server stopped copying a watched wallet."""

    type: ClassVar[str] = "mirror_wallet_auto_disabled"

    watched_wallet: str
    """The wallet no longer copied; base58."""

    reason: str
    """Why; an open set."""

    loss_count: U32
    """Losing trades in a row (trades)."""


@frozen(kw_only=True)
class UnknownMessage:
    """A message of a type this version does not know."""

    type: str
    """The type on the wire."""

    raw: Mapping[str, Any] = field(hash=False)
    """The whole object, its type included, as decoded JSON. Do not modify."""


ServerMessage: TypeAlias = (
    HelloOk
    | Pong
    | ServerError
    | BalanceUpdate
    | PositionOpened
    | PositionClosed
    | ExitSignalWithTx
    | PnlUpdate
    | LiquiditySnapshot
    | TradeTick
    | MirrorBuySignal
    | MirrorBuyFailed
    | MirrorWalletAutoDisabled
    | UnknownMessage
)
"""Any message a server sends."""
