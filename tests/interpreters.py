"""The CPythons of this machine."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.patience import PATIENCE

__all__ = ["Interpreter", "find_interpreters", "pip_problem"]

_PROBE = (
    "import platform as p; print(p.python_implementation() + ' ' + p.python_version())"
)


@attrs.frozen(order=True)
class Interpreter:
    """A CPython that runs."""

    version: tuple[int, ...]
    path: str

    @property
    def name(self) -> str:
        """The version as text."""
        return ".".join(map(str, self.version))


def find_interpreters() -> list[Interpreter]:
    """Return what is on the PATH and what pyenv keeps, one of each version, oldest first."""
    found: dict[tuple[int, ...], Interpreter] = {}
    for path in _candidates():
        interpreter = _probe(path)
        if interpreter is not None:
            found.setdefault(interpreter.version, interpreter)
    return sorted(found.values())


def _candidates() -> Iterator[Path]:
    for folder in os.get_exec_path():
        for path in Path(folder).glob("python[23]*"):
            if re.fullmatch(r"python\d(\.\d+)?", path.name):
                yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from pyenv.glob("versions/*/bin/python")


def _probe(path: Path) -> Interpreter | None:
    try:
        answer = subprocess.run(
            [path, "-c", _PROBE],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # A release has only numbers; pyenv has shims for versions that are not chosen.
    known = re.fullmatch(r"CPython (\d+)\.(\d+)\.(\d+)", answer.stdout.strip())
    if known is None:
        return None
    return Interpreter(tuple(map(int, known.groups())), str(path))


def pip_problem(said: str) -> str:
    """Return the sentence in which pip says why it failed; ``said`` is its stderr."""
    lines = said.strip().splitlines() or ["no reason was given"]
    return next((line for line in lines if line.startswith("ERROR: ")), lines[-1])
