"""
What a transaction is supposed to do, by the event or the request it belongs to.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from lasersell.errors import ConfigurationError
from lasersell.exits.guard.refusal import refusal
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.protocol.mirror import AutoBuy
from lasersell.protocol.server import ExitSignalWithTx, MirrorBuySignal
from lasersell.session.positions import SOL_MINT, USD1_MINT, PositionHandle

__all__ = ["Intent"]

_MINTS = {"SOL": SOL_MINT, "USD1": USD1_MINT}
_UNITS = {"SOL": 10**9, "USD1": 10**6}


@attrs.frozen(kw_only=True)
class Intent:
    """One trade of one wallet: so much of a token for a quote asset, or the reverse."""

    wallet: str
    """Who trades, signs and pays; base58."""
    mint: str
    """The token; base58."""
    is_sale: bool
    """Whether the token is sold, rather than bought."""
    limit: int | None
    """Most that may be spent, in atomic units of what is spent; None is not known."""
    quote_mints: tuple[str, ...] | None = None
    """What it may be sold for or bought with; None leaves it to the policy."""

    @classmethod
    def of_exit(
        cls, signal: ExitSignalWithTx, position: PositionHandle | None = None
    ) -> Intent:
        """
        Return what an exit signal asks for: at most ``sell_tokens``, else the position.

        Raises:
            ConfigurationError: The position is another one.
        """
        if position is not None:
            _check_same(position, signal.wallet_pubkey, signal.mint)
        amounts = [signal.sell_tokens, signal.position_tokens]
        if amounts == [None, None] and position is not None:
            amounts = [position.tokens]
        return cls(
            wallet=signal.wallet_pubkey,
            mint=signal.mint,
            is_sale=True,
            limit=_least(amounts),
        )

    @classmethod
    def of_mirror_buy(
        cls, signal: MirrorBuySignal, auto_buy: AutoBuy | None = None
    ) -> Intent:
        """
        Return what a mirror buy asks for: at most its amount, and at most our own.

        Args:
            signal: What the server asks for.
            auto_buy: What we configured for the watched wallet; None trusts the signal.

        Raises:
            GuardRefusedError: The signal names a wallet that is not to pay.
        """
        amounts: list[int | None] = [signal.amount_quote_units]
        if auto_buy is not None:
            if auto_buy.wallet_pubkey != signal.user_wallet:
                raise refusal(
                    "not_our_wallet",
                    f"the signal wants {signal.user_wallet} to pay, and auto_buy names "
                    f"{auto_buy.wallet_pubkey}",
                )
            own = auto_buy.amount_usd1_units or 0
            amounts.append(
                auto_buy.amount_quote_units if signal.input == "SOL" else own
            )
        mint = _MINTS.get(signal.input)
        return cls(
            wallet=signal.user_wallet,
            mint=signal.mint,
            is_sale=False,
            limit=_least(amounts),
            quote_mints=() if mint is None else (mint,),
        )

    @classmethod
    def of_sell(
        cls, request: BuildSellTxRequest, position: PositionHandle | None = None
    ) -> Intent:
        """
        Return what a request to sell asks for.

        Args:
            request: What was asked for.
            position: What is sold; needed where the request says 0, which is all.

        Raises:
            ConfigurationError: The position is another one.
        """
        limit: int | None = request.amount_tokens
        if position is not None:
            _check_same(position, request.user_pubkey, request.mint)
        if limit == 0:
            limit = None if position is None else position.tokens
        return cls(
            wallet=request.user_pubkey,
            mint=request.mint,
            is_sale=True,
            limit=limit,
            quote_mints=(_MINTS[request.output],),
        )

    @classmethod
    def of_buy(cls, request: BuildBuyTxRequest) -> Intent:
        """Return what a request to buy asks for."""
        limit = request.amount_in_total
        if limit is None:
            # By way of the digits that a person wrote: 0.1 is no binary number.
            limit = int(Decimal(str(request.amount)) * _UNITS[request.input])
        return cls(
            wallet=request.user_pubkey,
            mint=request.mint,
            is_sale=False,
            limit=limit,
            quote_mints=(_MINTS[request.input],),
        )


def _least(amounts: list[int | None]) -> int | None:
    return min((amount for amount in amounts if amount is not None), default=None)


def _check_same(position: PositionHandle, wallet: str, mint: str) -> None:
    if (position.wallet_pubkey, position.mint) != (wallet, mint):
        raise ConfigurationError(
            f"the position is {position.mint} of {position.wallet_pubkey}, and the "
            f"transaction is for {mint} of {wallet}; pass the handle of the same event"
        )
