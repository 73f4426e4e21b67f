"""How the CPythons of this machine are found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.interpreters import Interpreter, find_interpreters, pip_problem


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def _add(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_cpython_on_the_path_is_found(alone: Path) -> None:
    """The version is what the interpreter itself tells."""
    os.symlink(sys.executable, alone / "python3")
    (found,) = find_interpreters()
    assert found == Interpreter(sys.version_info[:3], str(alone / "python3"))


def test_each_version_is_found_once_oldest_first(alone: Path) -> None:
    """Two names of one version are one interpreter; what pyenv keeps counts, too."""
    _add(alone / "python3", "echo CPython 3.12.1")
    _add(alone / "python3.12", "echo CPython 3.12.1")
    _add(alone / "pyenv/versions/3.9.18/bin/python", "echo CPython 3.9.18")
    assert [found.name for found in find_interpreters()] == ["3.9.18", "3.12.1"]


def test_what_does_not_run_or_is_no_release_is_left_out(alone: Path) -> None:
    """Shims of a version that is not there, pre-releases and others are passed over."""
    _add(alone / "python2.7", "exit 127")
    _add(alone / "python3.15", "echo CPython 3.15.0a1")
    _add(alone / "python3.9", "echo PyPy 3.9.19")
    _add(alone / "python3.12-config", "echo CPython 3.12.1")
    assert find_interpreters() == []


def test_the_reason_of_pip_is_found_among_its_warnings() -> None:
    """Of all that pip says, its error counts; without one, its last words."""
    assert pip_problem("WARNING: old\nERROR: no such\nWARNING: new") == "ERROR: no such"
    assert pip_problem("Trace\n  No module named pip\n") == "  No module named pip"
    assert pip_problem("") == "no reason was given"
