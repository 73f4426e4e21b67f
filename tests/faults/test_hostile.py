"""What a server, or someone in its place, may send once it is connected."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from typing import Any

import pytest

from lasersell._clock import Deadline
from lasersell.stream.client import StreamConnection
from tests.faults.client import connect, stream_socket, wait_for
from tests.faults.memory import bounded_memory
from tests.faults.raw_server import Peer, RawServer, Script, answer, drain
from tests.faults.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
    event,
    event_number,
    frame,
    pnl_frame,
)
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

EXBIBYTE = 1 << 60


def _next_event(connection: StreamConnection) -> int | None:
    return event_number(wait_for(connection, "pong"))


class _Hostile:
    """A script that does its worst, then reports how the client answered."""

    def __init__(self, worst: Script) -> None:
        self._worst = worst
        self.frames: list[Frame] = []
        self.over = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.greet()
        with contextlib.suppress(OSError):
            self._worst(peer)
        self.frames = peer.drain()
        self.over.set()

    def close_codes(self) -> list[int]:
        """Return the codes of the close frames the client sent."""
        assert self.over.wait(PATIENCE)
        return [frame.close_code for frame in self.frames if frame.opcode == CLOSE]


def _survive(worst: Script, **options: Any) -> tuple[Any, list[int]]:
    """
    Let a first connection do its worst and see the second one deliver an event.

    Returns the ``disconnected`` of the first, and the close codes it was told.
    """
    hostile = _Hostile(worst)
    with (
        RawServer(hostile, answer(event(7))) as server,
        connect(server.endpoint, **options) as connection,
    ):
        lost = wait_for(connection, "disconnected")
        assert wait_for(connection, "connected").number == 2
        assert _next_event(connection) == 7
        return lost, hostile.close_codes()


# Framing


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (frame(TEXT, b"x", reserved=4), "reserved bit"),
        (frame(TEXT, b"x", reserved=1), "reserved bit"),
        (frame(0x3, b"x"), "reserved opcode 3"),
        (frame(0xB, b"x"), "reserved opcode 11"),
        (frame(CONTINUATION, b"x"), "without a beginning"),
        (frame(TEXT, b"x", final=False) + frame(TEXT, b"y"), "inside a fragmented"),
        (frame(PING, b"x", final=False), "control frame"),
        (frame(PING, b"x" * 126), "control frame"),
        (frame(CLOSE, b"\x03"), "cut short"),
        (close_frame(999), "invalid code 999"),
        (close_frame(1005), "invalid code 1005"),
        (close_frame(5000), "invalid code 5000"),
        (b"\x81\x81abcdx", "masked"),
    ],
)
def test_broken_framing_costs_the_connection_and_nothing_else(
    data: bytes, problem: str
) -> None:
    """A breach of RFC 6455 is told as such, answered with 1002, and survived."""
    lost, codes = _survive(lambda peer: peer.send(data))
    assert problem in lost.cause
    assert codes == [1002]


def test_what_came_before_broken_framing_is_delivered() -> None:
    """The messages in front of the bad frame, in the same packet, are not lost."""
    data = event(1) + event(2) + frame(TEXT, b"x", reserved=7)
    with (
        RawServer(answer(data), answer()) as server,
        connect(server.endpoint) as connection,
    ):
        assert [_next_event(connection) for _ in range(2)] == [1, 2]
        wait_for(connection, "disconnected")


@pytest.mark.parametrize("size", [4 * EXBIBYTE, 2**63, (1 << 20) + 1])
def test_a_giant_frame_is_refused_by_its_header(size: int) -> None:
    """A frame over the limit is refused before its payload is taken."""

    def worst(peer: Peer) -> None:
        peer.send(frame(TEXT, b"", claimed=size))
        for _ in range(64):
            peer.send(bytes(1 << 20))

    with bounded_memory(16):
        lost, codes = _survive(worst)
    assert f"{size} bytes is over the limit" in lost.cause
    assert codes in ([1009], [])  # what was still under way may reset the connection


def test_a_giant_message_in_fragments_is_refused() -> None:
    """Fragments that add up to more than the limit are refused, in bounded memory."""

    def worst(peer: Peer) -> None:
        peer.send(frame(TEXT, b"x" * 65536, final=False))
        for _ in range(1000):
            peer.send(frame(CONTINUATION, b"x" * 65536, final=False))

    with bounded_memory(16):
        lost, _ = _survive(worst)
    assert "fragmented message is over the limit" in lost.cause


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "one byte"])
def test_ten_thousand_fragments_are_refused(payload: bytes) -> None:
    """A message in more than 4,096 fragments is refused."""

    def worst(peer: Peer) -> None:
        peer.send(frame(TEXT, payload, final=False))
        peer.send(frame(CONTINUATION, payload, final=False) * 10_000)

    lost, _ = _survive(worst)
    assert "more than 4096 fragments" in lost.cause


def test_a_message_in_many_fragments_within_the_limit_arrives() -> None:
    """Fragments are put together, with pings in between, one byte at a time."""
    text = event(5)[2:]
    parts = [
        frame(
            CONTINUATION if index else TEXT,
            text[index : index + 1],
            final=index == len(text) - 1,
        )
        + frame(PING, b"%d" % index)
        for index in range(len(text))
    ]
    pongs: list[Frame | None] = []

    def script(peer: Peer) -> None:
        peer.greet()
        for part in parts:
            for byte in part:
                peer.send(bytes((byte,)))
        pongs.extend(peer.read() for _ in parts)
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        assert _next_event(connection) == 5
    assert pongs == [Frame(PONG, b"%d" % index) for index in range(len(parts))]


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_are_survived(seed: int) -> None:
    """Whatever bytes come, the stream tells of it or drops them, and lives on."""
    chance = random.Random(seed)

    def worst(peer: Peer) -> None:
        for _ in range(20):
            # Mostly frames with a mistake, which get further than noise does.
            payload = chance.randbytes(chance.randrange(200))
            first = chance.choice([0x81, 0x82, 0x01, 0x80, 0x88, 0x89])
            data = bytes((first, len(payload) % 126)) + payload
            peer.send(data if chance.random() < 0.9 else payload)
        peer.reset()

    lost, _ = _survive(worst)
    assert lost.cause


# Content: the connection stays


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (frame(TEXT, b'{"type":"pong","x":"\xff\xfe"}'), "UTF-8"),
        (frame(TEXT, b'{"type":"pong","x":"\xed\xa0\x80"}'), "UTF-8"),
        (frame(TEXT, b"{not json"), "JSON"),
        (frame(TEXT, b""), "JSON"),
        (frame(TEXT, b"[" * 100_000), ""),
        (frame(TEXT, b'{"type":"pong"}'), "server_time_ms"),
        (frame(TEXT, b'{"type":"pong","server_time_ms":"7"}'), "server_time_ms"),
        (frame(BINARY, b"\x00\x01"), "binary"),
        (
            frame(BINARY, b"\x00", final=False) + frame(CONTINUATION, b"\x01"),
            "binary",
        ),
    ],
)
def test_content_that_makes_no_sense_is_undecodable(data: bytes, problem: str) -> None:
    """Bad UTF-8, bad JSON, a bad field, a binary frame: told, and the stream goes on."""
    with (
        RawServer(answer(data, event(9))) as server,
        connect(server.endpoint) as connection,
    ):
        # The high lane goes first, whatever came first.
        assert _next_event(connection) == 9
        undecodable = wait_for(connection, "undecodable")
        assert problem in undecodable.problem
        assert len(undecodable.raw) <= 4096
        assert connection.state == "live"


def test_a_flood_of_nonsense_is_kept_in_bounded_memory() -> None:
    """Undecodable frames nobody takes are dropped, oldest first."""

    def script(peer: Peer) -> None:
        peer.greet()
        for _ in range(500):
            peer.send(frame(TEXT, b"\xff" * 100_000))
        peer.send(event(3))
        peer.drain()

    with (
        bounded_memory(24),
        RawServer(script) as server,
        connect(server.endpoint) as connection,
    ):
        assert _next_event(connection) == 3


def test_a_flood_that_nobody_takes_is_kept_in_bounded_memory() -> None:
    """200,000 pnl updates cost a ring of 1,024 and no more, and are counted exactly."""
    number = 200_000
    block = pnl_frame() * 1000

    def script(peer: Peer) -> None:
        peer.greet()
        for _ in range(number // 1000):
            peer.send(block)
        peer.send(event(4))
        peer.drain()

    with (
        bounded_memory(16),
        RawServer(script) as server,
        connect(server.endpoint) as connection,
    ):
        assert _next_event(connection) == 4
        low = connection.stats().low
    assert low.dropped + low.delivered + low.waiting == number
    assert low.high_water <= 1024


# Close


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 3000, 4001])
def test_a_close_of_a_live_connection_is_reported_and_survived(code: int) -> None:
    """Whatever its code, a close is answered alike, told, and followed by a reconnect."""
    lost, codes = _survive(lambda peer: peer.send(close_frame(code, "because")))
    assert lost.close_code == code
    assert "because" in lost.cause
    assert lost.delay is not None
    assert codes == [code]


def test_a_close_without_code_is_answered() -> None:
    """An empty close frame counts as 1005 and is answered in order."""
    lost, codes = _survive(lambda peer: peer.send(frame(CLOSE)))
    assert lost.close_code == 1005
    assert codes == [1000]


def test_nothing_after_a_close_frame_is_delivered() -> None:
    """What follows a close frame does not count, what precedes it does."""
    data = event(1) + close_frame(1001) + event(2)
    with (
        RawServer(answer(data), answer(event(3))) as server,
        connect(server.endpoint) as connection,
    ):
        assert [_next_event(connection) for _ in range(2)] == [1, 3]


# Pings


def test_pings_are_answered_in_order_with_their_payload() -> None:
    """Each ping gets its pong, whatever its payload."""
    payloads = [b"", b"a", bytes(range(125)), b"\xff\xfe", b"last"]
    pongs: list[Frame | None] = []

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(*[frame(PING, payload) for payload in payloads])
        pongs.extend(peer.read() for _ in payloads)
        peer.send(event(1))
        peer.drain()

    with RawServer(script) as server, connect(server.endpoint) as connection:
        assert _next_event(connection) == 1
    assert pongs == [Frame(PONG, payload) for payload in payloads]


def test_an_unasked_pong_is_ignored() -> None:
    """A pong nobody waits for does no harm."""
    with (
        RawServer(answer(frame(PONG, b"?") * 1000, event(1))) as server,
        connect(server.endpoint) as connection,
    ):
        assert _next_event(connection) == 1


def test_a_ping_flood_without_reading_is_bounded_and_its_last_ping_answered() -> None:
    """Pongs that cannot be sent are not heaped up; the newest ping is answered."""
    number = 100_000
    pongs: list[bytes] = []
    narrowed = threading.Event()

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.greet()
        narrowed.wait(PATIENCE)
        for first in range(0, number, 1000):
            peer.send(*[frame(PING, b"%0125d" % n) for n in range(first, first + 1000)])
        peer.send(event(1))
        while not pongs or int(pongs[-1]) < number - 1:
            pong = peer.read()
            assert pong is not None
            pongs.append(pong.payload)
        peer.send(event(2))
        peer.drain()

    with (
        bounded_memory(8),
        RawServer(script) as server,
        connect(server.endpoint) as connection,
    ):
        stream_socket(connection).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        narrowed.set()
        events = [wait_for(connection, "pong", timeout=PATIENCE) for _ in range(2)]
        assert [event_number(message) for message in events] == [1, 2]
    assert pongs == sorted(pongs)
    assert len(pongs) == len(set(pongs)) < number


def test_a_peer_that_takes_no_pongs_is_given_up() -> None:
    """If the socket stays full of pongs for 5 seconds, the connection is lost."""
    late = Deadline(PATIENCE)

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.greet()
        while True:
            peer.send(frame(PING, b"x" * 125) * 1000)

    with (
        bounded_memory(16),
        RawServer(script, answer()) as server,
        connect(server.endpoint) as connection,
    ):
        lost = wait_for(connection, "disconnected", timeout=PATIENCE)
    assert "takes no bytes" in lost.cause
    assert not late.has_passed()


def test_a_server_that_never_reads_is_left_alone_after_close() -> None:
    """close() against a server that neither reads nor answers is quick."""

    def script(peer: Peer) -> None:
        peer.greet()
        drain(peer)

    with RawServer(script) as server:
        connection = connect(server.endpoint)
        late = Deadline(PATIENCE / 2)
        connection.close(timeout=PATIENCE)
        assert not late.has_passed()
