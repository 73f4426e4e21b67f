from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasersell.sim.market import Pool, liquidity_trend

_POOL = Pool(quote_reserve=1_000_000, token_reserve=4_000_000)
_RESERVES = st.integers(min_value=10**6, max_value=10**16)
_POOLS = st.builds(Pool, _RESERVES, _RESERVES)
_AMOUNTS = st.integers(min_value=1, max_value=10**13)


def test_price_is_the_quotient_of_the_reserves() -> None:
    """A token is worth the quote reserve over the token reserve."""
    assert _POOL.price_of(1000) == 250


def test_proceeds_are_less_than_the_price_by_slippage() -> None:
    """Selling a quarter of the reserve brings a fifth of the quote, not a quarter."""
    assert _POOL.proceeds(1_000_000) == 200_000


def test_a_buy_takes_its_tokens_out_of_the_pool() -> None:
    """After a buy the pool holds what was paid more, and what was bought less."""
    assert _POOL.tokens_for(1_000_000) == 2_000_000
    assert _POOL.after_buy(1_000_000) == Pool(2_000_000, 2_000_000)


def test_a_sale_takes_its_proceeds_out_of_the_pool() -> None:
    """After a sale the pool holds the tokens more, and the proceeds less."""
    assert _POOL.after_sell(1_000_000) == Pool(800_000, 5_000_000)


@given(pool=_POOLS, quote_units=_AMOUNTS)
def test_buying_and_selling_at_once_gains_nothing(pool: Pool, quote_units: int) -> None:
    """What a buy gave never sells for more than it cost."""
    tokens = pool.tokens_for(quote_units)
    assert pool.after_buy(quote_units).proceeds(tokens) <= quote_units


@given(pool=_POOLS, tokens=_AMOUNTS, proceeds=_AMOUNTS | st.just(0))
def test_a_pool_can_be_made_to_pay_any_amount_exactly(
    pool: Pool, tokens: int, proceeds: int
) -> None:
    """The pool made to pay p for n tokens pays exactly p for them."""
    assert pool.paying(tokens, proceeds).proceeds(tokens) == proceeds


def test_paying_keeps_the_product_of_the_reserves() -> None:
    """Making a pool pay something else is a price move, not new liquidity."""
    pool = Pool(85_000_000_000, 200_000_000_000_000)
    moved = pool.paying(10**11, 10**9)
    before = pool.quote_reserve * pool.token_reserve
    assert moved.quote_reserve * moved.token_reserve == pytest.approx(before, rel=1e-9)


def test_scaling_multiplies_the_price() -> None:
    """A pool scaled by 4 has four times the price, from twice the quote reserve."""
    assert _POOL.scaled(4) == Pool(2_000_000, 2_000_000)


@given(pool=_POOLS, bps=st.sampled_from([100, 200, 500, 1000]))
def test_a_band_is_the_most_that_stays_within_its_slippage(
    pool: Pool, bps: int
) -> None:
    """Selling a band's maximum loses no more than its slippage; one more loses more."""
    tokens = pool.max_tokens_within(bps)
    reserve = pool.token_reserve
    assert tokens * 10_000 <= bps * (reserve + tokens)
    assert (tokens + 1) * 10_000 > bps * (reserve + tokens + 1)


@pytest.mark.parametrize(
    ("quote_reserve", "trend"),
    [(1_002_000, "growing"), (1_001_000, "stable"), (998_000, "draining")],
)
def test_the_trend_follows_the_quote_reserve(quote_reserve: int, trend: str) -> None:
    """More than a thousandth more is growing, less is draining, else stable."""
    now = Pool(quote_reserve, _POOL.token_reserve)
    assert liquidity_trend(_POOL, now) == trend
