"""
Draw the screens of the documentation: what real programs show in a real terminal.

Run by ``make screens``; needs tmux.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from lasersell.sim import SimServer
from tests.integration.cli.terminal import API_KEY, WALLET, Terminal

__all__ = ["draw_all", "to_svg"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PATIENCE = 60.0

# A picture that fetches a font from somebody is no picture any more.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def to_svg(name: str, screen: str) -> str:
    """Return a screen with its escape sequences as a picture."""
    # An empty line at the end: a picture ends just below its last base line.
    lines = [*screen.rstrip("\n").split("\n"), ""]
    console = Console(
        file=io.StringIO(),
        record=True,
        width=80,
        height=len(lines),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(Text.from_ansi("\n".join(lines)), no_wrap=True, crop=True)
    return console.export_svg(
        title=f"lasersell {name}", code_format=_FORMAT, unique_id=name
    )


def _save(name: str, screen: str) -> None:
    (IMAGES / f"{name}.svg").write_text(to_svg(name, screen), encoding="utf-8")


def draw_all() -> None:
    """Draw each screen anew."""
    IMAGES.mkdir(exist_ok=True)
    with SimServer(
        seed=7,
        volatility_pct=0.8,
        starter_holdings=5,
        liquidity_snapshots=True,
        auto_sell_after_ms=2000,
    ) as sim:
        environ = {
            "LASERSELL_STREAM_ENDPOINT": sim.url,
            "LASERSELL_API_KEY": API_KEY,
            "LASERSELL_API_URL": sim.api_url,
            "LASERSELL_RPC_URL": sim.rpc_url,
            "LASERSELL_WALLET": WALLET,
        }
        _save("doctor", _doctor(environ))
        _save("watch", _watch(environ))
    _save("demo", _demo())


def _in_terminal(path: str, environ: Mapping[str, str]) -> Terminal:
    own = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LASERSELL_RUNTIME_DIR": f"{path}/run",
    }
    return Terminal(Path(path), {**environ, **own})


def _doctor(environ: Mapping[str, str]) -> str:
    with (
        tempfile.TemporaryDirectory() as path,
        _in_terminal(path, environ) as terminal,
    ):
        terminal.type("clear; lasersell doctor")
        terminal.wait_for(lambda screen: re.search(r"^\d+ ok", screen, re.MULTILINE))
        return _told(terminal.picture, "$ lasersell doctor")


def _watch(environ: Mapping[str, str]) -> str:
    with (
        tempfile.TemporaryDirectory() as path,
        _in_terminal(path, environ) as terminal,
    ):
        terminal.type("lasersell watch --deadline 600 --trailing-stop 25")
        terminal.wait_for_text("live", "SIM5")
        terminal.press("Down", "Down", "x")
        terminal.wait_for_text("ask for the exit")
        terminal.press("y")
        terminal.wait_for_text("closed: sell_now")
        # Until there is something to see in the sparklines.
        terminal.wait_for(lambda screen: re.search("[▁-█]{10}", screen), PATIENCE)
        return terminal.picture


def _demo() -> str:
    with tempfile.TemporaryDirectory() as path, _in_terminal(path, {}) as terminal:
        terminal.type("clear; lasersell demo")
        terminal.wait_for(lambda screen: "profits in" in screen, PATIENCE)
        return _told(terminal.picture, "$ lasersell demo")


def _told(picture: str, command: str) -> str:
    """Return what a command told, under the line that ran it, without the next prompt."""
    lines = picture.rstrip("\n").split("\n")
    return "\n".join([command, *(line for line in lines if not line.startswith("$"))])


if __name__ == "__main__":
    draw_all()
