from __future__ import annotations

import subprocess
import sys

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


def test_every_public_name_exists() -> None:
    """What is announced can be imported."""
    import lasersell.exits  # noqa: PLC0415 - only here is the package itself tested

    names = lasersell.exits.__all__
    assert [name for name in names if not hasattr(lasersell.exits, name)] == []
