"""
A server in memory: who holds what, and what one connection has been told.

It says the truth about holdings, in as many ways as the documents leave open, and
answers commands. What it is told it only notes.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    Configure,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
)
from lasersell.protocol.server import PositionClosed, PositionOpened
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.reader import Message
from tests.clock import FakeClock
from tests.unit.session.frames import balance, closed, exit_signal, opened

__all__ = ["ACCOUNTS", "Facts", "Holding", "Server"]

Facts = Literal["all", "time", "slot", "cost"]
"""What a server repeats of an opening when it names a position again."""


@attrs.frozen
class Account:
    """A token account, and whose it is."""

    name: str
    wallet: str
    watched: bool = False


_FAKE_SLOT = 10**12
FIRST = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
SECOND = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"
WATCHED = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"

ACCOUNTS = (
    Account("A", FIRST),
    Account("B", FIRST),
    Account("C", SECOND),
    Account("W", WATCHED, watched=True),
)


@attrs.define(eq=False)
class Holding:
    """What an account holds, from one buy on."""

    account: Account
    number: int
    tokens: int
    entry: int
    slot: int
    opened_at_ms: int
    tells_all: bool
    """Whether its time and slot are told whatever the connection repeats."""


class Server:
    """
    The chain, and the present connection.

    Attributes:
        holdings: By account name.
        named: What the connection has named and still tracks, by account name.
        ids: By account name, of what the connection has named.
        by_id: Every holding that the connection ever named.
        is_mute: Whether requests for an exit are passed over.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.holdings: dict[str, Holding] = {}
        self.is_mute = False
        self.strategy: StrategyConfig | None = None
        self.wallets: tuple[str, ...] = ()
        self.named: dict[str, Holding] = {}
        self.ids: dict[str, int] = {}
        self.by_id: dict[int, Holding] = {}
        self.overrides: dict[str, StrategyConfig] = {}
        self._clock = clock
        self._other_slots: dict[Holding, int] = {}
        self._buys = 0
        self._facts: Facts = "all"
        self._renews_ids = False
        self._is_reversed = False
        self._withheld: frozenset[str] = frozenset()

    # The chain

    def buy(self, account: Account, *, entry: int, tells_all: bool) -> None:
        """Let an account hold something new."""
        self._buys += 1
        self.holdings[account.name] = Holding(
            account=account,
            number=self._buys,
            tokens=100,
            entry=entry,
            slot=self._slot(),
            opened_at_ms=self._clock.wall_ms(),
            tells_all=tells_all,
        )

    def sell(self, name: str) -> Holding:
        """Let an account hold nothing."""
        return self.holdings.pop(name)

    def _slot(self) -> int:
        return 1_000_000 + self._clock.wall_ms() % 1_000_000_000

    # The connection

    def prepare(
        self,
        *,
        facts: Facts,
        renews_ids: bool,
        is_reversed: bool,
        withheld: frozenset[str],
    ) -> None:
        """
        Say how the next connection behaves.

        Args:
            facts: What it repeats of an opening.
            renews_ids: Whether it counts its positions from 1.
            is_reversed: Whether it names the newest holding first.
            withheld: What it does not name by itself.
        """
        self._facts, self._renews_ids = facts, renews_ids
        self._is_reversed, self._withheld = is_reversed, withheld

    def hang_up(self) -> None:
        """Forget what the connection was told, as the real one does."""
        self.strategy, self.wallets = None, ()
        self.named, self.ids, self.by_id, self.overrides = {}, {}, {}, {}
        self._other_slots.clear()

    def answer(self, message: ClientMessage) -> list[Message]:
        """Take note of a command and return what is said about it."""
        if isinstance(message, Configure):
            return self._begin(message)
        if isinstance(message, UpdateStrategy):
            self.strategy = message.strategy
        elif isinstance(message, UpdateWallets):
            return self._change_wallets(message.wallet_pubkeys)
        elif isinstance(message, UpdatePositionStrategy):
            name = self._name_of(message.position_id)
            if name is not None:
                self.overrides[name] = message.strategy
        elif isinstance(message, ClosePosition):
            name = message.token_account or self._name_of(message.position_id)
            if name in self.named:
                return [self.stop_tracking(name)]
        elif isinstance(message, RequestExitSignal):
            name = message.token_account
            if name in self.named and not self.is_mute:
                return [self.exit(name)]
        return []

    def _begin(self, message: Configure) -> list[Message]:
        self.strategy, self.wallets = message.strategy, message.wallet_pubkeys
        names = [
            name
            for name, holding in self.holdings.items()
            if name not in self._withheld and self.is_wanted(holding.account)
        ]
        return self.name(*(reversed(names) if self._is_reversed else names))

    def _change_wallets(self, wallets: tuple[str, ...]) -> list[Message]:
        self.wallets = wallets
        gone = [n for n, h in self.named.items() if not self.is_wanted(h.account)]
        said: list[Message] = [self.stop_tracking(name) for name in gone]
        new = [
            name
            for name, holding in self.holdings.items()
            if self.is_wanted(holding.account) and name not in self.ids
        ]
        return said + self.name(*new)

    def is_wanted(self, account: Account) -> bool:
        """Tell whether the client wants to hear of an account."""
        return account.watched or account.wallet in self.wallets

    def _name_of(self, position_id: int | None) -> str | None:
        return next((n for n, known in self.ids.items() if known == position_id), None)

    # What is said

    def name(self, *names: str) -> list[Message]:
        """Track what accounts hold, and tell of it."""
        said: list[Message] = []
        for name in names:
            holding = self.holdings[name]
            number = len(self.by_id) + 1 if self._renews_ids else holding.number
            self.ids[name] = number
            self.by_id[number] = holding
            self.named[name] = holding
            said += [self.balance(holding), self._opened(holding, number)]
        return said

    def _opened(self, holding: Holding, number: int) -> PositionOpened:
        facts = "all" if holding.tells_all else self._facts
        account = holding.account
        changes: dict[str, Any] = {
            "wallet_pubkey": account.wallet,
            "watched": account.watched,
            "tokens": holding.tokens,
            "entry_quote_units": holding.entry,
            "slot": holding.slot
            if facts in ("all", "slot")
            # Not that of the chain, but the same for as long as the connection lives.
            else self._other_slots.setdefault(holding, _FAKE_SLOT + self._slot()),
            "opened_at_ms": holding.opened_at_ms if facts in ("all", "time") else None,
        }
        return opened(number, account.name, **changes)

    def grow(self, name: str, *, entry: int) -> Message:
        """Add to a holding, and name it again by the id that it has."""
        holding = self.holdings[name]
        holding.tokens += 50
        holding.entry, holding.slot = entry, self._slot()
        holding.opened_at_ms = self._clock.wall_ms()
        return self._opened(holding, self.ids[name])

    def balance(self, holding: Holding, tokens: int | None = None) -> Message:
        """Tell what an account holds now."""
        return balance(
            holding.tokens if tokens is None else tokens,
            holding.account.name,
            wallet_pubkey=holding.account.wallet,
        )

    def stop_tracking(self, name: str) -> PositionClosed:
        """Tell that a position is no longer tracked."""
        holding = self.named.pop(name)
        self.overrides.pop(name, None)
        return self.closed(holding, self.ids.pop(name))

    def closed(self, holding: Holding, position_id: int) -> PositionClosed:
        """Tell of the end of a position."""
        name = holding.account.name
        return closed(position_id, name, wallet_pubkey=holding.account.wallet)

    def exit(self, name: str, level: int | None = None) -> Message:
        """Tell that a strategy triggered, or answer a request."""
        holding = self.named[name]
        return exit_signal(
            self.ids[name],
            name,
            wallet_pubkey=holding.account.wallet,
            position_tokens=100,
            level_index=level,
            sell_tokens=None if level is None else 10,
        )
