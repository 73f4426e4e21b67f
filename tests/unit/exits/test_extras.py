from __future__ import annotations

import builtins
import re
import subprocess
import sys
from pathlib import Path

import lasersell.exits

_IMPORT = """
import sys
sys.modules["solders"] = None
try:
    import lasersell.exits
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_missing_extra_says_how_to_install_it() -> None:
    """Without its library the package names the extra and the command."""
    result = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert result.stdout == (
        "MissingExtraError lasersell.exits needs the optional extra 'tx'; "
        "install it with: pip install 'lasersell[tx]'\n"
    )


def test_the_extra_that_is_named_exists() -> None:
    """What an error tells the user to install can be installed."""
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert re.search(r"^tx = \[", project, re.MULTILINE)


def test_every_public_name_exists() -> None:
    """What is announced can be imported, ``prove_ownership`` among it."""
    names = lasersell.exits.__all__
    assert [name for name in names if not hasattr(lasersell.exits, name)] == []
    assert "prove_ownership" in names


def test_no_public_name_hides_a_builtin() -> None:
    """``from lasersell.exits import *`` leaves ``TimeoutError`` what it was."""
    assert set(lasersell.exits.__all__).isdisjoint(dir(builtins))


def test_the_types_are_shipped() -> None:
    """Type checkers of those who use the package see its types."""
    assert (Path(lasersell.exits.__file__).parents[1] / "py.typed").is_file()
