from __future__ import annotations

import subprocess
import sys

import pytest

_IMPORT = """
import sys
sys.modules[{missing!r}] = None
try:
    import {module}
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    "module",
    ["lasersell.sim", pytest.param("lasersell.testing", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("missing", ["aiohttp", "solders"])
def test_a_missing_extra_says_how_to_install_it(missing: str, module: str) -> None:
    """Without its libraries the simulator names the extra and the command."""
    result = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(missing=missing, module=module)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert result.stdout == (
        "MissingExtraError the embedded server needs the optional extra 'sim'; "
        "install it with: pip install 'lasersell[sim]'\n"
    )
