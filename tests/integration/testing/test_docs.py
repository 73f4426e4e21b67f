from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_GUIDE = Path(__file__).parents[3] / "docs" / "testing.md"


@pytest.mark.slow
def test_the_tests_of_the_guide_pass_as_they_are(tmp_path: Path) -> None:
    """The code blocks of the guide are one file with three tests of a bot, all green."""
    blocks = re.findall(r"```python\n(.*?)```", _GUIDE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "test_bot.py").write_text("\n\n".join(blocks), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert "3 passed" in result.stdout, result.stdout + result.stderr
