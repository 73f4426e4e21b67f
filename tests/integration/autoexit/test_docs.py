from __future__ import annotations

import re
from pathlib import Path

from lasersell.cli.codes import EXIT_CODES
from lasersell.exits.auto_plan import AutoExitSettings

_GUIDE = (Path(__file__).parents[3] / "docs" / "auto_exit.md").read_text(
    encoding="utf-8"
)


def test_the_exit_codes_are_those_of_the_program() -> None:
    """The table in the guide is what the command says."""
    told = dict(re.findall(r"^\| (\d) \| (.*) \|$", _GUIDE, re.MULTILINE))
    said = {number: meaning.replace("`", "") for number, meaning in told.items()}
    assert said == {str(code): meaning for code, meaning in EXIT_CODES.items()}


def test_the_program_in_the_guide_compiles() -> None:
    """Each Python block is Python."""
    blocks = re.findall(r"```python\n(.*?)```", _GUIDE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "auto_exit.md", "exec")


def test_the_settings_in_the_guide_exist() -> None:
    """The names that the guide gives to settings are theirs."""
    settings = AutoExitSettings()
    for name in (
        "max_signal_age",
        "slippage_bps",
        "slippage_step_bps",
        "max_slippage_bps",
        "max_attempts",
        "max_asks",
    ):
        assert name in _GUIDE
        assert getattr(settings, name)
    assert f"`max_signal_age` ({settings.max_signal_age:g} s)" in _GUIDE
