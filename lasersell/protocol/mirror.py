"""Copy trading: the wallets to watch, and the limits on what is bought for them."""

from __future__ import annotations

from attrs import field, frozen

from lasersell.protocol.wire import ALWAYS_SENT, U16, U32, U64

__all__ = ["AutoBuy", "MirrorConfig", "WatchWallet"]


@frozen(kw_only=True)
class AutoBuy:
    """What to buy when a watched wallet buys."""

    wallet_pubkey: str
    """Own wallet that pays; base58 public key."""

    amount_quote_units: U64
    """Spent per buy in SOL markets, in lamports."""

    amount_usd1_units: U64 | None = None
    """Spent per buy in USD1 markets, in USD1 base units; None skips those markets."""


@frozen(kw_only=True)
class WatchWallet:
    """Somebody else's wallet to watch, and whether to copy it."""

    pubkey: str
    """The watched wallet; base58 public key."""

    auto_buy: AutoBuy | None = None
    """What to buy when it buys; None only observes."""

    mirror_sell: bool = False
    """Exit the copied position when the watched wallet sells."""


@frozen(kw_only=True)
class MirrorConfig:
    """
    Limits on copy trading, set once per session in ``configure``.

    All eight fields are always sent. A field left at its default is no limit:
    the documentation of the service and its wire types disagree about what an
    absent one means, so it is never left to the server.
    """

    max_positions_per_wallet: U32 = field(default=0, metadata=ALWAYS_SENT)
    """Copied positions open at once per watched wallet; 0 is unlimited."""

    cooldown_sec: U64 = field(default=0, metadata=ALWAYS_SENT)
    """Seconds between two buys for the same watched wallet; 0 is none."""

    skip_creator_tokens: bool = field(default=False, metadata=ALWAYS_SENT)
    """Do not copy buys of tokens that the watched wallet created."""

    max_active_sol: float = field(default=0.0, metadata=ALWAYS_SENT)
    """Total exposure over all copied positions, in SOL; 0 is unlimited."""

    buy_slippage_bps: U16 = field(default=0, metadata=ALWAYS_SENT)
    """Slippage of copied buys, in basis points; 0 is the server's default."""

    min_liquidity_sol: float | None = field(default=None, metadata=ALWAYS_SENT)
    """Least pool liquidity to buy into, in SOL; None is no floor."""

    max_entry_drift_pct: float | None = field(default=None, metadata=ALWAYS_SENT)
    """How far the price may have moved since the watched buy, in percent; None is any."""

    max_consecutive_losses: U32 | None = field(default=None, metadata=ALWAYS_SENT)
    """Losing trades in a row after which a watched wallet is disabled; None is never."""
