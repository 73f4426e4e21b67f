"""
The notebooks of the examples: executed by a real kernel, shown by a real browser.

``python -m tests.integration.contrib.notebooks`` makes the pictures of the documents.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

__all__ = ["NOTEBOOKS", "Theme", "executed", "main", "rendered", "screenshot"]

_ROOT = Path(__file__).resolve().parents[3]
NOTEBOOKS = sorted((_ROOT / "examples" / "notebooks").glob("*.ipynb"))
IMAGES = _ROOT / "docs" / "images"

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

PATIENCE = 120
"""Seconds that a cell, and that a browser may take; only a failing test waits so long."""


def executed(path: Path) -> Any:
    """Return a notebook with the outputs of a new kernel; raises what a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute()
    return notebook


def rendered(notebook: Any, theme: Theme) -> str:
    """Return a notebook as a page."""
    # A page of its own: without the two, it asks the network for scripts.
    exporter = HTMLExporter(theme=theme, mathjax_url="", require_js_url="")
    page, _ = exporter.from_notebook_node(notebook)
    return str(page)


def screenshot(page: str, picture: Path, *, height: int) -> None:
    """Have a headless browser show a page, and take its picture."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                "--virtual-time-budget=5000",
                f"--window-size=1100,{height}",
                f"--screenshot={picture}",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )


def main() -> None:
    """Make the pictures of the documents, light and dark."""
    IMAGES.mkdir(exist_ok=True)
    for path in NOTEBOOKS:
        notebook = executed(path)
        for theme in THEMES:
            name = f"{path.stem.replace('_', '-')}-{theme}.png"
            page = rendered(notebook, theme)
            screenshot(page, IMAGES / name, height=HEIGHTS[path.stem])


HEIGHTS = {"first_exit": 3_000, "strategy_study": 4_000}
"""Of the pictures, in pixels."""

if __name__ == "__main__":
    main()
