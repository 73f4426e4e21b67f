"""The fault steps of a script, seen by a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    Pong,
    UnknownMessage,
)
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.sim import Upgrade
from lasersell.testing import Script

pytestmark = pytest.mark.slow

Break = Callable[[Script], Script]


@pytest.mark.parametrize(
    "fault",
    [
        Script.drop,
        lambda script: script.drop(1001, "going away"),
        Script.reset,
        Script.half_a_frame,
        Script.garbage,
    ],
    ids=["cut", "close", "reset", "half", "garbage"],
)
def test_a_session_survives_the_end_of_its_connection(
    fault: Break, lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """However it ends, the session comes back with the same position."""
    fault(lasersell_script.buy("coin").expect("configure")).expect("configure").play()
    lasersell_session.wait_for("disconnected", timeout=5)
    reopened = lasersell_session.wait_for("position_opened", timeout=5)
    while not reopened.reopened:
        reopened = lasersell_session.wait_for("position_opened", timeout=5)
    account = lasersell_script.holdings["coin"].token_account
    assert [p.token_account for p in lasersell_session.positions()] == [account]


def test_a_session_survives_what_it_does_not_understand(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """Unknown and malformed messages are events, and the connection stays."""
    new = UnknownMessage(type="brand_new", raw={"type": "brand_new"})
    lasersell_script.send(new).play()
    lasersell_session.wait_for("brand_new", timeout=5)
    broken = Pong(server_time_ms=1)
    lasersell_script.malformed(broken, server_time_ms="now").send_raw("{").play()
    for _ in range(2):
        lasersell_session.wait_for("undecodable", timeout=5)
    assert lasersell_session.state == "live"


def test_refused_upgrades_are_reported_and_outlived(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """While it is refused the session tries on, and comes back when it is let in."""
    lasersell_script.expect("configure").refuse(503).drop().play()
    lasersell_session.wait_for("disconnected", timeout=5)
    lasersell_script.sim.upgrades.wait_for(Upgrade, where=lambda it: it.status == 503)
    lasersell_script.accept().expect("configure").expect_connected().play()
    lasersell_session.wait_for("gap", timeout=5)


def test_a_late_hello_is_waited_for(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """Options of a script hold for the connection after the next drop."""
    script = lasersell_script.expect("configure").change_options(hello_delay=0.7)
    script.drop().expect_sent("hello_ok").expect_sent("hello_ok").play()
    lasersell_session.wait_for("gap", timeout=5)
    assert lasersell_session.state == "live"


def test_a_stall_delays_and_a_mute_server_loses(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """After a stall everything comes; what a mute server would have said does not."""
    lasersell_script.expect("configure").stall().buy("late").resume().play()
    late = lasersell_session.wait_for("position_opened", timeout=5)
    assert late.handle is not None
    assert late.handle.mint == lasersell_script.mints["late"]
    lasersell_script.mute().buy("lost").mute(False).buy("seen").play()
    seen = lasersell_session.wait_for("position_opened", timeout=5)
    assert seen.handle is not None
    assert seen.handle.mint == lasersell_script.mints["seen"]


def test_signals_may_be_lost_doubled_and_swapped(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """A lost signal never comes, a doubled one is a second attempt, a swapped one late."""
    script = lasersell_script.expect("configure")
    script.lose(ExitSignalWithTx).buy("one").profit("one", 5)
    script.duplicate(ExitSignalWithTx).buy("two").profit("two", 5)
    script.play()
    attempts = [
        lasersell_session.wait_for("exit_signal_with_tx", timeout=5) for _ in "12"
    ]
    assert [event.exit_attempt for event in attempts] == [1, 2]
    account = script.holdings["two"].token_account
    assert {event.message.token_account for event in attempts} == {account}  # type: ignore[union-attr]
    script.swap(BalanceUpdate).buy("three").play()
    events = [lasersell_session.recv(5)]
    while events[-1] is not None and not _is_of(events[-1], script.mints["three"]):
        events.append(lasersell_session.recv(5))
    assert events[-1] is not None
    assert events[-1].type == "position_opened"
    assert _is_of(lasersell_session.recv(5), script.mints["three"])


def _is_of(event: StreamEvent | None, mint: str) -> bool:
    return event is not None and getattr(event.message, "mint", None) == mint


def test_a_flood_does_not_hide_a_signal(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """After thousands of profits the exit still arrives."""
    script = lasersell_script.expect("configure").buy("coin").flood(5_000)
    script.profit("coin", 5).expect_sent("exit_signal_with_tx").play()
    lasersell_session.wait_for("exit_signal_with_tx", timeout=5)
    script.land_exit("coin").expect_sold("coin", "target_profit").play()
