from __future__ import annotations

import os
import threading

import pytest

from lasersell.errors import ForkedError, NotConnectedError
from lasersell.protocol.client import Ping
from lasersell.protocol.codec import decode_client_message
from lasersell.protocol.server import HelloOk, Limits, Pong
from lasersell.stream.roundtrip import PendingPing, RoundTrips
from tests.clock import FakeClock

_LIMITS = Limits(hi_capacity=1, pnl_flush_ms=100, max_positions_per_session=1)


def _hello(server_time_ms: int) -> HelloOk:
    return HelloOk(session_id=1, server_time_ms=server_time_ms, limits=_LIMITS)


def _ping(trips: RoundTrips) -> PendingPing:
    ping = PendingPing()
    trips.begin(ping)
    return ping


def test_a_round_trip_is_measured_by_our_own_clock(clock: FakeClock) -> None:
    """From the write of a ping to its pong, in seconds; the pong carries no echo."""
    trips = RoundTrips(clock)
    ping = _ping(trips)
    clock.advance(0.25)
    trips.answered(Pong(server_time_ms=1))
    assert ping.wait(0) == 0.25
    assert trips.last == 0.25


def test_a_ping_carries_our_time(clock: FakeClock) -> None:
    """On the wire a ping has the client's clock, in Unix milliseconds."""
    text = RoundTrips(clock).begin(PendingPing())
    assert decode_client_message(text) == Ping(client_time_ms=clock.wall_ms())


def test_pongs_answer_pings_in_order(clock: FakeClock) -> None:
    """The first pong is for the first ping, since it names none."""
    trips = RoundTrips(clock)
    first = _ping(trips)
    clock.advance(1.0)
    second = _ping(trips)
    clock.advance(1.0)
    trips.answered(Pong(server_time_ms=1))
    trips.answered(Pong(server_time_ms=1))
    assert (first.wait(0), second.wait(0)) == (2.0, 1.0)


def test_a_pong_that_nobody_asked_for_is_passed_over(clock: FakeClock) -> None:
    """An unasked pong measures nothing."""
    trips = RoundTrips(clock)
    trips.answered(Pong(server_time_ms=1))
    assert trips.last is None
    assert trips.server_now_ms() is None


def test_a_wait_ends_with_its_time(clock: FakeClock) -> None:
    """A pong that does not come in time is a TimeoutError that says how long it was."""
    with pytest.raises(TimeoutError, match=r"within 0\.01 seconds"):
        _ping(RoundTrips(clock)).wait(0.01)


def test_a_wait_ends_with_the_connection(clock: FakeClock) -> None:
    """Whoever waits for a pong learns at once that it will not come."""
    trips = RoundTrips(clock)
    pings = [_ping(trips), _ping(trips)]
    trips.disconnected()
    for ping in pings:
        with pytest.raises(NotConnectedError, match="connection ended"):
            ping.wait()


def test_a_wait_in_a_forked_child_is_refused(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reader survives a fork, so no pong would ever come."""
    ping = _ping(RoundTrips(clock))
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(ForkedError) as caught:
        ping.wait()
    assert caught.value.owner_pid == parent


def test_the_servers_time_does_not_follow_our_wall_clock(clock: FakeClock) -> None:
    """Someone may set our clock; the server's goes on by the monotonic one."""
    trips = RoundTrips(clock)
    assert trips.server_ms_at(0.0) is None
    trips.greeted(_hello(1_000_000))
    clock._start_ms += 3_600_000
    clock.advance(1.0)
    assert trips.server_now_ms() == 1_001_000
    assert trips.server_ms_at(0.5) == 1_000_500


@pytest.mark.parametrize(("off_by_ms", "believed"), [(1500, False), (60_000, True)])
def test_a_greeting_that_is_far_off_is_believed(
    clock: FakeClock, off_by_ms: int, believed: bool
) -> None:
    """Far off means that this machine slept; a little off is only the network."""
    trips = RoundTrips(clock)
    trips.greeted(_hello(1_000_000))
    trips.greeted(_hello(1_000_000 + off_by_ms))
    assert trips.server_now_ms() == 1_000_000 + (off_by_ms if believed else 0)


def test_a_ping_may_be_waited_for_by_several_threads(clock: FakeClock) -> None:
    """Every waiting thread gets the same answer."""
    trips = RoundTrips(clock)
    ping = _ping(trips)
    answers: list[float] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ping.wait(5.0)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    clock.advance(0.5)
    trips.answered(Pong(server_time_ms=1))
    for thread in threads:
        thread.join(5.0)
    assert answers == [0.5] * 3


def test_the_greeting_tells_the_servers_time(clock: FakeClock) -> None:
    """Until the first pong, hello_ok says how far the server's clock is off."""
    trips = RoundTrips(clock)
    trips.greeted(_hello(clock.wall_ms() + 5000))
    clock.advance(1.0)
    assert trips.server_now_ms() == clock.wall_ms() + 5000


def test_a_pong_tells_the_servers_time_better(clock: FakeClock) -> None:
    """The pong's time is taken for the middle of the round trip; a later hello does not undo it."""
    trips = RoundTrips(clock)
    trips.greeted(_hello(clock.wall_ms()))
    _ping(trips)
    clock.advance(2.0)
    trips.answered(Pong(server_time_ms=clock.wall_ms() - 1000 + 70))
    assert trips.clock_offset_ms == 70
    trips.greeted(_hello(0))
    assert trips.clock_offset_ms == 70


def test_a_ping_of_a_dead_connection_takes_no_pong_of_the_next(
    clock: FakeClock,
) -> None:
    """A ping entered while its connection was being taken down ends with the next greeting."""
    trips = RoundTrips(clock)
    trips.disconnected()
    late = _ping(trips)
    clock.advance(100.0)
    trips.greeted(_hello(clock.wall_ms()))
    fresh = _ping(trips)
    clock.advance(0.5)
    trips.answered(Pong(server_time_ms=1))
    with pytest.raises(NotConnectedError):
        late.wait(0)
    assert fresh.wait(0) == 0.5
