from __future__ import annotations

from typing import Any

import pytest

from lasersell.protocol.client import (
    ClosePosition,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay.intent import (
    BASE,
    StoredIntent,
    digest_of,
    fields_of,
    of_account,
    of_exit,
)
from lasersell.stream.options import StreamConfigure
from tests.unit.session.frames import OTHER_WALLET, WALLET

FIRST = StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0))
MINE = StrategyConfig(target_profit_pct=42.0)


def _stored(*commands: tuple[Any, str | None, float | None]) -> dict[str, bytes]:
    """Return what Redis has after these commands."""
    fields = {BASE: digest_of(FIRST).encode()}
    for message, account, deadline in commands:
        fields.update(fields_of(message, account, deadline))
    return fields


def test_what_was_asked_for_is_configured_next_time() -> None:
    """Strategy, deadline, wallets and watched wallets."""
    watched = WatchWallet(pubkey=OTHER_WALLET)
    intent = StoredIntent(
        _stored(
            (UpdateStrategy(strategy=MINE), None, 30.5),
            (UpdateWallets(wallet_pubkeys=(OTHER_WALLET,)), None, None),
            (UpdateWatchWallets(watch_wallets=(watched,)), None, None),
        ),
        FIRST,
    )
    assert intent.configure == StreamConfigure(
        [OTHER_WALLET], MINE, deadline_timeout_sec=30.5, watch_wallets=(watched,)
    )
    assert intent.stale == []


def test_what_was_asked_of_a_position_is_known_by_its_account() -> None:
    """Its own strategy, its exit, and that it is not tracked."""
    intent = StoredIntent(
        _stored(
            (UpdatePositionStrategy(position_id=0, strategy=MINE), "A", None),
            (RequestExitSignal(token_account="B", slippage_bps=7), "B", None),
            (ClosePosition(token_account="C"), "C", None),
        ),
        FIRST,
    )
    assert intent.strategy_of("A") == MINE
    asked = intent.exit_of("B")
    assert asked is not None
    assert asked.slippage_bps == 7
    assert intent.is_untracked("C")
    assert (intent.strategy_of("B"), intent.exit_of("A")) == (None, None)
    assert not intent.is_untracked("A")
    assert intent.configure == FIRST


def test_what_belongs_to_another_configuration_is_forgotten() -> None:
    """A new strategy in the file is not overruled by an old command."""
    other = StreamConfigure([WALLET], StrategyConfig(target_profit_pct=6.0))
    stored = _stored((UpdateStrategy(strategy=MINE), None, None))
    intent = StoredIntent(stored, other)
    assert intent.configure == other
    assert sorted(intent.stale) == sorted(stored)


@pytest.mark.parametrize("change", ["deadline_timeout_sec", "tip_lamports"])
def test_every_part_of_a_configuration_counts(change: str) -> None:
    """Also what is not on the wire."""
    other = StreamConfigure([WALLET], FIRST.strategy, **{change: 9})  # type: ignore[arg-type]
    assert digest_of(other) != digest_of(FIRST)


def test_what_cannot_be_read_is_forgotten() -> None:
    """Another version may have written it."""
    fields = {**_stored(), UpdateStrategy.type: b"nonsense"}
    intent = StoredIntent(fields, FIRST)
    assert intent.configure == FIRST
    assert intent.stale == [UpdateStrategy.type]


def test_a_word_to_the_server_alone_is_not_kept() -> None:
    """Nobody needs to hear again that a buy was submitted."""
    assert fields_of(MirrorBuyResult(mint="M", success=True), None, None) == {}


def test_a_position_that_is_over_leaves_nothing() -> None:
    """Every field that it can have is among those that are forgotten."""
    stored = _stored(
        (UpdatePositionStrategy(position_id=0, strategy=MINE), "A", None),
        (RequestExitSignal(token_account="A"), "A", None),
        (ClosePosition(token_account="A"), "A", None),
    )
    assert set(stored) - {BASE} == set(of_account("A"))
    assert of_exit("A") in of_account("A")
