"""The live view, in a shell that only notes what is published; see test_kernel.py too."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from IPython.core.events import EventManager, available_events

from lasersell.contrib.jupyter.live import LiveView, _Line
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from tests.integration.session.helpers import WALLET, open_session, until
from tests.patience import PATIENCE


class Shell:
    """What a live view needs of a kernel's shell."""

    def __init__(self) -> None:
        shell: Any = self
        self.events = EventManager(shell, available_events)
        self.display_pub = self
        self.drawn: list[str] = []
        self.ids: set[str] = set()
        self.is_broken = False
        self._changed = threading.Condition()

    def publish(
        self, data: dict[str, str], *, transient: dict[str, str], update: bool
    ) -> None:
        """Note a drawing."""
        with self._changed:
            assert update == bool(self.drawn)
            if self.is_broken:
                raise OSError("the socket is closed")
            self.drawn.append(data["text/html"])
            self.ids.add(transient["display_id"])
            self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait until a drawing has a text in it."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.drawn[-1], PATIENCE)


def _view(session: StreamSession, shell: Shell, *, keep: bool = False) -> LiveView:
    kernel_shell: Any = shell
    return LiveView(session, kernel_shell, 0.01, 5, keep=keep)


def _threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if "-live-" in name or "-observers-" in name]


def test_a_view_draws_into_one_output(sim: SimServer) -> None:
    """Positions, profits and events as they come, and takes none of them away."""
    shell = Shell()
    with open_session(sim) as session, _view(session, shell):
        assert "no open positions" in shell.drawn[0]
        sim.buy(WALLET, profits_pct=[2.0])
        shell.wait_for("<b>SIM1</b>")
        shell.wait_for("+2.00")
        shell.wait_for("position_opened")
        until(session, "position_opened")
    assert len(shell.ids) == 1
    assert _threads() == []


def test_a_view_ends_with_its_cell(sim: SimServer) -> None:
    """One that is kept does not; then the session ends it."""
    shell = Shell()
    with open_session(sim) as session:
        view, kept = _view(session, Shell()), _view(session, shell, keep=True)
        of_the_cell = _view(session, Shell())
        assert view.is_running
        view.stop()
        shell_of_cell: Any = of_the_cell._shell
        shell_of_cell.events.trigger("post_run_cell", None)
        assert not of_the_cell.is_running
        shell.events.trigger("post_run_cell", None)
        assert kept.is_running
        session.close()
        assert kept.wait(PATIENCE)
    assert ">closed</span>" in shell.drawn[-1]
    assert _threads() == []


def test_a_stopped_view_hangs_on_nothing(sim: SimServer) -> None:
    """No callback of the shell and no hook of the session is left."""
    shell = Shell()
    with open_session(sim) as session:
        view = _view(session, shell)
        view.stop()
        view.stop()
        assert view.wait(0)
        assert shell.events.callbacks["post_run_cell"] == []
        assert _threads() == []


def test_a_view_that_cannot_draw_says_so(
    sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, once; the session goes on."""
    shell = Shell()
    with open_session(sim) as session, caplog.at_level(logging.ERROR, "lasersell"):
        view = _view(session, shell)
        shell.is_broken = True
        assert view.wait(PATIENCE)
        assert session.state == "live"
    assert "the live view failed" in caplog.text


def test_a_line_covers_the_whole_time_with_few_points() -> None:
    """The longer it gets, the coarser; the latest value is always its last."""
    line = _Line()
    for value in range(1_000):
        line.add(float(value))
        assert line.values[-1] == value
        assert len(line.values) <= 60
    assert line.values[0] < 100
    assert len(line.values) > 25
