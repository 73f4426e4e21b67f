from __future__ import annotations

import pytest

from lasersell.errors import AuthenticationError, NotConnectedError
from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    RequestExitSignal,
    UpdatePositionStrategy,
)
from lasersell.protocol.mirror import MirrorConfig, WatchWallet
from lasersell.protocol.server import PnlUpdate
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import SimServer
from lasersell.stream.lifecycle import Connected, Disconnected, Gap, PositionLost
from lasersell.stream.supervisor import _Send
from tests.complaints import complaints
from tests.integration.session.helpers import (
    OTHER_WALLET,
    STRATEGY,
    WALLET,
    offline,
    open_session,
    told,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import balance, exit_signal, opened

OWN = StrategyConfig(stop_loss_pct=7.0)


# What the server is told again


def test_the_server_is_told_what_was_asked_for_last(sim: SimServer) -> None:
    """Not what was first configured; the rest as it was (13.1, P1)."""
    configure = {
        "watch_wallets": [WatchWallet(pubkey=OTHER_WALLET)],
        "mirror_config": MirrorConfig(cooldown_sec=30),
        "send_mode": "helius_sender",
        "tip_lamports": 5000,
    }
    with open_session(sim, configure=configure) as session:
        first = told(sim, Configure)
        session.update_strategy(OWN)
        session.update_wallets([WALLET, OTHER_WALLET])
        session.update_watch_wallets([])
        sim.drop()
        again = told(sim, Configure)
        assert again.strategy == OWN
        assert again.wallet_pubkeys == (WALLET, OTHER_WALLET)
        assert again.watch_wallets == ()
        assert (
            again.mirror_config == first.mirror_config == MirrorConfig(cooldown_sec=30)
        )
        assert (again.send_mode, again.tip_lamports) == ("helius_sender", 5000)
        session.wait_for("gap", timeout=PATIENCE)
        sim.drop()
        assert told(sim, Configure) == again


@pytest.mark.parametrize("position_ids", ["kept", "renewed"])
def test_a_positions_own_strategy_is_told_again(
    sim: SimServer, position_ids: str
) -> None:
    """By the id it has now, after every reconnect (13.1, P2)."""
    sim.change_options(position_ids=position_ids)
    sim.buy(WALLET)
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        session.update_position_strategy(handle, OWN)
        told(sim, UpdatePositionStrategy)
        for _ in range(2):
            sim.drop()
            again = told(sim, UpdatePositionStrategy)
            assert until(session, "position_opened")[-1].handle is handle
            assert again == UpdatePositionStrategy(
                position_id=handle.position_id, strategy=OWN
            )


def test_an_untracked_position_stays_untracked(sim: SimServer) -> None:
    """The server names it on every connection, and is told again (13.1, P15)."""
    sim.change_options(position_ids="renewed")
    sim.buy(WALLET)
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        session.close_position(handle)
        told(sim, ClosePosition)
        session.wait_for("position_closed", handle, timeout=PATIENCE)
        for _ in range(2):
            sim.drop()
            event = session.wait_for("position_opened", timeout=PATIENCE)
            assert event.handle is handle
            assert handle.is_untracked
            told(sim, ClosePosition)
            session.wait_for("position_closed", handle, timeout=PATIENCE)
            assert session.positions() == []


def test_nothing_wished_for_the_former_position_is_told_of_its_successor(
    sim: SimServer,
) -> None:
    """Sold and bought again while the stream was away (13.1, P10)."""
    first = sim.buy(WALLET)
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        session.update_position_strategy(handle, OWN)
        told(sim, UpdatePositionStrategy)
        with offline(sim):
            session.request_exit_signal(handle)
            sim.sell(first)
            sim.buy(WALLET, first.mint)
        event = session.wait_for("command_expired", timeout=PATIENCE)
        assert event.type == "command_expired"
        session.sender.ping().wait(PATIENCE)
        assert sim.received.of(RequestExitSignal) == []
        assert len(sim.received.of(UpdatePositionStrategy)) == 1


def test_an_exit_that_was_asked_for_is_asked_for_again(sim: SimServer) -> None:
    """The connection broke before the answer came."""
    with open_session(sim) as session:
        sim.send(opened())
        until(session, "position_opened")
        session.request_exit_signal("A", slippage_bps=300)
        told(sim, RequestExitSignal)
        sim.drop()
        until(session, "gap")
        assert len(sim.received.of(RequestExitSignal)) == 1
        sim.send(opened(7))
        assert told(sim, RequestExitSignal) == RequestExitSignal(
            token_account="A", slippage_bps=300
        )


def test_nothing_meant_for_one_connection_is_written_to_the_next(
    sim: SimServer,
) -> None:
    """Ids and accounts in it may mean another position there (13.1, P10)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        stream = session._stream
        former = stream.link
        sim.drop()
        until(session, "gap")
        with pytest.raises(NotConnectedError):
            stream.write(b"{}", to=former)
        late = RequestExitSignal(token_account="A")
        stream._mailbox.put(_Send(former, (late,)))
        session.sender.ping().wait(PATIENCE)
        stream.post(RequestExitSignal(token_account="B"))
        assert told(sim, RequestExitSignal).token_account == "B"
        assert late not in sim.received.of(RequestExitSignal)


# Positions


@pytest.mark.parametrize("position_ids", ["kept", "renewed"])
def test_a_position_keeps_its_handle(sim: SimServer, position_ids: str) -> None:
    """With its history; the holding is not there twice (13.1, P3)."""
    sim.change_options(position_ids=position_ids)
    holding = sim.buy(WALLET, profits_pct=[5.0, -5.0])
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        until(session, lambda _: handle.profit_units is not None)
        peak = handle.peak_profit_units
        before = handle.position_id
        sim.drop()
        event = until(session, "position_opened")[-1]
        assert event.handle is handle
        assert event.reopened
        assert event.previous_position_id == before
        assert (handle.position_id == before) == (position_ids == "kept")
        assert session.positions() == [handle]
        assert session.position(handle.position_id) is handle
        assert handle.token_account == holding.token_account
        assert handle.peak_profit_units is not None
        assert peak is not None
        assert handle.peak_profit_units >= peak


def test_a_position_sold_in_the_gap_is_lost(sim: SimServer) -> None:
    """Once the server had its time to name it; another one stays (13.1, P4)."""
    sold, kept = sim.buy(WALLET), sim.buy(WALLET)
    with open_session(sim, resync_window=1.0) as session:
        until(session, lambda _: len(session.positions()) == 2)
        handle = session.position_by_token_account(sold.token_account)
        with offline(sim):
            sim.sell(sold)
        events = until(session, "position_lost")
        lost = events[-1].message
        assert isinstance(lost, PositionLost)
        assert (lost.token_account, lost.reason) == (
            sold.token_account,
            "not_reemitted",
        )
        assert events[-1].handle is handle
        assert handle is not None
        assert handle.status == "lost"
        assert [h.token_account for h in session.positions()] == [kept.token_account]


def test_a_position_bought_again_in_the_gap_is_another(sim: SimServer) -> None:
    """For the same amount on the same account (13.1, P3)."""
    first = sim.buy(WALLET)
    with open_session(sim) as session:
        former = until(session, "position_opened")[-1].handle
        with offline(sim):
            sim.sell(first)
            sim.buy(WALLET, first.mint)
        events = until(session, "position_opened")
        lost, new = [e for e in events if e.type.startswith("position")]
        assert isinstance(lost.message, PositionLost)
        assert lost.message.reason == "replaced"
        assert lost.handle is former
        assert new.handle is not former
        assert not new.reopened
        assert session.positions() == [new.handle]


def test_a_late_reemission_revives_a_lost_position(sim: SimServer) -> None:
    """The same handle, with what was wished for it (D4.5)."""
    with open_session(sim, resync_window=0.05) as session:
        sim.send(opened())
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        session.update_position_strategy(handle, OWN)
        told(sim, UpdatePositionStrategy)
        sim.drop()
        until(session, "position_lost")
        sim.send(opened(7))
        event = until(session, "position_opened")[-1]
        assert event.handle is handle
        assert event.reopened
        assert handle.is_open
        assert told(sim, UpdatePositionStrategy).position_id == 7


def test_a_reader_that_cannot_read_loses_no_position(sim: SimServer) -> None:
    """What the server says lies unread behind a full high lane, longer than the window."""
    count = 30
    client = {"high_capacity": 8}
    with open_session(sim, resync_window=1.0, client=client) as session:
        sim.send(*(opened(n, f"A{n}") for n in range(count)))
        last = opened(count - 1, f"A{count - 1}")
        until(session, lambda event: event.message == last)
        sim.drop()
        until(session, "hello_ok")
        # Nobody takes events now; the lane fills, and stays full over the window.
        with complaints() as said:
            sim.send(*(balance(n, "Z") for n in range(20)))
            sim.send(*(opened(n, f"A{n}") for n in range(count)))
            assert "high lane is full" in said.get(timeout=PATIENCE)
        with pytest.raises(TimeoutError):
            session.sender.ping().wait(1.5)
        assert session.stats().is_held_back
        events = until(session, lambda event: event.message == last)
        types = [event.type for event in events]
        assert types.count("position_opened") == count
        assert "position_lost" not in types


def test_a_refreshed_exit_says_so_over_a_reconnect(sim: SimServer) -> None:
    """It is the same exit of the same opening: a replacement, not a second sale (P53)."""
    with open_session(sim) as session:
        sim.send(opened(), exit_signal(), exit_signal(level_index=0))
        events = [until(session, "exit_signal_with_tx")[-1] for _ in range(2)]
        sim.drop()
        until(session, "gap")
        sim.send(opened(7), exit_signal(7), exit_signal(7))
        events += [until(session, "exit_signal_with_tx")[-1] for _ in range(2)]
        assert [event.exit_attempt for event in events] == [1, 1, 2, 3]
        assert len({event.handle for event in events}) == 1


# What is said about the connection


@pytest.mark.usefixtures("documented_delays")
def test_a_gap_says_what_happened(sim: SimServer) -> None:
    """Cause, delay, tries, how long, and what the server was told again (13.1, P11)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        first_session = session.session_id
        with offline(sim, code=1012):
            pass
        end, start, _, gap = until(session, "gap")
        assert isinstance(end.message, Disconnected)
        assert end.message.close_code == 1012
        assert end.message.delay == 0.1
        assert isinstance(start.message, Connected)
        assert start.message.number == 2
        assert start.message.attempts >= 2
        assert isinstance(gap.message, Gap)
        assert gap.message.attempts == start.message.attempts
        assert gap.message.from_ms <= gap.message.to_ms
        assert gap.message.restored == ("strategy", "wallets")
        assert session.session_id != first_session
        assert session.stats().reconnects == 1


@pytest.mark.slow
@pytest.mark.usefixtures("documented_delays")
def test_a_refused_reconnect_is_reported(sim: SimServer) -> None:
    """With its status, and tried again at the slow pace (13.1, P12)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.refuse_upgrades(403, times=1)
        sim.drop()
        assert until(session, "disconnected")[-1].to_dict()["message"]["delay"] == 0.1
        refused = until(session, "disconnected")[-1].message
        assert isinstance(refused, Disconnected)
        assert (refused.status, refused.delay) == (403, 2.0)
        until(session, "gap")


def test_a_key_that_is_no_longer_good_ends_the_session(sim: SimServer) -> None:
    """Trying for ever in silence would help nobody (13.1, P12)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        sim.refuse_upgrades(401)
        sim.drop()
        ends = [until(session, "disconnected")[-1].message for _ in range(2)]
        assert isinstance(ends[1], Disconnected)
        assert (ends[1].status, ends[1].delay) == (401, None)
        with pytest.raises(AuthenticationError):
            session.recv(timeout=PATIENCE)
        assert isinstance(session.error, AuthenticationError)


def test_a_stream_goes_on_after_the_reconnect(sim: SimServer) -> None:
    """Profit by the new id reaches the handle."""
    sim.change_options(position_ids="renewed")
    sim.buy(WALLET)
    with open_session(sim, strategy=STRATEGY) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        sim.drop()
        until(session, "position_opened")
        event = until(
            session,
            lambda e: isinstance(e.message, PnlUpdate) and e.handle is handle,
        )[-1]
        assert isinstance(event.message, PnlUpdate)
        assert event.message.position_id == handle.position_id
