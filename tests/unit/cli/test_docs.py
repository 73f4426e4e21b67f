from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from lasersell.cli.codes import EXIT_CODES
from lasersell.cli.common import common_options
from lasersell.cli.group import _COMMANDS, group

_ROOT = Path(__file__).parents[3]
_GUIDE = (_ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
_README = (_ROOT / "README.md").read_text(encoding="utf-8")


def _command(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_the_guide_has_every_command(name: str) -> None:
    """In its table."""
    table = _GUIDE.split("## What every command takes")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("name", ["watch", "doctor"])
def test_the_guide_has_the_options_of_what_it_explains(name: str) -> None:
    """Those that are for this command, and those of all."""
    for option in _command(name).params:
        if option.name not in ("timeout", "help"):
            assert any(flag in _GUIDE for flag in option.opts), option.opts


def test_the_guide_has_the_options_of_all_commands() -> None:
    """Each under all of its names."""
    table = _GUIDE.split("## What every command takes")[1]
    for option in common_options():
        for flag in option.opts:
            assert f"`{flag}" in table


def test_the_guide_has_the_exit_codes_of_the_program() -> None:
    """The table is what the commands say."""
    told = dict(re.findall(r"^\| (\d) \| (.*) \|$", _GUIDE, re.MULTILINE))
    assert told == {str(code): meaning for code, meaning in EXIT_CODES.items()}


@pytest.mark.parametrize("name", ["demo", "watch", "doctor"])
def test_the_pictures_of_the_readme_are_there(name: str) -> None:
    """Drawn by ``make screens``, whole in themselves."""
    assert f"(docs/images/{name}.svg)" in _README
    picture = (_ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "@font-face" not in picture
