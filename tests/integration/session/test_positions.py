from __future__ import annotations

import threading

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.server import Pong
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    OTHER_WALLET,
    STRATEGY,
    WALLET,
    next_event,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import exit_signal, liquidity, mint_of, opened, pnl


def test_positions_are_looked_up_by_whatever_names_them(sim: SimServer) -> None:
    """Each look-up finds the one handle (13.1, P54)."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        assert session.positions() == [handle]
        assert session.position(holding.position_id) is handle
        assert session.position_by_token_account(holding.token_account) is handle
        assert session.positions_for_wallet_mint(WALLET, holding.mint) == [handle]


def test_what_is_not_held_is_not_found(sim: SimServer) -> None:
    """None or an empty list, not an error."""
    with open_session(sim) as session:
        assert session.positions() == []
        assert session.position(99) is None
        assert session.position_by_token_account("A") is None
        assert session.positions_for_wallet_mint(WALLET, mint_of("A")) == []
        assert session.pnl(99) is None
        assert session.get_slippage_bands(99) == ()
        assert session.get_max_sell_at_slippage(99, 100) is None
        assert session.get_liquidity_trend(99) is None


def test_a_sale_in_parts_is_followed_to_its_end(sim: SimServer) -> None:
    """By balance updates, and then the close (13.1, P48)."""
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        until(session, "position_opened")
        handle = session.positions()[0]
        sim.sell(holding, tokens=holding.tokens - 700)
        session.wait_for("balance_update", timeout=PATIENCE)
        assert (handle.tokens, handle.is_open) == (700, True)
        sim.sell(holding, reason="stop_loss")
        session.wait_for("position_closed", handle, timeout=PATIENCE)
        assert (handle.tokens, handle.status) == (0, "closed")
        assert handle.close_reason == "stop_loss"
        assert session.positions() == []


def test_profit_is_there_without_taking_its_events(sim: SimServer) -> None:
    """The latest, though nobody calls ``recv()`` (13.1, P31)."""
    with open_session(sim) as session:
        sim.send(opened(), pnl(profit_units=1), pnl(profit_units=-50))
        sim.send(Pong(server_time_ms=1))
        session.wait_for("pong", timeout=PATIENCE)
        handle = session.position(1)
        assert handle is not None
        assert session.pnl(1) == pnl(profit_units=-50)
        assert (handle.pnl_pct, handle.peak_pnl_pct) == (-5.0, 0.1)


def test_liquidity_helpers_answer_from_the_latest_snapshot(sim: SimServer) -> None:
    """The largest band not above the slippage is a safe answer (13.1, P51)."""
    with open_session(sim) as session:
        sim.send(opened(), liquidity())
        session.wait_for("liquidity_snapshot", timeout=PATIENCE)
        assert session.get_slippage_bands(1) == liquidity().bands
        assert [
            session.get_max_sell_at_slippage(1, bps) for bps in (99, 100, 199, 200, 900)
        ] == [None, 30, 30, 70, 70]
        assert session.get_liquidity_trend(1) == "stable"


def test_liquidity_goes_with_its_position(sim: SimServer) -> None:
    """Evicted with the close (13.1, P50)."""
    sim.change_options(liquidity_snapshots=True)
    holding = sim.buy(WALLET)
    with open_session(sim) as session:
        session.wait_for("liquidity_snapshot", timeout=PATIENCE)
        position_id = session.positions()[0].position_id
        assert len(session.get_slippage_bands(position_id)) == 4
        sim.sell(holding)
        session.wait_for("position_closed", timeout=PATIENCE)
        assert session.get_slippage_bands(position_id) == ()
        assert session.get_liquidity_trend(position_id) is None


def test_look_ups_may_come_from_any_thread(sim: SimServer) -> None:
    """While the reader opens and closes positions."""
    problems: list[Exception] = []
    done = threading.Event()
    with open_session(sim) as session:

        def look() -> None:
            try:
                while not done.is_set():
                    for handle in session.positions():
                        session.position(handle.position_id)
                        session.positions_for_wallet_mint(WALLET, handle.mint)
                        session.get_slippage_bands(handle.position_id)
                        handle.to_dict()
            except Exception as problem:  # noqa: BLE001 - told to the test
                problems.append(problem)

        lookers = [threading.Thread(target=look) for _ in range(2)]
        for looker in lookers:
            looker.start()
        holdings = [sim.buy(WALLET) for _ in range(20)]
        for holding in holdings:
            sim.sell(holding)
        until(
            session, lambda e: e.type == "position_closed" and not session.positions()
        )
        done.set()
        for looker in lookers:
            looker.join(PATIENCE)
    assert problems == []


def test_a_handle_is_shared_by_all_events_of_its_position(sim: SimServer) -> None:
    """Open, exit, balance and close."""
    holding = sim.buy(WALLET, profits_pct=[600.0])
    with open_session(sim) as session:
        until(session, "exit_signal_with_tx")
        handle = session.positions()[0]
        sim.land_exit(holding)
        events = until(session, "position_closed")
        assert {event.handle for event in events if event.handle} == {handle}
        assert handle.exit_attempts == {None: 1}


def test_an_exit_signal_of_an_unknown_position_is_delivered(sim: SimServer) -> None:
    """With a handle of its own, marked as not known (D4.5)."""
    with open_session(sim) as session:
        sim.send(exit_signal(99, "Z"))
        event = until(session, "exit_signal_with_tx")[-1]
        assert event.handle is not None
        assert not event.handle.known
        assert session.positions() == []


def test_an_exit_on_a_market_yet_unknown_is_delivered(sim: SimServer) -> None:
    """The transaction is what matters; the market is kept as it came (13.1, P26)."""
    with open_session(sim) as session:
        signal = encode_server_message(exit_signal(1, "A"))
        context = b'"market_context":{"market_type":"orca","orca":{"pool":"p"}}'
        sim.send(opened())
        sim.send_raw(signal[:-1] + b"," + context + b"}")
        event = until(session, "exit_signal_with_tx")[-1]
        assert event.handle is session.position(1)
        assert event.handle is not None
        assert event.handle.market_type == "orca"
        assert event.handle.quote is None


def test_a_watched_position_is_known_as_such(sim: SimServer) -> None:
    """And a copied one by whom it was copied from (13.1, P49)."""
    with open_session(sim) as session:
        sim.send(
            opened(1, "A", watched=True, wallet_pubkey=OTHER_WALLET),
            opened(2, "B", mirror_source=OTHER_WALLET),
        )
        until(session, lambda event: event.message.type == "position_opened")
        next_event(session)
        watched, copied = session.positions()
        assert (watched.watched, watched.mirror_source) == (True, None)
        assert (copied.watched, copied.mirror_source) == (False, OTHER_WALLET)


# Positions that commands name


def test_a_command_for_a_position_that_is_over_is_refused(sim: SimServer) -> None:
    """Its account may hold another one by now, which nobody meant."""
    with open_session(sim) as session:
        holding = sim.buy(WALLET)
        former = until(session, "position_opened")[-1].handle
        assert former is not None
        sim.sell(holding)
        sim.buy(WALLET, holding.mint)
        until(session, "position_opened")
        for command in (session.request_exit_signal, session.close_position):
            with pytest.raises(ConfigurationError, match="over"):
                command(former)
        with pytest.raises(ConfigurationError, match="over"):
            session.update_position_strategy(former, STRATEGY)
        assert session.deadline_remaining(former) is None


def test_an_id_that_is_not_known_is_refused(sim: SimServer) -> None:
    """Nothing is sent for it; the text says what to pass."""
    with open_session(sim) as session:
        for command in (session.request_exit_signal, session.close_position):
            with pytest.raises(ConfigurationError, match="token account"):
                command(99)


def test_an_id_goes_on_naming_its_position_while_offline(sim: SimServer) -> None:
    """Commands by it are held like those by handle."""
    with open_session(sim) as session:
        holding = sim.buy(WALLET)
        handle = until(session, "position_opened")[-1].handle
        with offline(sim):
            until(session, "disconnected")
            assert session.position(holding.position_id) is handle
            session.request_exit_signal(holding.position_id)
        session.wait_for("exit_signal_with_tx", timeout=PATIENCE)


def test_an_exit_of_a_position_known_by_nothing_but_an_id_cannot_be_asked_for(
    sim: SimServer,
) -> None:
    """A made-up handle without a token account: exits are asked for by that."""
    with open_session(sim) as session:
        sim.send(exit_signal(99, None))
        stranger = until(session, "exit_signal_with_tx")[-1].handle
        assert stranger is not None
        with pytest.raises(ConfigurationError, match="token account"):
            session.request_exit_signal(stranger)
