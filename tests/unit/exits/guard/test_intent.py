from __future__ import annotations

import pytest

from lasersell.errors import ConfigurationError, GuardRefusedError
from lasersell.exits.guard.intent import Intent
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.protocol.mirror import AutoBuy
from lasersell.protocol.server import MirrorBuySignal, PositionOpened
from lasersell.session.positions import PositionHandle
from tests.unit.exits.trades import (
    MINT,
    OTHER_MINT,
    THIEF,
    USD1,
    WALLET,
    WSOL,
    ata,
    exit_signal,
)


def position(tokens: int = 700, mint: str = MINT) -> PositionHandle:
    """Return a position of ours."""
    opened = PositionOpened(
        position_id=1,
        wallet_pubkey=WALLET,
        mint=mint,
        token_account=ata(mint=mint),
        tokens=tokens,
        entry_quote_units=5,
        slot=1,
    )
    return PositionHandle(opened, now=0.0)


def mirror(
    amount: int = 100, asset: str = "SOL", wallet: str = WALLET
) -> MirrorBuySignal:
    """Return a mirror buy signal."""
    return MirrorBuySignal(
        session_id=1,
        watched_wallet=THIEF,
        mint=MINT,
        user_wallet=wallet,
        amount_quote_units=amount,
        input=asset,
        unsigned_tx_b64="",
        slippage_bps=100,
    )


@pytest.mark.parametrize(
    ("position_tokens", "sell_tokens", "limit"),
    [(1000, None, 1000), (1000, 300, 300), (300, 1000, 300), (None, 300, 300)],
)
def test_an_exit_may_spend_what_the_signal_says(
    position_tokens: int | None, sell_tokens: int | None, limit: int
) -> None:
    """The part to sell bounds the sale, else the position; never more than the latter."""
    signal = exit_signal("", position_tokens=position_tokens, sell_tokens=sell_tokens)
    intent = Intent.of_exit(signal, position(tokens=5))
    assert (intent.limit, intent.is_sale, intent.wallet) == (limit, True, WALLET)
    assert intent.quote_mints is None


def test_an_exit_without_amounts_falls_back_on_the_position() -> None:
    """A signal whose amounts came malformed sells what the position holds, if known."""
    signal = exit_signal("", position_tokens=None)
    assert Intent.of_exit(signal, position(tokens=700)).limit == 700
    assert Intent.of_exit(signal).limit is None


def test_the_position_must_be_that_of_the_signal() -> None:
    """The handle of another position is a mistake of the caller, and named."""
    with pytest.raises(ConfigurationError, match=OTHER_MINT):
        Intent.of_exit(exit_signal(""), position(mint=OTHER_MINT))


def test_a_mirror_buy_is_bounded_by_signal_and_own_setting() -> None:
    """The signal's amount counts, and never more than what we configured."""
    own = AutoBuy(wallet_pubkey=WALLET, amount_quote_units=80, amount_usd1_units=9)
    assert Intent.of_mirror_buy(mirror(100)).limit == 100
    assert Intent.of_mirror_buy(mirror(100), own).limit == 80
    assert Intent.of_mirror_buy(mirror(60), own).limit == 60
    assert Intent.of_mirror_buy(mirror(100, "USD1"), own).limit == 9
    without = AutoBuy(wallet_pubkey=WALLET, amount_quote_units=80)
    assert Intent.of_mirror_buy(mirror(100, "USD1"), without).limit == 0


def test_a_mirror_buy_is_paid_in_the_asset_it_names() -> None:
    """SOL or USD1, and an asset that is not known is none."""
    assert Intent.of_mirror_buy(mirror()).quote_mints == (WSOL,)
    assert Intent.of_mirror_buy(mirror(asset="USD1")).quote_mints == (USD1,)
    assert Intent.of_mirror_buy(mirror(asset="GOLD")).quote_mints == ()


def test_a_mirror_buy_for_another_wallet_is_refused() -> None:
    """The wallet that was configured pays, and no other one of ours."""
    own = AutoBuy(wallet_pubkey=THIEF, amount_quote_units=80)
    with pytest.raises(GuardRefusedError) as caught:
        Intent.of_mirror_buy(mirror(), own)
    assert caught.value.reason == "not_our_wallet"


def test_a_requested_sale_may_spend_what_was_requested() -> None:
    """The answer of the API is held against the request; 0 is the whole position."""

    def request(amount: int) -> BuildSellTxRequest:
        return BuildSellTxRequest(
            mint=MINT,
            user_pubkey=WALLET,
            amount_tokens=amount,
            output="USD1",
            slippage_bps=100,
        )

    intent = Intent.of_sell(request(300))
    assert (intent.limit, intent.quote_mints) == (300, (USD1,))
    assert Intent.of_sell(request(0), position(tokens=700)).limit == 700
    assert Intent.of_sell(request(0)).limit is None
    with pytest.raises(ConfigurationError, match=OTHER_MINT):
        Intent.of_sell(request(300), position(mint=OTHER_MINT))


@pytest.mark.parametrize(
    ("amounts", "asset", "limit", "mint"),
    [
        ({"amount_in_total": 123}, "SOL", 123, WSOL),
        ({"amount": 0.1}, "SOL", 100_000_000, WSOL),
        ({"amount": 0.29}, "USD1", 290_000, USD1),
        ({"amount": 3}, "SOL", 3_000_000_000, WSOL),
    ],
)
def test_a_requested_buy_may_spend_what_was_requested(
    amounts: dict[str, float], asset: str, limit: int, mint: str
) -> None:
    """Whole units are turned into atomic ones without a rounding error."""
    request = BuildBuyTxRequest(
        mint=MINT,
        user_pubkey=WALLET,
        slippage_bps=1,
        input=asset,  # type: ignore[arg-type]
        **amounts,  # type: ignore[arg-type]
    )
    intent = Intent.of_buy(request)
    assert (intent.limit, intent.quote_mints, intent.is_sale) == (limit, (mint,), False)
