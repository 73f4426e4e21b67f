from __future__ import annotations

from typing import Any

import pytest

from lasersell.protocol.client import Configure, MirrorBuyResult, UpdateWatchWallets
from lasersell.protocol.mirror import AutoBuy, MirrorConfig, WatchWallet
from lasersell.protocol.server import (
    MirrorBuyFailed,
    MirrorBuySignal,
    MirrorWalletAutoDisabled,
)
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    OTHER_WALLET,
    WALLET,
    offline,
    open_session,
    told,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import opened

WATCHED = WatchWallet(
    pubkey=OTHER_WALLET,
    auto_buy=AutoBuy(wallet_pubkey=WALLET, amount_quote_units=100_000_000),
    mirror_sell=True,
)
COPYING: dict[str, Any] = {
    "watch_wallets": [WATCHED],
    "mirror_config": MirrorConfig(cooldown_sec=30, max_consecutive_losses=3),
}
SIGNAL = MirrorBuySignal(
    session_id=1,
    watched_wallet=OTHER_WALLET,
    mint="mint",
    user_wallet=WALLET,
    amount_quote_units=100_000_000,
    input="SOL",
    unsigned_tx_b64="AA==",
    slippage_bps=2500,
)
FAILED = MirrorBuyFailed(watched_wallet=OTHER_WALLET, mint="mint", reason="no_route")
DISABLED = MirrorWalletAutoDisabled(
    watched_wallet=OTHER_WALLET, reason="consecutive_losses", loss_count=3
)


def test_whom_to_copy_is_told_with_the_configuration(sim: SimServer) -> None:
    """All eight guards are on the wire, whatever the server's defaults are (C15)."""
    with open_session(sim, configure=COPYING):
        configure = told(sim, Configure)
        assert configure.watch_wallets == (WATCHED,)
        assert configure.mirror_config == COPYING["mirror_config"]


@pytest.mark.parametrize("success", [True, False])
def test_a_signal_is_answered_with_its_outcome(sim: SimServer, success: bool) -> None:
    """Sign and submit, then say by mint whether that was done."""
    with open_session(sim, configure=COPYING) as session:
        sim.send(SIGNAL)
        event = until(session, "mirror_buy_signal")[-1]
        assert event.message == SIGNAL
        assert isinstance(event.message, MirrorBuySignal)
        assert event.handle is None
        session.mirror_buy_result(event.message.mint, success)
        assert told(sim, MirrorBuyResult) == MirrorBuyResult(
            mint="mint", success=success
        )


def test_an_outcome_reaches_the_server_after_a_disconnect(sim: SimServer) -> None:
    """The buy was submitted while the stream was away."""
    with open_session(sim, configure=COPYING) as session:
        sim.send(SIGNAL)
        until(session, "mirror_buy_signal")
        with offline(sim):
            session.mirror_buy_result("mint", True)
        assert told(sim, MirrorBuyResult) == MirrorBuyResult(mint="mint", success=True)


def test_an_outcome_expires(sim: SimServer) -> None:
    """A server that comes back much later is told nothing; the user is."""
    with open_session(sim, configure=COPYING, hold_max_age=0.01) as session:
        with offline(sim):
            session.mirror_buy_result("mint", True)
            event = session.wait_for("command_expired", timeout=PATIENCE)
        assert event.to_dict()["message"]["command"] == {
            "mint": "mint",
            "success": True,
        }
        session.wait_for("gap", timeout=PATIENCE)
        session.sender.ping().wait(PATIENCE)
        assert sim.received.of(MirrorBuyResult) == []


def test_a_copied_position_knows_whom_it_was_copied_from(sim: SimServer) -> None:
    """It is our own, and has a deadline (13.1, P49)."""
    with open_session(sim, configure=COPYING, deadline=100.0) as session:
        sim.send(opened(mirror_source=OTHER_WALLET, opened_at_ms=None))
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        assert handle.mirror_source == OTHER_WALLET
        assert not handle.watched
        assert session.deadline_remaining(handle) is not None


def test_a_failed_copy_is_reported(sim: SimServer) -> None:
    """With the server's reason; nothing is to be answered."""
    with open_session(sim, configure=COPYING) as session:
        sim.send(FAILED)
        assert until(session, "mirror_buy_failed")[-1].message == FAILED


def test_a_wallet_that_was_disabled_can_be_enabled_again(sim: SimServer) -> None:
    """By naming it again, as the documents mean with "manually"."""
    with open_session(sim, configure=COPYING) as session:
        sim.send(DISABLED)
        event = until(session, "mirror_wallet_auto_disabled")[-1]
        assert event.message == DISABLED
        session.update_watch_wallets([WATCHED])
        assert told(sim, UpdateWatchWallets) == UpdateWatchWallets(
            watch_wallets=[WATCHED]
        )


def test_the_guards_survive_a_reconnect(sim: SimServer) -> None:
    """No message but ``configure`` can set them."""
    with open_session(sim, configure=COPYING) as session:
        told(sim, Configure)
        session.update_watch_wallets([])
        sim.drop()
        again = told(sim, Configure)
        assert again.watch_wallets == ()
        assert again.mirror_config == COPYING["mirror_config"]
        until(session, "gap")
        session.update_watch_wallets([WATCHED])
        told(sim, UpdateWatchWallets)
        sim.drop()
        assert told(sim, Configure).watch_wallets == (WATCHED,)
