from __future__ import annotations

import subprocess
import sys

import pytest

_CODE = """
import sys
for name in {missing}:
    sys.modules[name] = None
import lasersell.contrib.gunicorn, lasersell.contrib.worker, lasersell.contrib.source
try:
    import {module}
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("extra", ["django", "flask"])
def test_a_missing_framework_is_named(extra: str) -> None:
    """Without it the module names the extra that installs it; the rest can be imported."""
    missing = ["django", "flask", "blinker", "redis", "filelock"]
    code = _CODE.format(missing=missing, module=f"lasersell.contrib.{extra}")
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert result.stdout.startswith("MissingExtraError")
    assert f"pip install 'lasersell[{extra}]'" in result.stdout
