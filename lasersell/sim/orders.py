"""
Trades that a client was told to make, from the signal to their landing.

They are known by the client's position, and by the transaction that it was offered.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lasersell.sim.transactions import message_of

__all__ = ["Orders", "PendingBuy", "PendingExit"]


@attrs.frozen
class PendingExit:
    """
    An exit signal that went out and whose sale has not landed yet.

    Attributes:
        reason: The reason of the signal.
        due_ms: When the sale lands by itself, in Unix milliseconds; None if it
            waits to be told.
        level_index: The ladder level it is of; None if of none.
        tokens: How much it sells, in token atomic units; None is all.
    """

    reason: str
    due_ms: int | None
    level_index: int | None = None
    tokens: int | None = None


@attrs.frozen
class PendingBuy:
    """
    A mirror buy that was signalled and has not landed yet.

    Attributes:
        wallet: Who is to buy; base58.
        mint: What; base58.
        quote_units: For how much.
        watched_wallet: Whose buy it copies; base58.
        is_submitted: Whether the client said that it submitted it.
        due_ms: When it lands by itself, in Unix milliseconds; None if it waits.
    """

    wallet: str
    mint: str
    quote_units: int
    watched_wallet: str
    is_submitted: bool = False
    due_ms: int | None = None


_OFFERS_KEPT = 16_384


class Orders:
    """
    Exits by token account, and buys by wallet and mint, oldest signal first.

    An exit is told from others of its account by its level. One that is signalled
    again replaces itself, but a sale that has its time keeps it.
    """

    def __init__(self) -> None:
        self._exits: dict[str, dict[int | None, PendingExit]] = {}
        self._signalled: dict[str, dict[int | None, PendingExit]] = {}
        self._buys: dict[tuple[str, str], PendingBuy] = {}
        self._offers: dict[bytes, PendingExit | PendingBuy] = {}

    # --- transactions ---------------------------------------------------------

    def offer(self, text: str, order: PendingExit | PendingBuy) -> None:
        """Remember what an unsigned transaction in base64 is for."""
        self._offers[message_of(text)] = order
        if len(self._offers) > _OFFERS_KEPT:
            del self._offers[next(iter(self._offers))]

    def offered(self, message: bytes) -> PendingExit | PendingBuy | None:
        """Return what a message that was signed is for; None if we did not build it."""
        return self._offers.get(message)

    # --- exits ----------------------------------------------------------------

    def expect_exit(self, token_account: str, pending: PendingExit) -> None:
        """Remember that an exit signal went out."""
        self._signalled.setdefault(token_account, {})[pending.tokens] = pending
        exits = self._exits.setdefault(token_account, {})
        known = exits.get(pending.level_index)
        if known is None or known.due_ms is None:
            exits.pop(pending.level_index, None)
            exits[pending.level_index] = pending

    def last_exit(self, token_account: str) -> PendingExit | None:
        """Return the exit signalled last for an account, if one is under way."""
        exits = self._exits.get(token_account)
        return None if not exits else next(reversed(exits.values()))

    def exit_of(self, token_account: str, tokens: int | None) -> PendingExit | None:
        """
        Return the exit that was signalled last to sell so much; None is everything.

        It may have landed, as long as the account holds something.
        """
        return self._signalled.get(token_account, {}).get(tokens)

    def due_exits(self, now_ms: int) -> list[tuple[str, PendingExit]]:
        """Return the exits whose time has come, with their accounts."""
        return [
            (account, pending)
            for account, exits in self._exits.items()
            for pending in exits.values()
            if pending.due_ms is not None and pending.due_ms <= now_ms
        ]

    def forget_exit(self, token_account: str, level_index: int | None) -> None:
        """Forget one exit of an account, if it was under way."""
        exits = self._exits.get(token_account, {})
        exits.pop(level_index, None)

    def forget_exits(self, token_account: str) -> None:
        """Forget all exits of an account that holds nothing any more."""
        self._exits.pop(token_account, None)
        self._signalled.pop(token_account, None)

    # --- mirror buys ----------------------------------------------------------

    def expect_buy(self, buy: PendingBuy) -> None:
        """Remember that a mirror buy was signalled, or when it lands."""
        self._buys[buy.wallet, buy.mint] = buy

    def buys(self, wallets: Iterable[str] | None = None) -> list[PendingBuy]:
        """Return the buys under way of some wallets; None asks for all."""
        named = None if wallets is None else set(wallets)
        return [
            buy for buy in self._buys.values() if named is None or buy.wallet in named
        ]

    def due_buys(self, now_ms: int) -> list[PendingBuy]:
        """Return the buys whose time has come."""
        return [
            buy
            for buy in self._buys.values()
            if buy.due_ms is not None and buy.due_ms <= now_ms
        ]

    def forget_buy(self, buy: PendingBuy) -> None:
        """Forget a buy, if it was under way."""
        self._buys.pop((buy.wallet, buy.mint), None)
