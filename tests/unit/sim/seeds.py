"""How many random runs a property is shown on."""

from __future__ import annotations

import pytest

__all__ = ["on_seeds"]


def on_seeds(few: int, many: int = 1_000) -> pytest.MarkDecorator:
    """Run a test on few seeds by default, and on many where time does not matter."""
    slow = (pytest.mark.slow, pytest.mark.timeout(300))
    return pytest.mark.parametrize(
        "seeds",
        [
            pytest.param(range(few), id=f"{few}-seeds"),
            pytest.param(range(many), id=f"{many}-seeds", marks=slow),
        ],
    )
