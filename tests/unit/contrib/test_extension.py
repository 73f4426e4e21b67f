from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.events import EventManager, available_events
from IPython.core.formatters import DisplayFormatter

import lasersell
from lasersell.contrib.jupyter import extension, live
from lasersell.contrib.jupyter.extension import CellStreams
from lasersell.errors import ConfigurationError
from lasersell.session.positions import PositionHandle
from tests.unit.session.frames import opened


class Stream:
    """What can be closed."""

    def __init__(self) -> None:
        self.closes = 0

    def close(self, timeout: float) -> None:
        """Count."""
        assert timeout > 0
        self.closes += 1
        _open.discard(self)


_open: set[Stream] = set()


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> CellStreams:
    """Return what tracks the cells, of streams that are made here."""
    _open.clear()
    monkeypatch.setattr(extension, "open_streams", lambda: list(_open))
    return CellStreams()


def _run(
    cells: CellStreams, cell_id: str | None, *opened: Stream, text: str = ""
) -> None:
    info: Any = SimpleNamespace(cell_id=cell_id, raw_cell=text)
    cells.begin(info)
    _open.update(opened)
    cells.end(SimpleNamespace(info=info))


def test_a_cell_that_starts_again_closes_what_it_opened(cells: CellStreams) -> None:
    """And nothing else."""
    before, first, other = Stream(), Stream(), Stream()
    _open.add(before)
    _run(cells, "a", first)
    _run(cells, "b", other)
    _run(cells, "a", Stream())
    assert (before.closes, first.closes, other.closes) == (0, 1, 0)


def test_a_cell_without_an_id_is_known_by_its_text(cells: CellStreams) -> None:
    """As in a terminal."""
    stream = Stream()
    _run(cells, None, stream, text="connect()")
    _run(cells, None, text="other()")
    assert stream.closes == 0
    _run(cells, None, text="connect()")
    assert stream.closes == 1


def test_a_cell_in_a_cell_keeps_its_own(cells: CellStreams) -> None:
    """Both are closed by the outer one, which opened the inner one's too."""
    outer: Any = SimpleNamespace(cell_id="outer", raw_cell="")
    early, inner = Stream(), Stream()
    cells.begin(outer)
    _open.add(early)
    _run(cells, "inner", inner)
    cells.end(SimpleNamespace(info=outer))
    _run(cells, "outer")
    assert (early.closes, inner.closes) == (1, 1)


def test_the_cell_that_loads_the_extension_may_end(cells: CellStreams) -> None:
    """Its beginning was not seen."""
    cells.end(SimpleNamespace(info=SimpleNamespace(cell_id="a", raw_cell="")))


class Shell:
    """What the extension needs of a shell."""

    def __init__(self) -> None:
        self.display_formatter: Any = DisplayFormatter()
        shell: Any = self
        self.events = EventManager(shell, available_events)

    def html_of(self, value: object) -> str | None:
        """Return what a notebook would show."""
        data, _ = self.display_formatter.format(value)
        html: str | None = data.get("text/html")
        return html


def test_the_extension_shows_what_is_ours() -> None:
    """Positions and lists of them; other lists as ever; nothing once it is unloaded."""
    shell: Any = Shell()
    handle = PositionHandle(opened(1), 0.0)
    lasersell.load_ipython_extension(shell)
    for value in (handle, [handle]):
        assert 'class="lasersell"' in (shell.html_of(value) or "")
    assert shell.html_of([1, handle]) is None
    assert shell.html_of([]) is None
    lasersell.unload_ipython_extension(shell)
    assert shell.html_of(handle) is None
    assert not any(shell.events.callbacks.values())


def test_a_live_view_needs_a_notebook() -> None:
    """Elsewhere nothing would be drawn, or line after line."""
    with pytest.raises(ConfigurationError, match="output of a notebook"):
        live(None)  # type: ignore[arg-type]
