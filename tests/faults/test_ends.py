"""Programs that end, and faces that are dropped, without close()."""

from __future__ import annotations

import gc
import threading
import warnings

import pytest

from lasersell._clock import Deadline
from tests.faults.client import CONFIGURE, connect, make_client
from tests.faults.exit_program import WAYS
from tests.faults.processes import running
from tests.faults.raw_server import Peer, RawServer
from tests.faults.wire import CLOSE, Frame
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_ends_is_not_held_up(way: str) -> None:
    """However a program ends, an open stream lets it, silently and soon."""
    with running("tests.faults.exit_program", way) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        late = Deadline(PATIENCE / 2)
        _, complaints = program.communicate(timeout=PATIENCE)
    assert not late.has_passed()
    assert complaints == ("as planned\n" if way == "raises" else "")


class _Goodbye:
    """A server that notes when it was told goodbye."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.frames: list[Frame] = []

    def __call__(self, peer: Peer) -> None:
        peer.greet()
        self.frames = peer.drain()
        self.told.set()


def test_a_face_that_is_dropped_closes_its_stream_and_says_so() -> None:
    """A connection nobody holds any more says goodbye, with a ResourceWarning."""
    goodbye = _Goodbye()
    with RawServer(goodbye) as server:
        held = [connect(server.endpoint)]
        with pytest.warns(ResourceWarning, match="dropped without close"):
            held.clear()
        assert goodbye.told.wait(PATIENCE)
    assert goodbye.frames[-1].opcode == CLOSE


def test_a_face_that_is_dropped_closes_even_if_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A warning that is turned into an error does not leave the stream open."""
    goodbye = _Goodbye()
    unraisable: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    monkeypatch.setattr("sys.excepthook", lambda *details: unraisable.append(details))
    with RawServer(goodbye) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        held = [connect(server.endpoint)]
        held.clear()
        assert goodbye.told.wait(PATIENCE)
    assert len(unraisable) == 1


def test_a_face_in_a_cycle_is_collected() -> None:
    """A connection that is part of a cycle is closed by the garbage collector."""
    goodbye = _Goodbye()
    with RawServer(goodbye) as server:
        cycle: list[object] = [connect(server.endpoint)]
        cycle.append(cycle)
        del cycle
        with pytest.warns(ResourceWarning, match="dropped without close"):
            gc.collect()
        assert goodbye.told.wait(PATIENCE)


def test_a_lane_that_is_held_keeps_its_stream_open() -> None:
    """Lanes that were split live on after their face was dropped."""
    goodbye = _Goodbye()
    with RawServer(goodbye) as server:
        lanes = make_client(server.endpoint).connect_lanes(CONFIGURE, wait_configured=0)
        held = list(lanes.split()[1:])
        del lanes
        gc.collect()
        assert held[0].recv(timeout=PATIENCE) is not None
        assert not goodbye.told.is_set()
        with pytest.warns(ResourceWarning, match="dropped without close"):
            held.clear()
        assert goodbye.told.wait(PATIENCE)
