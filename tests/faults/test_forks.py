"""What a forked child may do to its parent's stream: nothing."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

from lasersell.errors import ForkedError
from lasersell.stream.client import StreamConnection
from tests.faults.client import CONFIGURE, connect, wait_for
from tests.faults.processes import run_in_fork, running
from tests.faults.raw_server import Peer, RawServer, live
from tests.faults.wire import CLOSE, Frame, event, event_number
from tests.patience import PATIENCE


def _outcome(call: Any) -> str:
    try:
        return repr(call())
    except ForkedError as error:
        return f"ForkedError of {error.owner_pid}"
    except Exception as error:  # noqa: BLE001 - told to the parent
        return repr(error)


def test_every_call_of_the_child_is_refused_by_name() -> None:
    """Each public call in the child raises ForkedError, with the owner's pid."""
    with RawServer(live) as server, connect(server.endpoint) as connection:
        sender = connection.sender
        ping = sender.ping()
        strategy = CONFIGURE.strategy

        def report() -> dict[str, Any]:
            calls = {
                "recv": lambda: connection.recv(timeout=5),
                "for": lambda: list(connection),
                "stats": connection.stats,
                "ping": sender.ping,
                "wait": lambda: ping.wait(timeout=5),
                "update_strategy": lambda: sender.update_strategy(strategy),
                "close_position": lambda: sender.close_position(position_id=1),
                "request_exit_signal": lambda: sender.request_exit_signal(
                    position_id=1
                ),
                "mirror_buy_result": lambda: sender.mirror_buy_result("m", True),
            }
            return {name: _outcome(call) for name, call in calls.items()}

        outcomes = run_in_fork(report)
        owner = connection._stream.owner_pid
        assert outcomes == dict.fromkeys(outcomes, f"ForkedError of {owner}")


def test_a_parent_that_is_inside_recv_does_not_confuse_the_child() -> None:
    """Forked while another thread waits in recv(), the child still gets ForkedError."""
    with RawServer(live) as server, connect(server.endpoint) as connection:
        wait_for(connection, "hello_ok")
        thread = threading.Thread(target=lambda: list(connection))
        thread.start()
        outcomes = run_in_fork(
            lambda: {"recv": _outcome(lambda: connection.recv(timeout=5))}
        )
        connection.close()
        thread.join(PATIENCE)
    assert outcomes["recv"].startswith("ForkedError")


class _Witness:
    """A server that sees every frame, and says an event when it is told."""

    def __init__(self) -> None:
        self.speak = threading.Event()
        self.frames: list[Frame] = []

    def __call__(self, peer: Peer) -> None:
        peer.greet()
        self.speak.wait(PATIENCE)
        peer.send(event(8))
        self.frames = peer.drain()


def _use_and_close(connection: StreamConnection) -> dict[str, Any]:
    with contextlib.suppress(ForkedError):
        connection.sender.ping()
    connection.close()
    connection.__exit__(None, None, None)
    return {}


def test_the_parent_does_not_notice_its_children() -> None:
    """Whatever children do, the parent's connection sends nothing and goes on."""
    witness = _Witness()
    with RawServer(witness) as server, connect(server.endpoint) as connection:
        for _ in range(3):
            run_in_fork(lambda: _use_and_close(connection))
        witness.speak.set()
        assert event_number(wait_for(connection, "pong")) == 8
        assert connection.stats().reconnects == 0
    assert [frame.opcode for frame in witness.frames] == [CLOSE]


def test_a_child_may_have_a_stream_of_its_own() -> None:
    """In the child a new connection works, beside the parent's."""
    with RawServer(live) as server, connect(server.endpoint) as connection:

        def report() -> dict[str, Any]:
            with connect(server.endpoint) as own:
                return {"state": own.state, "session": own.session_id}

        assert run_in_fork(report) == {"state": "live", "session": 2}
        assert connection.state == "live"


def test_a_child_that_ends_like_a_program_leaves_the_parent_alone() -> None:
    """The exit hooks of a child neither hang nor speak on the parent's connection."""
    with running("tests.faults.fork_program") as program:
        answer, complaints = program.communicate(timeout=PATIENCE)
    assert complaints == ""
    assert json.loads(answer) == {"child": 0, "event": 8, "sent": [CLOSE]}
