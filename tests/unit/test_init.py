from __future__ import annotations

import subprocess
import sys

import lasersell
from lasersell import errors

_EXTRAS = ["aiohttp", "asyncio", "click", "cryptography", "rich", "solders"]


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
