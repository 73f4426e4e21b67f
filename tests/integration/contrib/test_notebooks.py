"""The notebooks of the examples, in a real kernel and a real browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.contrib.notebooks import (
    NOTEBOOKS,
    THEMES,
    Theme,
    executed,
    rendered,
    screenshot,
)

_PLOTS = {"first_exit": 1, "strategy_study": 2}
_GAIN, _LOSS, _LINE = (26, 145, 86), (218, 74, 84), (63, 131, 214)
_COLORS = {"first_exit": (_GAIN, _LINE), "strategy_study": (_GAIN, _LOSS, _LINE)}


@pytest.fixture(scope="module")
def notebooks() -> dict[str, Any]:
    """Execute every notebook once."""
    return {path.stem: executed(path) for path in NOTEBOOKS}


def _outputs(notebook: Any) -> list[Any]:
    return [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(name: str, notebooks: dict[str, Any]) -> None:
    """From top to bottom; its outputs have the live view and the plots."""
    outputs = _outputs(notebooks[name])
    data = [output.get("data", {}) for output in outputs]
    views = [d["text/html"] for d in data if "lasersell" in d.get("text/html", "")]
    assert sum("image/png" in d for d in data) == _PLOTS[name]
    assert any("exit_signal_with_tx" in view for view in views)
    assert [
        o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"
    ] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_browser_shows_a_notebook(
    name: str, theme: Theme, notebooks: dict[str, Any], tmp_path: Path
) -> None:
    """On a light and on a dark page: letters, lines in both colours, and the plots."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium; apt-get install chromium")
    picture = tmp_path / "page.png"
    screenshot(rendered(notebooks[name], theme), picture, height=5_000)
    with Image.open(picture) as image:
        pixels = image.convert("RGB")
    colors = {color: count for count, color in pixels.getcolors(1 << 24) or []}
    background = pixels.getpixel((3, 3))
    assert isinstance(background, tuple)
    assert (sum(background) > 600) == (theme == "light")
    for expected in _COLORS[name]:
        assert _has_near(colors, expected), f"nothing is {expected}"
    letters = (20, 20, 20) if theme == "light" else (240, 240, 240)
    assert _has_near(colors, letters, tolerance=30)


def _has_near(
    colors: dict[Any, int], wanted: tuple[int, int, int], tolerance: int = 12
) -> bool:
    return any(
        all(abs(a - b) <= tolerance for a, b in zip(color, wanted, strict=True))
        for color in colors
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.name))
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    """They are of one machine and one day."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(not cell["outputs"] for cell in cells)
    assert all(cell["execution_count"] is None for cell in cells)
