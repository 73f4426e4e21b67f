"""
Who holds what on the simulated chain, and every trade that led there.

The ledger only books; prices are the market's and time is the chain's affair.
"""

from __future__ import annotations

from typing import Literal

import attrs

from lasersell.errors import ConfigurationError

__all__ = ["Holding", "InsufficientFundsError", "Ledger", "Quote", "Trade"]

Quote = Literal["SOL", "USD1"]
"""The asset a market trades against."""


class InsufficientFundsError(ConfigurationError):
    """A funded wallet cannot pay for a buy."""


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
        quote: What it was paid in.
        decimals: Decimal places of the token.
        mirror_source: The watched wallet it was copied from; None if from none.
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
    quote: Quote = "SOL"
    decimals: int = 6
    mirror_source: str | None = None


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
        level_index: The ladder level whose exit it was; None if of none.
        signature: The transaction that was submitted for it; None if none was.
    """

    side: Literal["buy", "sell"]
    holding: Holding
    tokens: int
    quote_units: int
    balance: int
    reason: str
    slot: int
    time_ms: int
    level_index: int | None = None
    signature: str | None = None

    @property
    def price_quote(self) -> int:
        """The price of one whole token in this trade, in quote units, rounded down."""
        return self.quote_units * int(10**self.holding.decimals) // self.tokens


class Ledger:
    """
    The balances of all wallets, by token account, and their history.

    A wallet's quote asset is booked from the first :meth:`fund` on; a wallet that
    was never funded can pay for anything.

    Attributes:
        trades: Everything that landed, oldest first.
    """

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self._holdings: dict[str, Holding] = {}
        self._funds: dict[tuple[str, Quote], int] = {}

    def __contains__(self, token_account: str) -> bool:
        return token_account in self._holdings

    def copy(self) -> Ledger:
        """Return a ledger that says the same and does not change with this one."""
        copied = Ledger()
        copied.trades = list(self.trades)
        copied._holdings = dict(self._holdings)
        copied._funds = dict(self._funds)
        return copied

    # --- looking --------------------------------------------------------------

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

    def funds(self, wallet: str, quote: Quote = "SOL") -> int | None:
        """Return a wallet's quote units; None if it was never funded."""
        return self._funds.get((wallet, quote))

    def sales(
        self, wallet: str | None = None, mint: str | None = None
    ) -> tuple[Trade, ...]:
        """Return the sales that landed, oldest first; None asks for any."""
        return tuple(
            trade
            for trade in self.trades
            if trade.side == "sell"
            and wallet in (None, trade.holding.wallet)
            and mint in (None, trade.holding.mint)
        )

    def gain(self, position_id: int) -> int:
        """
        Return what an opening brought so far less what it cost, in quote units.

        Args:
            position_id: The number of the opening, as in its :class:`Holding`.
        """
        return sum(
            trade.quote_units if trade.side == "sell" else -trade.quote_units
            for trade in self.trades
            if trade.holding.position_id == position_id
        )

    # --- booking --------------------------------------------------------------

    def fund(self, wallet: str, quote_units: int, quote: Quote = "SOL") -> None:
        """
        Add quote units to a wallet, which from now on can spend no more than it has.

        Raises:
            ConfigurationError: If the amount is negative.
        """
        if quote_units < 0:
            raise ConfigurationError("a wallet is funded with 0 quote units or more")
        self._funds[wallet, quote] = (self.funds(wallet, quote) or 0) + quote_units

    def buy(self, holding: Holding, signature: str | None = None) -> Trade:
        """
        Book a buy into an empty token account.

        Raises:
            InsufficientFundsError: If the wallet was funded, with less than it costs.
            ConfigurationError: If the account holds tokens already.
        """
        if holding.token_account in self._holdings:
            raise ConfigurationError(
                f"wallet {holding.wallet} already holds {holding.mint}; sell that "
                "first or buy another mint: a position is opened by one buy"
            )
        self._pay(holding)
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
                signature=signature,
            )
        )

    def _pay(self, holding: Holding) -> None:
        funds = self.funds(holding.wallet, holding.quote)
        if funds is None:
            return
        if funds < holding.entry_quote_units:
            raise InsufficientFundsError(
                f"wallet {holding.wallet} has {funds} {holding.quote} quote units and "
                f"cannot pay {holding.entry_quote_units}; fund it"
            )
        self._funds[holding.wallet, holding.quote] = funds - holding.entry_quote_units

    def sell(
        self,
        holding: Holding,
        tokens: int,
        *,
        quote_units: int,
        reason: str,
        slot: int,
        time_ms: int,
        level_index: int | None = None,
        signature: str | None = None,
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
        if (held.wallet, held.quote) in self._funds:
            self.fund(held.wallet, quote_units, held.quote)
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
                level_index=level_index,
                signature=signature,
            )
        )

    def _book(self, trade: Trade) -> Trade:
        self.trades.append(trade)
        return trade
