from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="lasersell-sdk needs Python 3.11"
)

_GUIDE = Path(__file__).parents[2] / "docs" / "migrating.md"
_MODULES = [
    "exit_api",
    "retry",
    "tx",
    "stream.client",
    "stream.session",
    "stream.proto",
]
_CLASSES = [
    ("exit_api", "ExitApiClient"),
    ("stream", "StreamClient"),
    ("stream", "StreamConnection"),
    ("stream", "StreamReceiver"),
    ("stream", "StreamSender"),
    ("stream", "StreamSession"),
]


def _names_in_guide() -> set[str]:
    return set(re.findall(r"\w+", _GUIDE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", _MODULES)
def test_the_guide_names_everything_the_official_sdk_exports(module: str) -> None:
    """Whoever comes from the official SDK finds each of its names."""
    exported = importlib.import_module(f"lasersell_sdk.{module}").__all__
    assert set(exported) <= _names_in_guide()


@pytest.mark.parametrize(("module", "name"), _CLASSES)
def test_the_guide_names_every_method(module: str, name: str) -> None:
    """Each public method of the classes one works with is in the guide."""
    owner = getattr(importlib.import_module(f"lasersell_sdk.{module}"), name)
    methods = {method for method in vars(owner) if not method.startswith("_")}
    assert methods <= _names_in_guide()
