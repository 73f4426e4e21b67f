"""In a real kernel: interrupts, cells that run again, the live view."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lasersell.protocol.server import PositionClosed, PositionOpened
from lasersell.sim import SimServer
from tests.integration.contrib.kernel import Kernel, Ran, started_kernel
from tests.unit.session.frames import WALLET

pytestmark = pytest.mark.slow

THREADS = """
import threading
print(sorted(t.name.rstrip("0123456789") for t in threading.enumerate()
             if t.name.startswith("lasersell")))
"""
AT_REST = "['lasersell-reader-', 'lasersell-supervisor-']"
"""The threads of a session that nobody watches."""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """Start one kernel for all tests."""
    with started_kernel() as kernel:
        ran = kernel.run(
            "%load_ext lasersell\n"
            "import os\n"
            "from lasersell import *\n"
            "from lasersell.contrib.jupyter import live\n"
        )
        assert ran.status == "ok", ran.text
        yield kernel


@pytest.fixture
def connect(kernel: Kernel, sim: SimServer, tmp_path: Path) -> Iterator[str]:
    """Return the code of a cell that connects; its session is closed afterwards."""
    yield (
        f"os.environ['LASERSELL_RUNTIME_DIR'] = {str(tmp_path / 'run')!r}\n"
        "session = StreamSession.connect(\n"
        f"    StreamClient('key', endpoint={sim.url!r}),\n"
        f"    StreamConfigure([{WALLET!r}], StrategyConfig(target_profit_pct=500.0)),\n"
        "    wait_configured=0, exclusive=True)\n"
    )
    ok(kernel.run("session.close()"))


def ok(ran: Ran) -> Ran:
    """Return what a cell did, which must not have failed."""
    assert ran.status == "ok", ran.text
    return ran


def interrupted(kernel: Kernel, request: str) -> Ran:
    """Interrupt a cell, and return what it did."""
    kernel.interrupt()
    ran = kernel.finish(request)
    assert ran.status == "error"
    assert "KeyboardInterrupt" in ran.text
    return ran


_RECEIVE = """
def take(count):
    while sum(e.type in ("position_opened", "position_closed") for e in seen) < count:
        event = session.recv()
        if not seen or event is not seen[-1]:
            seen.append(event)
seen = []
"""
_TELL = """
import json
print(json.dumps([[e.type, e.message.mint] for e in seen
                  if e.type in ("position_opened", "position_closed")]))
"""


def _sent(sim: SimServer) -> list[list[str]]:
    messages = [entry.item for entry in sim.sent.entries()]
    return [
        [message.type, message.mint]
        for message in messages
        if isinstance(message, PositionOpened | PositionClosed)
    ]


@pytest.mark.parametrize("beside", ["pass", "live(session)"])
def test_an_interrupt_of_recv_loses_no_event(
    kernel: Kernel, sim: SimServer, connect: str, beside: str
) -> None:
    """Every event comes, with and without a live view; of the view no thread is left."""
    ok(kernel.run(connect + _RECEIVE))
    for turn in range(3):
        first = sim.buy(WALLET)
        receiving = kernel.begin(f"{beside}\nprint('begin')\ntake(1_000)")
        kernel.until_printed(receiving, "begin")
        sim.buy(WALLET)
        interrupted(kernel, receiving)
        assert ok(kernel.run(THREADS)).text.strip() == AT_REST
        sim.sell(first)
        ok(kernel.run(f"take({3 * (turn + 1)})"))
    assert json.loads(ok(kernel.run(_TELL)).text) == _sent(sim)


def test_an_interrupt_of_a_view_leaves_no_thread_and_loses_no_event(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """A view that is the last expression of its cell runs until it is interrupted."""
    ok(kernel.run(connect + _RECEIVE))
    for _ in range(3):
        sim.buy(WALLET)
        watching = kernel.begin("live(session, rate=50)")
        kernel.until_updated(watching)
        sim.buy(WALLET)
        interrupted(kernel, watching)
        assert ok(kernel.run(THREADS)).text.strip() == AT_REST
    ok(kernel.run("take(6)"))
    assert json.loads(ok(kernel.run(_TELL)).text) == _sent(sim)


def test_a_view_is_one_output_that_changes(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """With the profits and events as they come; the last drawing says how it ended."""
    holding = sim.buy(WALLET, profits_pct=[1.25])
    ok(kernel.run(connect))
    watching = kernel.begin(
        "live(session, rate=50)\n"
        "session.wait_for('pnl_update', timeout=9)\n"
        "session.wait_for('position_closed', timeout=9)\n"
        "session.close()"
    )
    while "+1.25" not in kernel.until_updated(watching):
        pass
    sim.sell(holding)
    ran = ok(kernel.finish(watching))
    assert ran.html == []
    assert "position_closed" in ran.updates[-1]
    assert ">closed</span>" in ran.updates[-1]


def test_a_view_counts_deadlines_down(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """From one drawing to the next."""
    sim.buy(WALLET)
    ok(kernel.run(connect))
    ok(kernel.run("session.update_strategy_optional(deadline_timeout_sec=60)"))
    watching = kernel.begin("live(session, rate=20)")
    left = [60.0]
    while len(left) < 5:
        (seconds,) = re.findall(r"([\d.]+)&thinsp;s<", kernel.until_updated(watching))
        if float(seconds) < left[-1]:
            left.append(float(seconds))
    interrupted(kernel, watching)


def test_a_view_does_not_keep_its_session(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """Dropped, it is collected and closed, and the view stops."""
    ok(kernel.run(connect + "view = live(session, keep=True)"))
    ok(kernel.run("import gc, warnings; warnings.simplefilter('ignore')"))
    ok(kernel.run("del session; gc.collect(); assert view.wait(9)"))
    sim.wait_for_connections(0)
    assert ok(kernel.run(THREADS)).text.strip() == "[]"
    ok(kernel.run(connect))


_PIECES = """
import time
view = live(session)
handles = session.positions()
rows = [view._row(session, handle) for handle in handles]
html = view._page(session, rows)
def cpu_ms(work):
    took = []
    for _ in range(50):
        start = time.thread_time()
        work()
        took.append(time.thread_time() - start)
    return 1000 * sorted(took)[25]
print(len(handles), max(
    cpu_ms(lambda: [view._row(session, handle) for handle in handles[:4]]),
    cpu_ms(lambda: view._page(session, rows)),
    cpu_ms(lambda: view._publish(html, update=True)),
))
"""


def test_a_view_works_in_small_pieces(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """None is so long that another thread would wait for it, in CPU time of the thread."""
    for _ in range(20):
        sim.buy(WALLET)
    ok(kernel.run(connect))
    ok(kernel.run("while len(session.positions()) < 20: session.recv(timeout=9)"))
    told = ok(kernel.run(_PIECES)).text.rpartition(">")[2]
    count, longest_ms = told.split()
    assert int(count) == 20
    assert float(longest_ms) < 5.0


def test_a_view_stops_with_its_cell(kernel: Kernel, connect: str) -> None:
    """Unless it is to be kept; then it stops with the session."""
    ok(kernel.run(connect))
    ok(kernel.run("view = live(session)\nassert view.is_running"))
    assert ok(kernel.run("print(view)")).text.strip() == "<LiveView, stopped>"
    assert ok(kernel.run(THREADS)).text.strip() == AT_REST
    ok(kernel.run("view = live(session, keep=True)"))
    assert ok(kernel.run("print(view)")).text.strip() == "<LiveView, running>"
    ok(kernel.run("session.close()"))
    assert ok(kernel.run("print(view.wait(9))")).text.strip() == "True"
    assert ok(kernel.run(THREADS)).text.strip() == "[]"


@pytest.fixture(scope="module")
def passing_kernel() -> Iterator[Kernel]:
    """Start a kernel that may be shut down."""
    with started_kernel() as kernel:
        yield kernel


def test_a_view_stops_with_its_kernel(
    passing_kernel: Kernel, sim: SimServer, tmp_path: Path
) -> None:
    """Which ends by itself, in order, and is not killed."""
    ended = tmp_path / "ended"
    run = passing_kernel.run
    # What is registered first is done last.
    ok(
        run(
            f"import atexit, pathlib; atexit.register(pathlib.Path({str(ended)!r}).touch)"
        )
    )
    ok(run("from lasersell import *; from lasersell.contrib.jupyter import live"))
    configure = f"StreamConfigure([{WALLET!r}], StrategyConfig(stop_loss_pct=5.0))"
    client = f"StreamClient('key', endpoint={sim.url!r})"
    ok(run(f"session = StreamSession.connect({client}, {configure})"))
    ok(run("view = live(session, rate=50, keep=True)"))
    passing_kernel.shut_down()
    assert ended.exists()
    sim.wait_for_connections(0)


def test_a_cell_that_connects_can_be_run_again(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """Though Out and _ hold its session, which has the only place of its key."""
    for _ in range(3):
        ok(kernel.run(connect + "session", cell_id="connects"))
        ok(kernel.run("_"))
        sim.wait_for_connections(1)


def test_a_cell_without_an_id_can_be_run_again(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """It is known by its text, where the frontend sends no id."""
    for _ in range(3):
        ok(kernel.run(connect))
    sim.wait_for_connections(1)


def test_a_cell_that_failed_can_be_run_again(
    kernel: Kernel, sim: SimServer, connect: str
) -> None:
    """Its traceback holds the frames, and they hold the session."""
    failing = f"def run():\n    {connect.splitlines()[0]}\n    "
    failing += "\n    ".join(connect.splitlines()[1:]) + "\n    1 / 0\nrun()"
    for _ in range(2):
        assert "ZeroDivisionError" in kernel.run(failing, cell_id="fails").text
        sim.wait_for_connections(1)
    ok(kernel.run(connect, cell_id="fails"))


def test_views_are_shown_as_html(kernel: Kernel, sim: SimServer, connect: str) -> None:
    """Sessions, positions, events, counters, recorders; and other lists as ever."""
    sim.buy(WALLET)
    ok(kernel.run(connect))
    ok(kernel.run("event = session.wait_for('position_opened', timeout=9)"))
    ok(kernel.run("from lasersell.contrib.recorder import PnlRecorder"))
    for code in (
        "session",
        "session.positions()",
        "session.positions()[0]",
        "event",
        "session.stats()",
        "PnlRecorder(session)",
    ):
        (html,) = ok(kernel.run(code)).html
        assert 'class="lasersell"' in html
    assert ok(kernel.run("[1, 2]")).html == []
    assert ok(kernel.run("%unload_ext lasersell\nsession")).html == []
    ok(kernel.run("%load_ext lasersell"))
