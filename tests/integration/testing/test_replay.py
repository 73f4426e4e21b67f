from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websocket

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConfigurationError
from lasersell.protocol.server import PnlUpdate, Pong
from lasersell.protocol.strategy import StrategyConfig
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from lasersell.testing import Recorder, Recording, Replay
from lasersell.testing.frames import Frame
from lasersell.testing.recording import (
    Answer,
    Ending,
    RecordedConnection,
    RecordedFrame,
    Side,
)
from tests.integration.sim.foreign import OTHER, WALLET, Foreign

_LOW = {"pnl_update", "liquidity_snapshot", "trade_tick"}


def _text(at: float, side: Side, **message: Any) -> RecordedFrame:
    return RecordedFrame(at, side, Frame(0x81, json.dumps(message).encode()))


def _recording(*connections: RecordedConnection) -> Recording:
    return Recording(0, list(connections))


def _connection(
    *frames: RecordedFrame, ending: Ending | None = None
) -> RecordedConnection:
    return RecordedConnection(0.0, Answer(101), list(frames), ending)


_HELLO = _text(0.0, "server", type="hello_ok", number=1)
_CONFIGURE = _text(0.1, "client", type="configure")


# --- the same again -----------------------------------------------------------


def _events(
    url: str, until: Callable[[StreamEvent], bool], act: Callable[[StreamEvent], None]
) -> list[StreamEvent]:
    """Return what a session gets until some event, acting on each."""
    configure = StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0))
    client = StreamClient("s3cret", endpoint=url)
    events: list[StreamEvent] = []
    with StreamSession.connect(client, configure) as session:
        while not events or not until(events[-1]):
            event = session.recv(10)
            assert event is not None
            events.append(event)
            act(event)
    return events


def _lane(events: list[StreamEvent], *, low: bool) -> list[tuple[str, Any]]:
    """Return the events of one lane: type, and what the server said if it did."""
    return [
        (event.type, event.message if hasattr(event.message, "extra") or low else None)
        for event in events
        if (event.type in _LOW) == low
    ]


def test_a_replay_at_ten_times_the_speed_is_the_same_session(tmp_path: Path) -> None:
    """Every event comes again, equal, in the order it had in its lane, in less time."""
    path = tmp_path / "session.gz"
    began = SYSTEM_CLOCK.monotonic()
    with (
        SimServer(
            seed=7,
            pnl_flush_ms=40,
            auto_sell_after_ms=0,
            liquidity_snapshots=True,
            trade_ticks=True,
        ) as sim,
        Recorder(path, sim.url) as recorder,
    ):
        sim.buy(WALLET, profits_pct=[0, 1, 2, 3])
        walking = sim.buy(WALLET)

        drops = iter([lambda: sim.drop(1012, "restart")])

        def act(event: StreamEvent) -> None:
            message = event.message
            if isinstance(message, PnlUpdate) and message.profit_units == 3_000_000:
                # Once, though the profit may be told more than once before the end.
                next(drops, lambda: None)()
            elif event.reopened and message.token_account == walking.token_account:  # type: ignore[union-attr]
                sim.buy(OTHER, walking.mint)
                sim.set_profit_path(sim.holdings(WALLET)[0], [4, 6])

        live = _events(recorder.url, lambda e: e.type == "position_closed", act)
        took = SYSTEM_CLOCK.monotonic() - began
    began = SYSTEM_CLOCK.monotonic()
    with Replay(path, speed=10) as replay:
        again = _events(
            replay.url, lambda e: e.type == "position_closed", lambda _: None
        )
    assert SYSTEM_CLOCK.monotonic() - began < took
    types = [event.type for event in live]
    assert {"disconnected", "gap", "exit_signal_with_tx", "trade_tick"} <= set(types)
    assert _lane(again, low=False) == _lane(live, low=False)
    low = _lane(again, low=True)
    # What of the last batch is taken before the close is a matter of microseconds.
    most = min(len(low), len(_lane(live, low=True))) - 6
    assert most > 10
    assert low[:most] == _lane(live, low=True)[:most]


def test_a_recording_of_a_replay_is_the_recording(tmp_path: Path) -> None:
    """Frame by frame, in order and over two connections, a replay says what was said."""
    live, again = tmp_path / "live.gz", tmp_path / "again.gz"
    with (
        SimServer(seed=3, pnl_flush_ms=10, trade_ticks=True) as sim,
        Recorder(live, sim.url) as recorder,
    ):
        sim.buy(WALLET)
        for code in (1012, 1000):
            client = Foreign(recorder.url, "k")
            client.configure()
            for _ in range(20):
                client.recv_type("pnl_update")
            sim.drop(code)
            assert client.close_code() == code
            client.hang_up()
            sim.wait_for_connections(0)
    with Replay(live, speed=10) as replay, Recorder(again, replay.url) as recorder:
        for code in (1012, 1000):
            client = Foreign(recorder.url, "k")
            client.configure()
            assert client.close_code() == code
            client.hang_up()
        replay.wait_until_played()
    said = [c.texts("server") for c in Recording.load(live).connections]
    assert len(said[0]) > 40
    assert [c.texts("server") for c in Recording.load(again).connections] == said


# --- how it is served ---------------------------------------------------------


def test_what_came_after_configure_waits_for_it() -> None:
    """Before the client configures it gets what was sent before, and then the rest."""
    opened = _text(0.2, "server", type="position_opened")
    with Replay(_recording(_connection(_HELLO, _CONFIGURE, opened))) as replay:
        client = Foreign(replay.url, None)
        assert client.recv()["type"] == "hello_ok"
        assert client.is_pinged()
        client.configure()
        assert client.recv()["type"] == "position_opened"
        replay.wait_until_played()
        client.hang_up()


def test_frames_come_at_their_pace() -> None:
    """At twice the speed, what was half a second apart is a quarter."""
    later = _text(0.5, "server", type="pong", server_time_ms=1)
    with Replay(_recording(_connection(_HELLO, later)), speed=2) as replay:
        client = Foreign(replay.url, None)
        client.recv()
        began = SYSTEM_CLOCK.monotonic()
        client.recv()
        assert 0.2 <= SYSTEM_CLOCK.monotonic() - began < 5
        client.hang_up()


def test_each_client_gets_the_next_connection() -> None:
    """The first, the second, and after the last the first again."""
    ending = Ending(0.0, "server")
    connections = [
        _connection(_text(0.0, "server", number=number), ending=ending)
        for number in (1, 2)
    ]
    with Replay(_recording(*connections)) as replay:
        seen = []
        for _ in range(3):
            client = Foreign(replay.url, "any")
            seen.append(client.recv()["number"])
            assert client.close_code() is None
            client.hang_up()
    assert seen == [1, 2, 1]


def test_the_end_is_the_recorded_one() -> None:
    """A close frame, half a frame and a reset come as they were."""
    close = RecordedFrame(0.0, "server", Frame(0x88, b"\x0f\xa1bye"))
    half = RecordedFrame(0.0, "server", Frame(None, b"\x81\x05hel"))
    ended, reset = Ending(0.0, "server"), Ending(0.0, "server", True)
    connections = [
        _connection(close, ending=ended),
        _connection(half, ending=ended),
        _connection(_HELLO, ending=reset),
    ]
    with Replay(_recording(*connections), speed=math.inf) as replay:
        closed = Foreign(replay.url, None)
        assert closed.close_code() == 4001
        cut = Foreign(replay.url, None)
        assert cut.socket.sock is not None
        assert cut.socket.sock.recv(100) == b"\x81\x05hel"
        assert cut.socket.sock.recv(100) == b""
        broken = Foreign(replay.url, None)
        with pytest.raises(ConnectionResetError):
            broken.recv_many(2)
        for client in (closed, cut, broken):
            client.hang_up()


def test_a_refusal_is_refused_again() -> None:
    """Status, headers and body are those of the recording."""
    answer = Answer(503, {"retry-after": "7"}, "busy")
    with Replay(_recording(RecordedConnection(0.0, answer))) as replay:
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            Foreign(replay.url, None)
        replay.wait_until_played()
    assert caught.value.status_code == 503
    assert (caught.value.resp_headers or {})["retry-after"] == "7"
    assert caught.value.resp_body == b"busy"


@pytest.mark.parametrize("ending", [None, Ending(0.1, "client")])
def test_the_last_connection_stays_until_the_client_leaves(
    ending: Ending | None,
) -> None:
    """Where the server did not end it, nor the recording say how, it is held."""
    with Replay(_recording(_connection(_HELLO, ending=ending))) as replay:
        client = Foreign(replay.url, None)
        client.recv()
        replay.wait_until_played()
        assert client.is_pinged()
        client.hang_up()


def test_the_answer_to_a_close_is_not_played() -> None:
    """What a server said after its client had closed is for that client alone."""
    client_close = RecordedFrame(0.0, "client", Frame(0x88, b"\x03\xe8"))
    server_close = RecordedFrame(0.0, "server", Frame(0x88, b"\x03\xe8"))
    recorded = _connection(
        _HELLO, client_close, server_close, ending=Ending(0.0, "server")
    )
    with Replay(_recording(recorded)) as replay:
        client = Foreign(replay.url, None)
        client.recv()
        replay.wait_until_played()
        assert client.is_pinged()
        client.hang_up()


def test_pongs_are_given_and_not_played() -> None:
    """Only a ping of this client brings one."""
    pong = RecordedFrame(0.0, "server", Frame(0x8A, b"old"))
    with Replay(_recording(_connection(pong, _HELLO))) as replay:
        client = Foreign(replay.url, None)
        assert client.recv_frame()[0] == websocket.ABNF.OPCODE_TEXT
        assert client.is_pinged()
        client.hang_up()


def test_a_client_may_leave_early() -> None:
    """A replay that is left goes on with the next client."""
    late = _text(3600.0, "server", type="pong")
    with Replay(_recording(_connection(_HELLO, late))) as replay:
        for _ in range(2):
            client = Foreign(replay.url, None)
            client.recv()
            client.hang_up()
        with pytest.raises(TimeoutError, match="not played"):
            replay.wait_until_played(0)


def test_a_replay_needs_something_to_play() -> None:
    """An empty recording and a speed of nothing are refused."""
    with pytest.raises(ConfigurationError, match="no connection was recorded"):
        Replay(_recording())
    with pytest.raises(ConfigurationError, match="above 0"):
        Replay(_recording(_connection()), speed=0)


def test_what_sim_breaks_is_broken_again(tmp_path: Path) -> None:
    """A recording of garbage replays as the same garbage."""
    path = tmp_path / "session.gz"
    with SimServer() as sim, Recorder(path, sim.url) as recorder:
        client = Foreign(recorder.url, "k")
        client.recv()
        sim.send(Pong(server_time_ms=1))
        sim.faults.garbage(50)
        assert client.socket.sock is not None
        raw = b""
        while len(raw) < 50:
            raw += client.socket.sock.recv(100)
        client.hang_up()
    with Replay(path, speed=math.inf) as replay:
        client = Foreign(replay.url, "k")
        client.recv()
        assert client.socket.sock is not None
        again = b""
        while len(again) < len(raw):
            again += client.socket.sock.recv(100)
        client.hang_up()
    assert again == raw
