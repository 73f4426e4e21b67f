"""A real terminal to type in: tmux, with a server of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lasersell._clock import Deadline

__all__ = ["API_KEY", "PATIENCE", "WALLET", "Terminal", "needs_tmux"]

API_KEY = "sk-made-up-for-tests-7f3a"
WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
PATIENCE = 30.0
"""Seconds that only a failing test waits; Python is started in the terminal."""
_LOOK_SEC = 0.1

needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is missing: apt-get install tmux"
)


class Terminal:
    """
    One terminal of 80 x 24 with a shell in it; a context manager.

    Args:
        path: A directory of its own.
        environ: What the shell has in its environment, beside ours.
    """

    def __init__(self, path: Path, environ: dict[str, str]) -> None:
        self._socket = path / "tmux"
        self._environ = {
            **os.environ,
            **environ,
            "TERM": "screen-256color",
            "PS1": "$ ",
        }
        self._stop = threading.Event()

    def __enter__(self) -> Terminal:
        self._tmux(
            *("-f", os.devnull, "new-session", "-d", "-x", "80", "-y", "24"),
            "exec bash --norc --noprofile",
        )
        try:
            self.wait_for(str.strip)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", str(self._socket), *words],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    @property
    def screen(self) -> str:
        """What is on the screen now."""
        return self._tmux("capture-pane", "-p")

    @property
    def picture(self) -> str:
        """What is on the screen now, with the escape sequences that colour it."""
        return self._tmux("capture-pane", "-p", "-e")

    def is_as_it_was(self) -> bool:
        """Whether the cursor is shown, and the screen is the one of the shell."""
        flags = "#{alternate_on} #{cursor_flag}"
        return self._tmux("display-message", "-p", flags) == "0 1\n"

    @property
    def program(self) -> int:
        """The process id of what the shell runs now."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text()
        return int(children.split()[0])

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them."""
        self._tmux("send-keys", *keys)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def wait_for(
        self, is_there: Callable[[str], object], timeout: float = PATIENCE
    ) -> str:
        """Wait until something is true of the screen; return the screen."""
        deadline = Deadline(timeout)
        while True:
            screen = self.screen
            if is_there(screen):
                return screen
            assert not deadline.has_passed(), f"it did not come to that:\n{screen}"
            # A look now and then: tmux has nothing to wait on for a change.
            self._stop.wait(_LOOK_SEC)

    def modes(self, file: Path) -> str:
        """Return how the shell's terminal is set, as ``stty`` tells it."""
        self.type(f"clear; stty -a > {file}; echo done")
        self.wait_for(lambda screen: screen.startswith("done"))
        return file.read_text()

    def wait_for_text(self, *texts: str) -> str:
        """Wait until all of these are on the screen; return the screen."""
        return self.wait_for(lambda screen: all(text in screen for text in texts))
