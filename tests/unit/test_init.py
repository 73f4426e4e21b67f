from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import lasersell
from lasersell import errors

_EXTRAS = ["aiohttp", "asyncio", "click", "cryptography", "rich", "solders"]
_EXTRAS += ["IPython", "matplotlib", "pandas", "prometheus_client"]


def test_every_public_name_exists() -> None:
    """What is announced can be imported."""
    assert [name for name in lasersell.__all__ if not hasattr(lasersell, name)] == []


def test_every_error_is_public() -> None:
    """Whoever catches one of our errors need not know in which module it lives."""
    assert set(errors.__all__) <= set(lasersell.__all__)


def test_importing_the_package_is_light() -> None:
    """``import lasersell`` loads nothing that a stream does not need."""
    code = f"import lasersell, sys; print(*set({_EXTRAS}) & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_a_python_without_gil_is_refused_at_import() -> None:
    """The lanes would lose events there; the error says what to use."""
    code = "import sys; sys._is_gil_enabled = lambda: False; import lasersell"
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "does not support free-threaded Python yet" in result.stderr


def test_types_are_checked_for_the_oldest_python() -> None:
    """What the package says it needs is what mypy takes the standard library of."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    (oldest,) = re.findall(r'^requires-python = ">=(3\.\d+)', text, re.MULTILINE)
    (checked,) = re.findall(r'^python_version = "(3\.\d+)"', text, re.MULTILINE)
    assert checked == oldest
