from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim.chain import Chain
from lasersell.sim.clock import ManualClock
from lasersell.sim.ledger import Holding
from lasersell.sim.orders import PendingBuy, PendingExit
from tests.unit.sim.world import MINT, OTHER, WALLET


def _chain(**arguments: Any) -> Chain:
    return Chain(clock=ManualClock(1_000_000), **arguments)


def _bought(chain: Chain, **arguments: Any) -> Holding:
    return chain.buy(WALLET, **arguments).holding


def test_a_buy_costs_what_it_would_bring_back() -> None:
    """Right after a buy, selling returns the price paid, but for one unit of rounding."""
    chain = _chain()
    holding = _bought(chain, quote_units=100_000_000)
    assert holding.entry_quote_units == 100_000_000
    assert 99_999_999 <= chain.proceeds(holding) <= 100_000_000


def test_a_buy_of_a_given_size_costs_exactly_what_was_said() -> None:
    """Size and cost can both be chosen; the profit then starts at 0."""
    chain = _chain()
    holding = _bought(chain, mint=MINT, tokens=5_000_000, quote_units=77)
    assert (holding.mint, holding.tokens, holding.entry_quote_units) == (
        MINT,
        5_000_000,
        77,
    )
    assert chain.proceeds(holding) == 77


@pytest.mark.parametrize(
    ("wallet", "arguments"),
    [
        ("not a key", {}),
        (WALLET, {"mint": "not a key"}),
        (WALLET, {"quote_units": 0}),
        (WALLET, {"tokens": 0}),
    ],
)
def test_a_wrong_argument_of_a_buy_is_refused(
    wallet: str, arguments: dict[str, Any]
) -> None:
    """A buy needs public keys and amounts of at least 1."""
    chain = _chain()
    with pytest.raises(ConfigurationError):
        chain.buy(wallet, **arguments)
    assert chain.ledger.trades == []


def test_a_refused_buy_moves_no_price() -> None:
    """A buy of what is held already is refused and leaves the pool alone."""
    chain = _chain()
    _bought(chain, mint=MINT)
    pool = chain.market(MINT).pool
    with pytest.raises(ConfigurationError, match="already holds"):
        _bought(chain, mint=MINT)
    assert chain.market(MINT).pool == pool


def test_two_wallets_share_the_market_of_a_token() -> None:
    """Who buys second buys at the price the first one left, and gets less."""
    chain = _chain()
    first = chain.buy(WALLET, MINT).tokens
    assert chain.buy(OTHER, MINT).tokens < first


def test_a_sale_brings_the_proceeds_and_moves_the_price() -> None:
    """A sale lands at the realisable value, and the pool pays it."""
    chain = _chain()
    holding = _bought(chain)
    worth = chain.proceeds(holding)
    quote_reserve = chain.market(holding.mint).pool.quote_reserve
    trade = chain.sell(holding, reason="manual")
    assert trade.quote_units == worth
    assert chain.market(holding.mint).pool.quote_reserve == quote_reserve - worth
    assert not chain.holds(WALLET)


def test_what_was_sold_cannot_be_sold_again() -> None:
    """A second sale of the same holding is refused."""
    chain = _chain()
    holding = _bought(chain)
    chain.sell(holding, reason="manual")
    with pytest.raises(ConfigurationError, match="holds 0"):
        chain.sell(holding, reason="manual")


def test_no_two_trades_share_a_slot_or_a_millisecond() -> None:
    """Sold and bought again at the same instant, a position is told from the old one."""
    chain = _chain()
    first = _bought(chain, mint=MINT)
    sale = chain.sell(first, reason="manual")
    second = _bought(chain, mint=MINT)
    assert first.slot < sale.slot < second.slot
    assert first.opened_at_ms < sale.time_ms < second.opened_at_ms
    assert first.position_id != second.position_id


def test_the_slot_follows_the_clock() -> None:
    """A slot is 400 ms long, and slots never go back."""
    clock = ManualClock()
    chain = Chain(clock=clock)
    start = chain.slot
    clock.advance(4000)
    assert chain.slot == start + 10
    clock.advance(-4000)
    assert chain.slot == start + 10


def test_profit_can_be_set_and_stays() -> None:
    """A set profit is exact, and ticks do not move it."""
    chain = _chain(seed=1, volatility_pct=5.0)
    holding = _bought(chain)
    chain.set_profit(holding, -12.5)
    chain.markets.advance([holding.mint])
    assert chain.proceeds(holding) == 87_500_000


def test_only_the_tokens_asked_for_move() -> None:
    """A market nobody watches stands still."""
    chain = _chain(volatility_pct=5.0)
    watched, unwatched = _bought(chain), _bought(chain)
    pools = {mint: chain.market(mint).pool for mint in (watched.mint, unwatched.mint)}
    chain.markets.advance([watched.mint])
    assert chain.market(watched.mint).pool != pools[watched.mint]
    assert chain.market(unwatched.mint).pool == pools[unwatched.mint]


def test_the_same_seed_gives_the_same_world() -> None:
    """Tokens and price paths depend on the seed, and on nothing else."""

    def run(seed: int) -> list[Any]:
        chain = _chain(seed=seed, volatility_pct=1.0)
        holding = _bought(chain)
        chain.markets.advance([holding.mint])
        return [holding, chain.market(holding.mint).pool]

    assert run(7) == run(7)
    assert run(7)[0].mint != run(8)[0].mint


def test_any_public_key_is_registered_unless_wallets_are_named() -> None:
    """Without a list every valid key will do; with one only those on it."""
    assert _chain().is_registered(WALLET)
    assert not _chain().is_registered("not a key")
    assert not _chain(wallets=[OTHER]).is_registered(WALLET)


def test_a_wallet_can_be_registered_later() -> None:
    """A wallet is accepted once it was registered."""
    chain = _chain(wallets=[])
    chain.register(WALLET)
    assert chain.is_registered(WALLET)
    with pytest.raises(ConfigurationError):
        chain.register("not a key")


def test_a_pending_exit_lands_when_it_is_due() -> None:
    """A sale lands at its time with the reason of its signal, and only once."""
    chain = _chain()
    holding = _bought(chain)
    chain.orders.expect_exit(holding.token_account, PendingExit("stop_loss", 1_000_500))
    assert chain.land_due(1_000_499) == []
    (trade,) = chain.land_due(1_000_500)
    assert (trade.reason, trade.balance) == ("stop_loss", 0)
    assert chain.land_due(1_000_501) == []
    assert chain.orders.last_exit(holding.token_account) is None


def test_a_pending_exit_without_a_time_waits() -> None:
    """A sale that has no time never lands by itself."""
    chain = _chain()
    holding = _bought(chain)
    chain.orders.expect_exit(holding.token_account, PendingExit("stop_loss", None))
    assert chain.land_due(10**15) == []
    assert chain.orders.last_exit(holding.token_account) is not None


def test_the_first_timed_signal_decides_when_a_sale_lands() -> None:
    """A second signal for the same holding does not put its sale off."""
    chain = _chain()
    holding = _bought(chain)
    chain.orders.expect_exit(holding.token_account, PendingExit("stop_loss", 5))
    chain.orders.expect_exit(holding.token_account, PendingExit("sell_now", 9))
    (trade,) = chain.land_due(5)
    assert trade.reason == "stop_loss"


def test_a_holding_sold_otherwise_has_no_exit_pending() -> None:
    """A sale of the wallet's own ends the exit that was under way."""
    chain = _chain()
    holding = _bought(chain)
    chain.orders.expect_exit(holding.token_account, PendingExit("stop_loss", 5))
    chain.sell(holding, reason="manual")
    assert chain.land_due(5) == []


def test_a_partial_exit_lands_alone() -> None:
    """A level's sale sells its tokens and leaves the other exits under way."""
    chain = _chain()
    holding = _bought(chain, tokens=1000)
    account = holding.token_account
    chain.orders.expect_exit(account, PendingExit("target_profit", 5, 0, 250))
    chain.orders.expect_exit(account, PendingExit("stop_loss", None))
    (trade,) = chain.land_due(5)
    assert (trade.tokens, trade.balance, trade.level_index) == (250, 750, 0)
    assert chain.orders.last_exit(account) == PendingExit("stop_loss", None)


def test_a_partial_exit_sells_no_more_than_is_held() -> None:
    """What the wallet sold itself meanwhile is not sold twice."""
    chain = _chain()
    holding = _bought(chain, tokens=1000)
    chain.sell(holding, tokens=900, reason="manual")
    trade = chain.land_exit(holding, PendingExit("target_profit", None, 0, 250))
    assert (trade.tokens, trade.balance) == (100, 0)


def test_a_partial_and_a_full_exit_may_be_due_at_once() -> None:
    """The partial sale lands first, the full one sells the rest, nothing lands twice."""
    chain = _chain()
    holding = _bought(chain, tokens=1000)
    account = holding.token_account
    chain.orders.expect_exit(account, PendingExit("target_profit", 5, 0, 250))
    chain.orders.expect_exit(account, PendingExit("stop_loss", 5))
    chain.orders.expect_exit(account, PendingExit("target_profit", 5, 1, 1))
    trades = chain.land_due(5)
    assert [trade.tokens for trade in trades] == [250, 750]


def test_a_mirror_buy_lands_and_names_its_source() -> None:
    """A due buy costs what was signalled, and the holding knows whom it copies."""
    chain = _chain()
    mint = chain.markets.add(quote="USD1", market_type="raydium_cpmm").mint
    chain.orders.expect_buy(PendingBuy(WALLET, mint, 77, OTHER, True, 5))
    (trade,) = chain.land_due(5)
    assert trade.holding.mirror_source == OTHER
    assert (trade.quote_units, trade.holding.quote) == (77, "USD1")
    assert chain.orders.buys() == []


def test_a_mirror_buy_nobody_can_pay_comes_to_nothing() -> None:
    """A due buy that fails on the chain is forgotten, and the others land."""
    chain = _chain()
    chain.ledger.fund(WALLET, 10)
    chain.orders.expect_buy(PendingBuy(WALLET, MINT, 77, OTHER, True, 5))
    chain.orders.expect_buy(PendingBuy(OTHER, MINT, 77, WALLET, True, 5))
    (trade,) = chain.land_due(5)
    assert trade.holding.wallet == OTHER
    assert chain.orders.buys() == []


@pytest.mark.parametrize("seed", range(40))
def test_no_balance_is_ever_negative(seed: int) -> None:
    """Whatever is tried in whatever order, tokens and funds stay above nothing."""
    rng = random.Random(seed)
    chain = _chain(seed=seed, volatility_pct=10.0)
    mints = [chain.markets.add().mint for _ in range(3)]
    for wallet in (WALLET, OTHER):
        chain.ledger.fund(wallet, 10**9)

    def trade() -> None:
        wallet, mint = rng.choice((WALLET, OTHER)), rng.choice(mints)
        held = [h for h in chain.ledger.holdings(wallet) if h.mint == mint]
        if not held:
            chain.buy(wallet, mint, quote_units=rng.randint(1, 10**9))
        elif rng.random() < 0.3:
            tokens = rng.choice([None, rng.randint(0, held[0].tokens)])
            due_ms = rng.choice([None, chain.now_ms()])
            level = rng.choice([None, 0, 1])
            chain.orders.expect_exit(
                held[0].token_account, PendingExit("x", due_ms, level, tokens)
            )
        else:
            chain.sell(held[0], tokens=rng.randint(-5, held[0].tokens * 2), reason="x")

    for _ in range(200):
        with contextlib.suppress(ConfigurationError):
            trade()
        chain.markets.advance(mints)
        with contextlib.suppress(ConfigurationError):
            chain.land_due(chain.now_ms())
        assert all(h.tokens > 0 for h in chain.ledger.holdings())
        for wallet in (WALLET, OTHER):
            funds = chain.ledger.funds(wallet)
            spent = sum(
                -t.quote_units if t.side == "buy" else t.quote_units
                for t in chain.ledger.trades
                if t.holding.wallet == wallet
            )
            assert funds is not None
            assert funds >= 0
            assert funds == 10**9 + spent
