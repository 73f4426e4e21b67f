from __future__ import annotations

import pytest

from lasersell.stream.heartbeat import Action, Heartbeat

_FAR = 1e6


class _Peer:
    """A heartbeat, and the connection it watches."""

    def __init__(
        self,
        *,
        stale_after: float = 30.0,
        ping_interval: float = _FAR,
        pnl_flush_ms: int = 100,
        flowing: bool = False,
    ) -> None:
        self.heartbeat = Heartbeat(
            0.0,
            ping_interval=ping_interval,
            stale_after=stale_after,
            pnl_flush_ms=pnl_flush_ms,
        )
        self.last_byte = 0.0
        self.flowing = flowing

    def at(self, now: float, *, held_back: bool = False) -> Action:
        """Check at a moment."""
        return self.heartbeat.check(
            now, self.last_byte, flowing=self.flowing, held_back=held_back
        )

    def run(self, until: float) -> list[tuple[float, Action]]:
        """Check whenever the heartbeat wants it; return what was to be done, and when."""
        done = []
        now = 0.0
        while now <= until:
            action = self.at(now)
            if action:
                done.append((round(now, 6), action))
            wait = self.heartbeat.next_check(now, flowing=self.flowing)
            if wait == 0.0:
                assert Action.RECONNECT in action, "it would spin"
                break
            now += wait
        return done


def test_an_idle_silence_pings_then_is_stale_then_reconnects() -> None:
    """15 s without a byte pings, 30 s is stale, and 10 s later the peer is dead."""
    assert _Peer().run(100.0) == [
        (15.0, Action.PROTOCOL_PING),
        (30.0, Action.REPORT_STALE),
        (40.0, Action.RECONNECT),
    ]


def test_the_idle_times_follow_stale_after() -> None:
    """A shorter patience pings earlier, so that a live peer is never called stale."""
    assert _Peer(stale_after=4.0).run(100.0) == [
        (2.0, Action.PROTOCOL_PING),
        (4.0, Action.REPORT_STALE),
        (14.0, Action.RECONNECT),
    ]


@pytest.mark.parametrize(("flush_ms", "silence"), [(100, 2.0), (400, 2.0), (1000, 5.0)])
def test_a_silence_in_a_flow_is_noticed_within_seconds(
    flush_ms: int, silence: float
) -> None:
    """Where frames came every flush, max(2 s, 5 flushes) pings and 3 s more reconnect."""
    peer = _Peer(flowing=True, pnl_flush_ms=flush_ms)
    assert peer.run(100.0) == [
        (silence, Action.PROTOCOL_PING),
        (silence + 3.0, Action.RECONNECT),
    ]


def test_any_byte_is_life() -> None:
    """A pong, or any other byte after the ping, starts the silence again."""
    peer = _Peer(flowing=True)
    assert peer.at(2.0) == Action.PROTOCOL_PING
    peer.last_byte = 4.9
    assert peer.at(5.0) == Action.NOTHING
    assert peer.at(6.9) == Action.PROTOCOL_PING
    assert peer.at(9.9) == Action.RECONNECT


def test_a_byte_after_stale_can_be_followed_by_stale_again() -> None:
    """Each silence is reported once."""
    peer = _Peer()
    peer.at(15.0)
    assert peer.at(30.0) == Action.REPORT_STALE
    assert peer.at(31.0) == Action.NOTHING
    peer.last_byte = 32.0
    peer.at(47.0)
    assert peer.at(62.0) == Action.REPORT_STALE


@pytest.mark.parametrize("flowing", [True, False])
def test_a_late_look_pings_before_it_reconnects(flowing: bool) -> None:
    """A process that was stopped for an hour gives the peer its chance to answer."""
    peer = _Peer(flowing=flowing)
    first = peer.at(3600.0)
    assert Action.PROTOCOL_PING in first
    assert Action.RECONNECT not in first
    patience = peer.heartbeat.next_check(3600.0, flowing=flowing)
    assert patience >= 3.0
    assert Action.RECONNECT not in peer.at(3600.0 + patience - 0.1)
    assert Action.RECONNECT in peer.at(3600.0 + patience)


def test_a_reader_held_back_is_no_dead_peer() -> None:
    """While our own consumer stops the reading, the silence is ours."""
    peer = _Peer(flowing=True)
    for second in range(1, 100):
        assert peer.at(float(second), held_back=True) == Action.NOTHING
    assert peer.at(100.9) == Action.NOTHING
    assert peer.at(101.0) == Action.PROTOCOL_PING


def test_application_pings_come_at_their_interval() -> None:
    """They measure the round trip and feed the server's idle timer, whatever comes in."""
    peer = _Peer(ping_interval=5.0)
    pinged = []
    for second in range(31):
        peer.last_byte = float(second)
        if Action.APPLICATION_PING in peer.at(float(second)):
            pinged.append(second)
    assert pinged == [5, 10, 15, 20, 25, 30]


def test_late_application_pings_are_not_made_up_for() -> None:
    """After a stopped process one ping is sent, not a burst."""
    peer = _Peer(ping_interval=5.0)
    assert Action.APPLICATION_PING in peer.at(3600.0)
    assert Action.APPLICATION_PING not in peer.at(3600.1)


@pytest.mark.parametrize(
    ("last_low", "open_positions", "flowing"),
    [(10.0, 1, True), (8.1, 1, True), (8.0, 1, False), (10.0, 0, False)],
)
def test_a_flow_is_low_frames_of_an_open_position(
    last_low: float, open_positions: int, flowing: bool
) -> None:
    """Silence is suspicious only where something was coming when it began."""
    heartbeat = _Peer().heartbeat
    assert heartbeat.is_flow(10.0, last_low, open_positions) is flowing


def test_a_pong_in_a_flow_that_ended_makes_it_idle() -> None:
    """A server that answers but has no more to tell is not pinged every 2 s."""
    heartbeat = _Peer().heartbeat
    pong_came = 12.01
    assert not heartbeat.is_flow(pong_came, last_low=10.0, open_positions=1)
