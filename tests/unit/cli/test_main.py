from __future__ import annotations

import subprocess
import sys

import pytest

_BARE = """
import sys
sys.modules[{missing!r}] = None
sys.argv[1:] = ["demo"]
from lasersell.cli.main import main
main()
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_bare_install_is_told_what_to_install(missing: str) -> None:
    """Without the extra, ``lasersell`` prints one line with the command that adds it."""
    result = _run(_BARE.format(missing=missing))
    assert result.stderr.strip().count("\n") == 0
    assert "pip install 'lasersell[cli]'" in result.stderr
    assert result.returncode == 2


def test_another_missing_module_is_not_blamed_on_the_extra() -> None:
    """A broken install shows what is broken."""
    result = _run(_BARE.format(missing="lasersell.cli.group"))
    assert "ModuleNotFoundError" in result.stderr
    assert "lasersell[cli]" not in result.stderr


def test_help_lists_the_commands() -> None:
    """``lasersell --help`` is the front door."""
    result = _run(
        "import sys; sys.argv[1:] = ['--help']; from lasersell.cli.main import main; main()"
    )
    assert "demo" in result.stdout
    assert result.returncode == 0
