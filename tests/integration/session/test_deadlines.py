from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.protocol.client import RequestExitSignal
from lasersell.protocol.server import ExitSignalWithTx, Pong, PositionOpened
from lasersell.session.deadlines import DeadlineScheduler
from lasersell.session.positions import PositionHandle
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    OTHER_WALLET,
    STRATEGY,
    WALLET,
    drain,
    next_event,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE
from tests.unit.session.frames import opened


def _wait_for_ask(sim: SimServer) -> str | None:
    """Return the token account of the next exit that is asked for."""
    return sim.received.wait_for(RequestExitSignal, timeout=PATIENCE).token_account


def _asked(sim: SimServer) -> list[str | None]:
    return [message.token_account for message in sim.received.of(RequestExitSignal)]


def _now_ms() -> int:
    return SYSTEM_CLOCK.wall_ms()


def _opened_now(number: int, account: str, **changes: Any) -> PositionOpened:
    return opened(
        number, account, **{"opened_at_ms": _now_ms(), "slot": number, **changes}
    )


def test_a_deadline_fires_though_nobody_receives(sim: SimServer) -> None:
    """By token account, and the signal that answers it says so (13.1, P31)."""
    with open_session(sim, deadline=0.2) as session:
        holding = sim.buy(WALLET)
        assert _wait_for_ask(sim) == holding.token_account
        answer = sim.sent.wait_for(ExitSignalWithTx, timeout=PATIENCE)
        assert answer.reason == "sell_now"
        event = session.wait_for("exit_signal_with_tx", timeout=PATIENCE)
        assert event.message == answer
        assert session.deadline_remaining(holding.token_account) is None
    assert _asked(sim) == [holding.token_account]


def test_a_deadline_fires_on_time(sim: SimServer) -> None:
    """Not before its time, and soon after it."""
    with open_session(sim, deadline=0.3):
        begin = SYSTEM_CLOCK.monotonic()
        sim.buy(WALLET)
        _wait_for_ask(sim)
        took = SYSTEM_CLOCK.monotonic() - begin
        assert 0.29 < took < 3.0


def test_a_deadline_asks_again_until_it_is_answered(sim: SimServer) -> None:
    """A position that the server does not know: nothing answers (13.1, P8)."""
    with open_session(sim, deadline=0.05, deadline_retry_sec=0.05) as session:
        sim.send(_opened_now(1, "A"))
        assert [_wait_for_ask(sim) for _ in range(5)] == ["A"] * 5
        assert "exit_request_unanswered" not in [e.type for e in drain(session)]


def test_a_watched_position_has_no_deadline(sim: SimServer) -> None:
    """One of our own that is younger is asked for, the watched one is not (13.1, P7)."""
    with open_session(sim, deadline=0.1):
        sim.send(_opened_now(1, "W", wallet_pubkey=OTHER_WALLET, watched=True))
        sim.send(_opened_now(2, "A"))
        assert _wait_for_ask(sim) == "A"
        assert _asked(sim) == ["A"]


def test_a_closed_position_has_no_deadline(sim: SimServer) -> None:
    """One that was opened after it is asked for, it is not."""
    with open_session(sim, deadline=1.0):
        sold = sim.buy(WALLET)
        sim.sell(sold)
        kept = sim.buy(WALLET)
        assert _wait_for_ask(sim) == kept.token_account
        assert _asked(sim) == [kept.token_account]


def test_the_successor_on_an_account_has_a_deadline_of_its_own(sim: SimServer) -> None:
    """It is asked for when its own time has passed, and not by its predecessor's."""
    with open_session(sim, deadline=1.0) as session:
        first = sim.buy(WALLET)
        until(session, "position_opened")
        sim.sell(first)
        begin = SYSTEM_CLOCK.monotonic()
        sim.buy(WALLET, first.mint)
        _wait_for_ask(sim)
        assert SYSTEM_CLOCK.monotonic() - begin > 0.99
        assert _asked(sim) == [first.token_account]


def test_nothing_is_asked_for_after_the_close(sim: SimServer) -> None:
    """The timer ends with the session; a second session on the server shows the time."""
    with (
        open_session(sim, deadline=1.0) as control,
        open_session(sim, deadline=1.0) as session,
    ):
        sim.send(_opened_now(1, "A"))
        until(session, "position_opened")
        until(control, "position_opened")
        session_id = session.session_id
        session.close()
        _wait_for_ask(sim)
        entries = sim.received.entries(RequestExitSignal)
        assert {entry.session_id for entry in entries} == {control.session_id}
        assert session_id != control.session_id


@pytest.mark.slow
@pytest.mark.usefixtures("documented_delays")
def test_a_deadline_survives_reconnects(sim: SimServer) -> None:
    """Each gives the position a new id, and it fires when it would have (13.1, P5, P6)."""
    sim.change_options(position_ids="renewed")
    with open_session(sim, deadline=4.0) as session:
        begin = SYSTEM_CLOCK.monotonic()
        holding = sim.buy(WALLET)
        until(session, "position_opened")
        for _ in range(5):
            sim.drop()
            assert until(session, "position_opened")[-1].reopened
        assert _wait_for_ask(sim) == holding.token_account
        took = SYSTEM_CLOCK.monotonic() - begin
        # The reconnects take 3.1 s in all: restarted, it would fire after 7.1 s.
        assert 3.99 < took < 6.9


def test_a_deadline_that_falls_while_offline_is_asked_for_after_the_reemission(
    sim: SimServer,
) -> None:
    """In the first moment at which the position is known to be the same."""
    holding = sim.buy(WALLET)
    with open_session(sim, deadline=1000.0) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        with offline(sim):
            session.update_strategy(STRATEGY, deadline_timeout_sec=0.01)
            _wait_until_fired(session, handle)
            assert _asked(sim) == []
        assert _wait_for_ask(sim) == holding.token_account
        session.wait_for("exit_signal_with_tx", handle, timeout=PATIENCE)
        assert _asked(sim) == [holding.token_account]


def _wait_until_fired(session: Any, handle: PositionHandle) -> None:
    while session.deadline_remaining(handle) is not None:
        with pytest.raises(TimeoutError):
            session.wait_for("never", timeout=0.02)


def test_a_deadline_that_fell_while_offline_spares_the_successor(
    sim: SimServer,
) -> None:
    """Sold and bought again meanwhile, for the same cost: the exit was not meant for it."""
    first = sim.buy(WALLET)
    with open_session(sim, deadline=1000.0) as session:
        handle = until(session, "position_opened")[-1].handle
        assert handle is not None
        with offline(sim):
            session.update_strategy(STRATEGY, deadline_timeout_sec=0.4)
            _wait_until_fired(session, handle)
            sim.sell(first)
            begin = SYSTEM_CLOCK.monotonic()
            sim.buy(WALLET, first.mint)
        lost = session.wait_for("position_lost", timeout=PATIENCE)
        assert lost.handle is handle
        successor = session.wait_for("position_opened", timeout=PATIENCE).handle
        assert successor is not handle
        _wait_for_ask(sim)
        assert SYSTEM_CLOCK.monotonic() - begin > 0.39


def test_a_new_process_asks_for_what_is_overdue_after_the_grace(sim: SimServer) -> None:
    """The event is marked, so that the user can stop it (D4.6)."""
    with open_session(sim, deadline=100.0) as session:
        sim.send(_opened_now(1, "A"))
        until(session, "position_opened")
    with open_session(sim, deadline=1.5, deadline_grace_sec=0.3) as session:
        hour_ago = _now_ms() - 3_600_000
        begin = SYSTEM_CLOCK.monotonic()
        sim.send(_opened_now(1, "A", opened_at_ms=hour_ago), _opened_now(2, "B"))
        events = [e for e in until(session, _is_of("B")) if e.type == "position_opened"]
        assert [event.deadline_overdue for event in events] == [True, False]
        assert _wait_for_ask(sim) == "A"
        assert SYSTEM_CLOCK.monotonic() - begin > 0.29
        assert _wait_for_ask(sim) == "B"


def _is_of(account: str) -> Any:
    return lambda e: e.handle is not None and e.handle.token_account == account


def test_an_overdue_position_can_be_spared(sim: SimServer) -> None:
    """By not tracking it any more, within the grace."""
    with open_session(sim, deadline=1.3, deadline_grace_sec=1.0) as session:
        sim.send(_opened_now(1, "A", opened_at_ms=1), _opened_now(2, "B"))
        events = until(session, _is_of("B"))
        for event in events:
            if event.deadline_overdue:
                assert event.handle is not None
                session.close_position(event.handle)
        assert _wait_for_ask(sim) == "B"
        assert _asked(sim) == ["B"]


def test_a_change_retimes_open_positions_at_once(sim: SimServer) -> None:
    """A deadline that has passed by the new time-out fires now (D4.6)."""
    holding = sim.buy(WALLET)
    with open_session(sim, deadline=1000.0) as session:
        until(session, "position_opened")
        session.update_strategy(STRATEGY, deadline_timeout_sec=0.01)
        assert _wait_for_ask(sim) == holding.token_account


def test_a_deadline_that_is_turned_off_does_not_fire(sim: SimServer) -> None:
    """For positions opened before; one opened after it is turned on again does."""
    with open_session(sim, deadline=0.3) as session:
        sim.send(_opened_now(1, "A", opened_at_ms=_now_ms() + 3_000))
        until(session, "position_opened")
        session.update_strategy(STRATEGY, deadline_timeout_sec=0)
        assert session.deadline_remaining("A") is None
        session.update_strategy(STRATEGY, deadline_timeout_sec=1000)
        sim.send(_opened_now(2, "B", opened_at_ms=_now_ms() - 999_900))
        assert _wait_for_ask(sim) == "B"
        assert _asked(sim) == ["B"]


def test_a_deadline_may_count_from_arrival(sim: SimServer) -> None:
    """Whatever the server says about the opening."""
    with open_session(sim, deadline=100.0, deadline_from="seen") as session:
        sim.send(_opened_now(1, "A", opened_at_ms=1))
        assert not until(session, "position_opened")[-1].deadline_overdue
        remaining = session.deadline_remaining("A")
        assert remaining is not None
        assert 90 < remaining <= 100


def test_a_deadline_falls_while_the_consumer_is_busy(sim: SimServer) -> None:
    """The high lane is full and reading has stopped; asking is not reading."""
    with open_session(sim, deadline=0.3, client={"high_capacity": 4}) as session:
        until(session, "hello_ok")
        sim.send(_opened_now(1, "A"))
        sim.send(*(Pong(server_time_ms=number) for number in range(20)))
        assert _wait_for_ask(sim) == "A"
        sim.wait_until(lambda: session.stats().is_held_back)
        until(session, lambda event: event.message == Pong(server_time_ms=19))


def test_a_deadline_is_served_where_no_timer_can_be_started(
    sim: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor is woken for it, though it would have slept on."""

    def refuse(_delay: float, _action: object) -> Any:
        raise RuntimeError("can't start new thread")

    with open_session(sim, deadline=0.2) as session:
        until(session, "hello_ok")
        monkeypatch.setattr(session._core.scheduler, "_start_timer", refuse)
        begin = SYSTEM_CLOCK.monotonic()
        sim.send(_opened_now(1, "A"))
        assert _wait_for_ask(sim) == "A"
        assert SYSTEM_CLOCK.monotonic() - begin < 5.0


def test_many_positions_share_one_timer(sim: SimServer) -> None:
    """Each is asked for once, and there is never a second thread that waits."""
    count = 300
    limits = attrs.evolve(_limits(sim), max_positions_per_session=0)
    sim.change_options(limits=limits)
    with open_session(sim, deadline=0.5, deadline_retry_sec=60.0) as session:
        sim.send(*(_opened_now(n, f"A{n}") for n in range(1, count + 1)))
        for _ in range(count):
            _wait_for_ask(sim)
            names = [thread.name for thread in threading.enumerate()]
            # On a busy machine some that were cancelled have not had the time to end.
            assert names.count("lasersell-deadlines") <= 20
        assert sorted(filter(None, _asked(sim))) == sorted(
            f"A{n}" for n in range(1, count + 1)
        )
        assert len(session.positions()) == count
        assert next_event(session).type == "connected"


def _limits(sim: SimServer) -> Any:
    with open_session(sim) as session:
        return session.limits


def test_the_scheduler_is_the_one_of_the_session(sim: SimServer) -> None:
    """There is one per session, and it ends with it."""
    with open_session(sim, deadline=100.0) as session:
        sim.send(_opened_now(1, "A"))
        until(session, "position_opened")
        scheduler = session._core.scheduler
        assert isinstance(scheduler, DeadlineScheduler)
        assert "lasersell-deadlines" in [t.name for t in threading.enumerate()]
    assert "lasersell-deadlines" not in [t.name for t in threading.enumerate()]
