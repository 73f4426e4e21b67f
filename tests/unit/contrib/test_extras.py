from __future__ import annotations

import subprocess
import sys

import pytest

_CODE = """
import sys
for name in {missing}:
    sys.modules[name] = None
from lasersell.errors import MissingExtraError
try:
    import {module}
except MissingExtraError as error:
    print(error)
"""

_SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        pytest.param("lasersell.contrib.jupyter", ["IPython"], "jupyter", marks=_SLOW),
        pytest.param("lasersell.contrib.frames", ["pandas"], "jupyter", marks=_SLOW),
        pytest.param("lasersell.contrib.plots", ["matplotlib"], "plots", marks=_SLOW),
        ("lasersell.contrib.metrics", ["prometheus_client"], "metrics"),
    ],
)
def test_a_missing_extra_is_named(module: str, missing: list[str], extra: str) -> None:
    """With the command that installs it."""
    result = subprocess.run(
        [sys.executable, "-c", _CODE.format(module=module, missing=missing)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"pip install 'lasersell[{extra}]'" in result.stdout


def test_the_recorder_needs_no_extra() -> None:
    """It is for scripts too."""
    missing = ["IPython", "pandas", "matplotlib", "prometheus_client"]
    code = _CODE.format(module="lasersell.contrib.recorder", missing=missing)
    subprocess.run([sys.executable, "-c", code], check=True)
