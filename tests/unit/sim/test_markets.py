from __future__ import annotations

from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.sim.market import Pool
from lasersell.sim.markets import Markets
from lasersell.sim.paths import ProfitPath
from tests.unit.sim.world import MINT, WALLET


def _markets(seed: int = 0, volatility_pct: float = 0.0) -> Markets:
    return Markets(seed=seed, volatility_pct=volatility_pct)


def test_a_market_is_opened_when_it_is_asked_for() -> None:
    """A token nobody spoke of trades on pump_swap in SOL, and stays the same market."""
    markets = _markets()
    market = markets[MINT]
    assert (market.market_type, market.quote, market.mint) == ("pump_swap", "SOL", MINT)
    assert markets[MINT] is market


def test_tokens_are_made_up_from_the_seed() -> None:
    """The same seed gives the same tokens one after the other, another seed others."""
    one, same, other = _markets(7), _markets(7), _markets(8)
    assert one.add().mint == same.add().mint != other.add().mint
    assert one.add().mint == same.add().mint != one.add().mint


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"mint": "no key"}, "mint"),
        ({"creator": "no key"}, "creator"),
        ({"mint": MINT}, "already"),
        ({"market_type": "bazaar"}, "choose one of"),
        ({"liquidity": 0}, "at least 1"),
    ],
)
def test_a_wrong_argument_opens_no_market(
    arguments: dict[str, Any], problem: str
) -> None:
    """What is wrong is named, and the token has no market of that kind."""
    markets = _markets()
    markets.add(MINT)
    next_mint = _markets()
    next_mint.add(MINT)
    with pytest.raises(ConfigurationError, match=problem):
        markets.add(**arguments)
    assert markets.add().mint == next_mint.add().mint


def test_liquidity_changes_and_the_price_stays() -> None:
    """A thinner pool has the same price, and takes less at once."""
    market = _markets().add(creator=WALLET)
    price, depth = market.token_price_quote, market.pool.max_tokens_within(1000)
    market.set_liquidity(market.pool.quote_reserve // 10)
    assert market.token_price_quote == price
    assert market.pool.max_tokens_within(1000) == pytest.approx(depth / 10)


def test_an_empty_pool_can_be_filled() -> None:
    """A pool whose quote side was sold out takes liquidity again."""
    market = _markets().add()
    market.pool = Pool(0, 1000)
    market.set_liquidity(500)
    assert market.pool.quote_reserve == 500


def test_a_token_graduates_to_the_market_of_its_platform() -> None:
    """The kind and the pool's account change, once; the price does not."""
    market = _markets().add(market_type="raydium_launchpad", quote="USD1")
    before, price = market.address, market.token_price_quote
    market.graduate()
    assert (market.market_type, market.graduations) == ("raydium_cpmm", 1)
    assert market.address != before
    assert market.token_price_quote == price
    assert market.context(WALLET).market_type == "raydium_cpmm"
    with pytest.raises(ConfigurationError, match="does not graduate"):
        market.graduate()


def test_only_the_markets_asked_for_move() -> None:
    """A tick moves what somebody watches; a market given a path follows that."""
    markets = _markets(volatility_pct=5.0)
    walking, scripted, resting = markets.add(), markets.add(), markets.add()
    scripted.path = ProfitPath(1000, 500, [10])
    before = resting.pool
    markets.advance([walking.mint, scripted.mint])
    assert walking.pool != before
    assert scripted.pool.proceeds(1000) == 550
    assert resting.pool == before
