from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasersell.errors import ConfigurationError
from lasersell.sim.ledger import Holding, InsufficientFundsError, Ledger, Trade

_HOLDING = Holding(
    position_id=1,
    wallet="wallet",
    mint="mint",
    token_account="account",
    token_program="program",
    tokens=1000,
    entry_quote_units=500,
    slot=10,
    opened_at_ms=20,
)


def _sell(ledger: Ledger, tokens: int) -> Trade:
    return ledger.sell(
        _HOLDING, tokens, quote_units=7, reason="stop_loss", slot=11, time_ms=21
    )


def test_a_buy_is_held() -> None:
    """What was bought is the holding of its account, and the wallet's balance."""
    ledger = Ledger()
    trade = ledger.buy(_HOLDING)
    assert ledger.holding("account") == _HOLDING
    assert ledger.balance("wallet", "mint") == 1000
    assert (trade.side, trade.balance, trade.slot) == ("buy", 1000, 10)


def test_holdings_are_those_of_the_wallet_asked_for() -> None:
    """Holdings come oldest first, of one wallet or of all."""
    other = attrs.evolve(_HOLDING, wallet="other", token_account="other account")
    ledger = Ledger()
    ledger.buy(_HOLDING)
    ledger.buy(other)
    assert ledger.holdings("other") == (other,)
    assert ledger.holdings() == (_HOLDING, other)
    assert ledger.balance("other", "another mint") == 0


def test_an_account_that_holds_tokens_takes_no_second_buy() -> None:
    """A second buy of a token that is held is refused, naming the token."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    with pytest.raises(ConfigurationError, match="already holds mint"):
        ledger.buy(_HOLDING)


def test_a_sale_of_everything_empties_the_account() -> None:
    """After the sale nothing is held, and the trade says what it brought."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    trade = _sell(ledger, 1000)
    assert ledger.holding("account") is None
    assert "account" not in ledger
    assert (trade.side, trade.holding, trade.balance) == ("sell", _HOLDING, 0)
    assert (trade.quote_units, trade.reason) == (7, "stop_loss")


def test_a_partial_sale_leaves_its_share_of_the_entry() -> None:
    """Of a quarter sold, three quarters of tokens and entry cost are left."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    assert _sell(ledger, 250).balance == 750
    left = ledger.holding("account")
    assert left == attrs.evolve(_HOLDING, tokens=750, entry_quote_units=375)


@pytest.mark.parametrize("tokens", [0, -1, 1001])
def test_nobody_sells_what_is_not_held(tokens: int) -> None:
    """A sale of nothing, or of more than is held, is refused and changes nothing."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    with pytest.raises(ConfigurationError, match="account holds 1000"):
        _sell(ledger, tokens)
    assert ledger.holdings() == (_HOLDING,)
    assert len(ledger.trades) == 1


def test_an_empty_account_sells_nothing() -> None:
    """A sale from an account that holds nothing is refused."""
    with pytest.raises(ConfigurationError, match="account holds 0"):
        _sell(Ledger(), 1)


@given(st.lists(st.integers(-5, 700), max_size=20))
def test_a_balance_is_what_was_bought_less_what_was_sold(amounts: list[int]) -> None:
    """Whatever is tried, the balance equals the booked trades and is never negative."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    for amount in amounts:
        try:
            _sell(ledger, amount)
        except ConfigurationError:
            continue
    sold = sum(trade.tokens for trade in ledger.trades if trade.side == "sell")
    assert ledger.balance("wallet", "mint") == 1000 - sold >= 0


def test_a_trade_has_a_price() -> None:
    """The price of one whole token is what the trade paid, at the token's decimals."""
    trade = Ledger().buy(attrs.evolve(_HOLDING, tokens=2_000_000, decimals=6))
    assert trade.price_quote == 250


def test_a_funded_wallet_spends_what_it_has() -> None:
    """A buy is paid and a sale received; too dear a buy is refused and changes nothing."""
    ledger = Ledger()
    ledger.fund("wallet", 600)
    ledger.buy(_HOLDING)
    assert ledger.funds("wallet") == 100
    dear = attrs.evolve(_HOLDING, token_account="other", entry_quote_units=101)
    with pytest.raises(InsufficientFundsError, match="has 100 SOL"):
        ledger.buy(dear)
    assert ledger.holdings() == (_HOLDING,)
    _sell(ledger, 1000)
    assert ledger.funds("wallet") == 107


def test_a_wallet_that_was_never_funded_pays_for_anything() -> None:
    """Its funds are unknown, before and after; another asset is another purse."""
    ledger = Ledger()
    ledger.fund("wallet", 1, "USD1")
    ledger.buy(_HOLDING)
    assert ledger.funds("wallet") is None
    assert ledger.funds("wallet", "USD1") == 1


def test_nobody_is_funded_with_less_than_nothing() -> None:
    """A negative amount is refused."""
    with pytest.raises(ConfigurationError, match="0 quote units or more"):
        Ledger().fund("wallet", -1)


def test_sales_are_found_by_wallet_and_token() -> None:
    """What was sold is asked for by who, by what, or altogether."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    sale = _sell(ledger, 10)
    assert ledger.sales() == ledger.sales("wallet") == (sale,)
    assert ledger.sales(mint="mint") == ledger.sales("wallet", "mint") == (sale,)
    assert ledger.sales("other") == ledger.sales(mint="other") == ()


def test_the_gain_of_an_opening_is_what_came_back_less_what_it_cost() -> None:
    """All sales of one opening count, and those of another do not."""
    ledger = Ledger()
    ledger.buy(_HOLDING)
    for _ in range(2):
        _sell(ledger, 500)
    assert ledger.gain(1) == 7 + 7 - 500
    ledger.buy(attrs.evolve(_HOLDING, position_id=2))
    assert ledger.gain(2) == -500


def test_a_copy_stays_as_it_is() -> None:
    """What is booked later is not in a copy made before."""
    ledger = Ledger()
    ledger.fund("wallet", 600)
    copy = ledger.copy()
    ledger.buy(_HOLDING)
    assert copy.trades == []
    assert copy.holdings() == ()
    assert copy.funds("wallet") == 600
    assert ledger.copy().holdings() == (_HOLDING,)
