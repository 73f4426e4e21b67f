from __future__ import annotations

from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError
from lasersell.exits.requests import (
    BuildBuyTxRequest,
    BuildSellTxRequest,
    history_query,
)
from lasersell.protocol.market import MarketContext, Venue
from lasersell.protocol.server import PositionOpened
from lasersell.session.positions import PositionHandle
from tests.unit.exits.trades import MINT, USD1, WALLET, ata, made_up

SELL: dict[str, Any] = {
    "mint": MINT,
    "user_pubkey": WALLET,
    "amount_tokens": 1_000,
    "slippage_bps": 100,
}
BUY: dict[str, Any] = {
    "mint": MINT,
    "user_pubkey": WALLET,
    "amount_in_total": 1_000,
    "slippage_bps": 100,
}
POOL = made_up("pool")
RECIPIENT = made_up("partner")


def position(context: MarketContext | None = None) -> PositionHandle:
    """Return a position of 700 tokens."""
    opened = PositionOpened(
        position_id=1,
        wallet_pubkey=WALLET,
        mint=MINT,
        token_account=ata(),
        tokens=700,
        entry_quote_units=5,
        slot=1,
        market_context=context,
    )
    return PositionHandle(opened, now=0.0)


def test_a_sell_request_has_the_fields_of_the_wire() -> None:
    """What is not given is not sent; what is sent has the wire's names and shapes."""
    assert BuildSellTxRequest(**SELL).to_payload() == {**SELL, "output": "SOL"}
    context = MarketContext(
        market_type="pumpswap",
        pumpswap=Venue(pool=POOL, extra={"new": 1}),
        extra={"later": 2},
        decode_notes=("pumpswap.config",),
    )
    full = BuildSellTxRequest(
        **SELL,
        output="USD1",
        mode="secure",
        market_context=context,
        send_mode="helius_sender",
        tip_lamports=5,
        partner_fee_recipient=RECIPIENT,
        partner_fee_bps=50,
    )
    assert full.to_payload() == {
        **SELL,
        "output": "USD1",
        "mode": "secure",
        "market_context": {
            "market_type": "pump_swap",
            "pumpswap": {"pool": POOL},
            "later": 2,
        },
        "send_mode": "helius_sender",
        "tip_lamports": 5,
        "partner_fee_recipient": RECIPIENT,
        "partner_fee_bps": 50,
    }


def test_a_buy_request_has_the_fields_of_the_wire() -> None:
    """The amount is sent under the name it was given under."""
    assert BuildBuyTxRequest(**BUY).to_payload() == {**BUY, "input": "SOL"}
    whole = {name: value for name, value in BUY.items() if name != "amount_in_total"}
    payload = BuildBuyTxRequest(**whole, amount=0.1, input="USD1").to_payload()
    assert payload == {**whole, "amount": 0.1, "input": "USD1"}


def test_the_market_of_a_position_is_sent_whole() -> None:
    """Fields of the market that this version does not know are passed on."""
    context = MarketContext(market_type="new_dex", extra={"new_dex": {"pool": POOL}})
    request = BuildSellTxRequest.of_position(position(context), slippage_bps=1)
    assert request.to_payload()["market_context"] == {
        "market_type": "new_dex",
        "new_dex": {"pool": POOL},
    }


def test_a_position_is_sold_on_its_market_for_its_quote() -> None:
    """All of it, for what the market pays in, unless something else is asked for."""
    context = MarketContext(
        market_type="raydium_cpmm", raydium_cpmm=Venue(pool=POOL, quote_mint=USD1)
    )
    whole = BuildSellTxRequest.of_position(position(context), slippage_bps=1)
    assert (whole.amount_tokens, whole.output) == (700, "USD1")
    assert whole.market_context is context
    part = BuildSellTxRequest.of_position(
        position(),
        slippage_bps=1,
        amount_tokens=300,
        output="USD1",
        mode="fast",
        send_mode="rpc",
        tip_lamports=9,
    )
    assert (part.amount_tokens, part.output, part.tip_lamports) == (300, "USD1", 9)
    assert BuildSellTxRequest.of_position(position(), slippage_bps=1).output == "SOL"


@pytest.mark.parametrize(
    "changes",
    [
        {"mint": "nonsense"},
        {"user_pubkey": ""},
        {"slippage_bps": -1},
        {"slippage_bps": 10_001},
        {"slippage_bps": 1.5},
        {"slippage_bps": True},
        {"mode": "slow"},
        {"send_mode": "carrier_pigeon"},
        {"tip_lamports": -1},
        {"tip_lamports": 2**64},
        {"partner_fee_recipient": "nonsense"},
        {"partner_fee_bps": 51, "partner_fee_recipient": RECIPIENT},
        {"partner_fee_lamports": 50_000_001, "partner_fee_recipient": RECIPIENT},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("kind", "base"), [(BuildSellTxRequest, SELL), (BuildBuyTxRequest, BUY)]
)
def test_a_wrong_field_is_refused_by_name(
    kind: type[Any], base: dict[str, Any], changes: dict[str, Any]
) -> None:
    """What the service would refuse is refused here, and named."""
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        kind(**{**base, **changes})


@pytest.mark.parametrize(
    "fees",
    [
        {"partner_fee_bps": 1},
        {"partner_fee_lamports": 1},
        {"partner_fee_recipient": RECIPIENT},
        {
            "partner_fee_recipient": RECIPIENT,
            "partner_fee_bps": 1,
            "partner_fee_lamports": 1,
        },
    ],
    ids=str,
)
def test_a_partner_fee_is_one_recipient_and_one_amount(fees: dict[str, Any]) -> None:
    """A fee without a recipient, a recipient without a fee, or two fees are refused."""
    with pytest.raises(ConfigurationError, match="partner_fee"):
        BuildSellTxRequest(**SELL, **fees)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_tokens": -1},
        {"amount_tokens": 2**64},
        {"output": "USDC"},
        {"market_context": {"market_type": "pump_fun"}},
    ],
    ids=str,
)
def test_a_wrong_field_of_a_sell_is_refused(changes: dict[str, Any]) -> None:
    """Amount, output and market of a sell are checked."""
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        BuildSellTxRequest(**{**SELL, **changes})


@pytest.mark.parametrize(
    "amounts",
    [
        {"amount_in_total": None},
        {"amount": 1.0},
        {"amount_in_total": 0},
        {"amount_in_total": None, "amount": 0},
        {"amount_in_total": None, "amount": float("inf")},
        {"amount_in_total": None, "amount": True},
        {"input": "USDC"},
    ],
    ids=str,
)
def test_a_buy_names_one_amount_that_makes_sense(amounts: dict[str, Any]) -> None:
    """Exactly one of the two amounts is given, and is more than nothing."""
    with pytest.raises(ConfigurationError):
        BuildBuyTxRequest(**{**BUY, **amounts})


def test_a_request_cannot_be_changed_past_its_checks() -> None:
    """A changed copy is checked like the original."""
    with pytest.raises(ConfigurationError, match="slippage_bps"):
        attrs.evolve(BuildSellTxRequest(**SELL), slippage_bps=20_000)


def test_a_look_at_the_history_is_checked() -> None:
    """The service gives two hundred trades at most, and knows only public keys."""
    assert history_query(50, 0, None, WALLET) == {
        "limit": "50",
        "offset": "0",
        "wallet": WALLET,
    }
    for arguments in [(0, 0, None), (201, 0, None), (1, -1, None), (1, 0, "nonsense")]:
        with pytest.raises(ConfigurationError):
            history_query(*arguments, None)
