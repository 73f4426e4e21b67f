from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lasersell.cli.group import group


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    """It calls us for what may come next."""
    script = CliRunner().invoke(group, ["completion", shell]).stdout
    assert f"_LASERSELL_COMPLETE={shell}_complete" in script


def test_the_shell_of_the_user_is_the_default() -> None:
    """The environment names it."""
    result = CliRunner().invoke(group, ["completion"], env={"SHELL": "/bin/zsh"})
    assert "zsh_complete" in result.stdout


def test_a_shell_that_is_not_known_is_told() -> None:
    """With those that are."""
    result = CliRunner().invoke(group, ["completion"], env={"SHELL": "/bin/dash"})
    assert result.exit_code == 2
    assert "dash; name one of bash, zsh, fish" in result.stderr


def test_json_carries_the_script() -> None:
    """In one line."""
    result = CliRunner().invoke(group, ["completion", "bash", "--json"])
    assert "complete -o nosort" in json.loads(result.stdout)["script"]


def test_bash_completes_with_it(tmp_path: Path) -> None:
    """The script, sourced in a real shell, gives the commands and their options."""
    program = tmp_path / "lasersell"
    program.write_text(
        f"#!{sys.executable}\nfrom lasersell.cli.main import main\nmain()\n"
    )
    program.chmod(0o755)
    script = CliRunner().invoke(group, ["completion", "bash"]).stdout
    ask = (
        f'{script}\nPATH="{tmp_path}:$PATH"\n'
        "COMP_WORDS=(lasersell wat) COMP_CWORD=1\n"
        '_lasersell_completion lasersell; echo "${COMPREPLY[@]}"\n'
    )
    told = subprocess.run(
        ["bash", "--norc", "-c", ask],
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )
    assert told.stdout.split() == ["watch"]
