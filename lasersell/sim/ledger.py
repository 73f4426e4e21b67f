"""
Who holds what on the simulated chain, and every trade that led there.

The ledger only books; prices are the market's and time is the chain's affair.
"""

from __future__ import annotations

from typing import Literal

import attrs

from lasersell.errors import ConfigurationError

__all__ = ["Holding", "Ledger", "Trade"]


@attrs.frozen(kw_only=True)
class Holding:
    """
    What one wallet holds of one token, from one buy on.

    Attributes:
        position_id: Number of this opening; the position id where ids are kept.
        wallet: Owner; base58.
        mint: Token; base58.
        token_account: The owner's associated token account; base58.
        token_program: Program of the token; base58.
        tokens: Balance in token atomic units; above 0.
        entry_quote_units: What these tokens cost.
        slot: Slot of the buy.
        opened_at_ms: Time of the buy, in Unix milliseconds.
    """

    position_id: int
    wallet: str
    mint: str
    token_account: str
    token_program: str
    tokens: int
    entry_quote_units: int
    slot: int
    opened_at_ms: int


@attrs.frozen(kw_only=True)
class Trade:
    """
    One buy or sale that landed.

    Attributes:
        side: ``buy`` or ``sell``.
        holding: After a buy, what was bought; before a sale, what was held.
        tokens: Traded, in token atomic units.
        quote_units: Paid or received for them.
        balance: Tokens held afterwards.
        reason: Why it was sold, as in ``position_closed``; ``buy`` for a buy.
        slot: Slot in which it landed; no two trades share one.
        time_ms: When it landed, in Unix milliseconds.
    """

    side: Literal["buy", "sell"]
    holding: Holding
    tokens: int
    quote_units: int
    balance: int
    reason: str
    slot: int
    time_ms: int


class Ledger:
    """
    The balances of all wallets, by token account, and their history.

    Attributes:
        trades: Everything that landed, oldest first.
    """

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self._holdings: dict[str, Holding] = {}

    def __contains__(self, token_account: str) -> bool:
        return token_account in self._holdings

    def holding(self, token_account: str) -> Holding | None:
        """Return what a token account holds; None if it is empty."""
        return self._holdings.get(token_account)

    def holdings(self, wallet: str | None = None) -> tuple[Holding, ...]:
        """Return what a wallet holds, oldest first; None asks for all wallets."""
        return tuple(
            holding
            for holding in self._holdings.values()
            if wallet is None or holding.wallet == wallet
        )

    def balance(self, wallet: str, mint: str) -> int:
        """Return how much of a token a wallet holds, in token atomic units."""
        return sum(
            holding.tokens
            for holding in self._holdings.values()
            if holding.wallet == wallet and holding.mint == mint
        )

    def buy(self, holding: Holding) -> Trade:
        """
        Book a buy into an empty token account.

        Raises:
            ConfigurationError: If the account holds tokens already.
        """
        if holding.token_account in self._holdings:
            raise ConfigurationError(
                f"wallet {holding.wallet} already holds {holding.mint}; sell that "
                "first or buy another mint: a position is opened by one buy"
            )
        self._holdings[holding.token_account] = holding
        return self._book(
            Trade(
                side="buy",
                holding=holding,
                tokens=holding.tokens,
                quote_units=holding.entry_quote_units,
                balance=holding.tokens,
                reason="buy",
                slot=holding.slot,
                time_ms=holding.opened_at_ms,
            )
        )

    def sell(
        self,
        holding: Holding,
        tokens: int,
        *,
        quote_units: int,
        reason: str,
        slot: int,
        time_ms: int,
    ) -> Trade:
        """
        Book the sale of all or a part of a holding.

        What is left keeps its share of the entry cost, rounded down but never 0.

        Raises:
            ConfigurationError: If the account does not hold that many tokens.
        """
        held = self._holdings.get(holding.token_account)
        if held is None or not 0 < tokens <= held.tokens:
            raise ConfigurationError(
                f"cannot sell {tokens} of {holding.mint}: {holding.token_account} "
                f"holds {0 if held is None else held.tokens}"
            )
        left = held.tokens - tokens
        if left == 0:
            del self._holdings[held.token_account]
        else:
            entry = max(1, held.entry_quote_units * left // held.tokens)
            self._holdings[held.token_account] = attrs.evolve(
                held, tokens=left, entry_quote_units=entry
            )
        return self._book(
            Trade(
                side="sell",
                holding=held,
                tokens=tokens,
                quote_units=quote_units,
                balance=left,
                reason=reason,
                slot=slot,
                time_ms=time_ms,
            )
        )

    def _book(self, trade: Trade) -> Trade:
        self.trades.append(trade)
        return trade
