from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lasersell.protocol.client import UpdateStrategy
from lasersell.sim import SimServer
from tests.integration.session.helpers import (
    STRATEGY,
    open_session,
    until,
)
from tests.patience import PATIENCE

_TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not _TASKS.exists(), reason="needs Linux's /proc")
def test_an_idle_session_sleeps(sim: SimServer) -> None:
    """Its threads wake a few times a second at most, not a hundred (13.1, P32, P37)."""
    with open_session(sim) as session:
        until(session, "hello_ok")
        # The simulator's thread ticks, and is not the session's.
        threads = [
            thread
            for thread in threading.enumerate()
            if thread.name.startswith("lasersell-")
            and not thread.name.startswith("lasersell-sim-")
        ]
        assert {t.name.split("-")[1] for t in threads} >= {"supervisor", "reader"}
        before = sum(map(_wake_ups, threads))
        with pytest.raises(TimeoutError):
            session.recv(timeout=1.0)
        assert sum(map(_wake_ups, threads)) - before <= 10


def _wake_ups(thread: threading.Thread) -> int:
    """Return how often a thread has gone to sleep so far."""
    status = (_TASKS / str(thread.native_id) / "status").read_text(encoding="utf-8")
    return int(status.split("voluntary_ctxt_switches:")[1].split()[0])


def test_a_command_is_written_by_who_gives_it(
    sim: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no queue to another thread, and no turn to wait for (13.1, P32, P35)."""
    with open_session(sim) as session:
        link: Any = session._stream.link
        transport = link.transport
        send = transport._send
        writers: list[int] = []

        def note(data: bytes) -> int:
            writers.append(threading.get_ident())
            sent: int = send(data)
            return sent

        monkeypatch.setattr(transport, "_send", note)
        session.update_strategy(STRATEGY)
        assert writers == [threading.get_ident()]
        sim.received.wait_for(UpdateStrategy, timeout=PATIENCE)
