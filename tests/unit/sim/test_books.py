"""
Books kept a second time, from nothing but the frames a client gets.

A session lives a random life: buys, sales by hand and by signal, copies of a watched
wallet, changes of strategy, reconnects. Frames are read as JSON.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    MirrorBuyResult,
    RequestExitSignal,
    UpdateStrategy,
)
from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.mirror import AutoBuy, WatchWallet
from lasersell.protocol.server import ServerMessage
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from tests.unit.sim.seeds import on_seeds
from tests.unit.sim.world import OTHER, WALLET, World

_STEPS = 60
_FUNDS = 3 * 10**9


@attrs.define
class Entry:
    """What a client knows of one position."""

    account: str
    held: int
    cost: int


@attrs.define
class Books:
    """The positions of a client, by id."""

    open: dict[int, Entry] = attrs.field(factory=dict)
    profits: int = 0

    def read(self, messages: list[ServerMessage]) -> None:
        """Take note of what one call or tick brought, and check that it agrees."""
        signalled: dict[int, int] = {}
        for message in messages:
            frame = json.loads(encode_server_message(message))
            if frame["type"] == "exit_signal_with_tx":
                signalled[frame["position_id"]] = frame["profit_units"]
            elif frame["type"] == "pnl_update":
                self._check(frame)
                expected = signalled.pop(frame["position_id"], frame["profit_units"])
                assert frame["profit_units"] == expected
            else:
                self._book(frame)

    def _book(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "position_opened":
            self.open[frame["position_id"]] = Entry(
                frame["token_account"], frame["tokens"], frame["entry_quote_units"]
            )
        elif frame["type"] == "position_closed":
            del self.open[frame["position_id"]]
        elif frame["type"] == "balance_update":
            self._sell_down(frame["token_account"], frame["tokens"])

    def _sell_down(self, account: str, tokens: int) -> None:
        assert tokens >= 0
        for entry in self.open.values():
            if entry.account == account and 0 < tokens < entry.held:
                entry.cost = max(1, entry.cost * tokens // entry.held)
                entry.held = tokens

    def _check(self, frame: dict[str, Any]) -> None:
        assert frame["proceeds_units"] >= 0
        cost = self.open[frame["position_id"]].cost
        assert frame["profit_units"] == frame["proceeds_units"] - cost
        self.profits += 1


class Life:
    """One session, and all that may happen to it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.books = Books()
        self.world = World(
            seed=seed,
            volatility_pct=8.0,
            auto_sell_after_ms=self.rng.choice([None, 0, 300]),
            auto_buy_after_ms=0,
            refresh_after_ms=self.rng.choice([None, 200]),
            position_ids=self.rng.choice(["kept", "renewed"]),
            exit_state=self.rng.choice(["forgotten", "kept"]),
            trade_ticks=True,
        )
        for wallet in (WALLET, OTHER):
            self.world.chain.ledger.fund(wallet, _FUNDS)
        self._configure()

    def step(self) -> None:
        """Let one thing happen, and a tick pass."""
        act: Callable[[], None] = self.rng.choice(
            [
                self._buy,
                self._buy,
                self._sell,
                self._land,
                self._ask,
                self._stop_tracking,
                self._change_strategy,
                self._reconnect,
            ]
        )
        with contextlib.suppress(ConfigurationError):
            act()
        self.books.read(self.world.tick())

    def _configure(self) -> None:
        auto_buy = AutoBuy(wallet_pubkey=WALLET, amount_quote_units=10**8)
        configure = Configure(
            wallet_pubkeys=[WALLET],
            strategy=self._strategy(),
            watch_wallets=[WatchWallet(pubkey=OTHER, auto_buy=auto_buy)],
        )
        self.books.read(self.world.session.receive(configure))

    def _strategy(self) -> StrategyConfig:
        levels = tuple(
            TakeProfitLevel(profit_pct=profit, sell_pct=self.rng.randint(1, 100))
            for profit in (3, 6, 9)
        )
        return StrategyConfig(
            stop_loss_pct=self.rng.choice([0, 10]),
            trailing_stop_pct=self.rng.choice([0, 5]),
            take_profit_levels=self.rng.choice([(), levels]),
        )

    def _buy(self) -> None:
        wallet = self.rng.choice([WALLET, WALLET, OTHER])
        cost = self.rng.choice([1, 3, self.rng.randint(1, 10**9)])
        trade = self.world.chain.buy(wallet, quote_units=cost)
        messages = self.world.session.see_trade(trade)
        self.books.read(messages)
        if any(message.type == "mirror_buy_signal" for message in messages):
            result = MirrorBuyResult(mint=trade.holding.mint, success=True)
            self.books.read(self.world.session.receive(result))

    def _sell(self) -> None:
        holding = self.rng.choice(self.world.chain.ledger.holdings() or [None])
        if holding is None:
            return
        # Of watched wallets no balance is told, so they sell all or nothing.
        part = None
        if holding.wallet == WALLET:
            part = self.rng.choice([None, self.rng.randint(1, holding.tokens)])
        trade = self.world.chain.sell(holding, tokens=part, reason="manual")
        self.books.read(self.world.session.see_trade(trade))

    def _land(self) -> None:
        for holding in self.world.chain.ledger.holdings(WALLET):
            pending = self.world.chain.orders.last_exit(holding.token_account)
            if pending is not None:
                trade = self.world.chain.land_exit(holding, pending)
                self.books.read(self.world.session.see_trade(trade))
                return

    def _ask(self) -> None:
        for position_id in list(self.books.open)[:1]:
            request = RequestExitSignal(position_id=position_id)
            self.books.read(self.world.session.receive(request))

    def _stop_tracking(self) -> None:
        for position_id in list(self.books.open)[:1]:
            close = ClosePosition(position_id=position_id)
            self.books.read(self.world.session.receive(close))

    def _change_strategy(self) -> None:
        update = UpdateStrategy(strategy=self._strategy())
        self.books.read(self.world.session.receive(update))

    def _reconnect(self) -> None:
        self.world.reconnect()
        self.books.open.clear()
        self._configure()


@on_seeds(12, 100)
def test_profit_is_proceeds_less_entry_on_every_frame(seeds: range) -> None:
    """Whatever was sold, in parts, by hand or by signal, the identity holds."""
    profits = 0
    for seed in seeds:
        life = Life(seed)
        for _ in range(_STEPS):
            life.step()
        profits += life.books.profits
    assert profits > 40 * len(seeds)


@on_seeds(12, 100)
def test_no_balance_of_a_life_is_ever_negative(seeds: range) -> None:
    """Tokens and funds stay above nothing, and are what the trades say."""
    for seed in seeds:
        life = Life(seed)
        ledger = life.world.chain.ledger
        for _ in range(_STEPS):
            life.step()
            assert all(holding.tokens > 0 for holding in ledger.holdings())
            for wallet in (WALLET, OTHER):
                funds = ledger.funds(wallet)
                assert funds is not None
                assert funds >= 0
        for wallet in (WALLET, OTHER):
            moved = sum(
                trade.quote_units if trade.side == "sell" else -trade.quote_units
                for trade in ledger.trades
                if trade.holding.wallet == wallet
            )
            assert ledger.funds(wallet) == _FUNDS + moved
