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
from PIL import Image, ImageChops

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
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute()
    return notebook


def rendered(notebook: Any, theme: Theme) -> str:
    """Return a notebook as a page."""
    # A page of its own: without the two, it asks the network for scripts.
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        theme=theme, mathjax_url="", require_js_url=""
    )
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
            picture = IMAGES / f"{path.stem.replace('_', '-')}-{theme}.png"
            screenshot(rendered(notebook, theme), picture, height=6_000)
            _trim(picture)


def _trim(picture: Path) -> None:
    """Cut off what is empty below the page, and make the file small."""
    with Image.open(picture) as image:
        shown = image.convert("RGB")
    empty = Image.new("RGB", shown.size, shown.getpixel((2, shown.height - 2)))
    box = ImageChops.difference(shown, empty).getbbox()
    assert box is not None, "the page is empty"
    bottom = min(shown.height, box[3] + 30)
    shown.crop((0, 0, shown.width, bottom)).quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
