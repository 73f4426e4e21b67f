from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lasersell.cli.common import Common, command, pass_common, read_key_file
from lasersell.cli.group import group
from lasersell.errors import ConfigurationError
from lasersell.stream.options import STREAM_ENDPOINT

KEY = "sk-made-up-for-tests-7f3a"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Write a key file as it should be."""
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def telling_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add a command that tells what it was given, and logs a line of each level."""
    monkeypatch.delenv("LASERSELL_STREAM_ENDPOINT", raising=False)
    monkeypatch.delenv("LASERSELL_API_KEY", raising=False)
    log = logging.getLogger("lasersell.test")

    @command()
    @pass_common
    def tell(common: Common) -> None:
        log.debug("fine")
        log.warning("careful")
        client = common.client()
        common.announce(
            f"to {client.options.endpoint}", endpoint=client.options.endpoint
        )

    group.add_command(tell)
    yield
    del group.commands["tell"]


def tell(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(group, arguments)


def test_options_may_stand_on_either_side_of_the_command(key_file: Path) -> None:
    """Those after it win over those before it."""
    key = f"--api-key-file={key_file}"
    assert tell(key, "tell").stdout == f"to {STREAM_ENDPOINT}\n"
    assert tell("--endpoint", "wss://a", "tell", key).stdout == "to wss://a\n"
    both = tell("--endpoint", "wss://a", "tell", key, "--endpoint", "wss://b")
    assert both.stdout == "to wss://b\n"


def test_json_is_a_line_of_facts(key_file: Path) -> None:
    """What people read as text, machines read as an object."""
    result = tell("tell", "--api-key-file", str(key_file), "--json")
    assert json.loads(result.stdout) == {"endpoint": STREAM_ENDPOINT}


def test_the_log_goes_to_standard_error(key_file: Path) -> None:
    """Warnings by default, more if it is asked for."""
    key = ("--api-key-file", str(key_file))
    assert tell("tell", *key).stderr.split("WARNING")[1] == " careful\n"
    assert "DEBUG fine" in tell("tell", *key, "--log-level", "debug").stderr
    assert "careful" not in tell("tell", *key, "--log-level", "error").stderr


def test_the_log_is_json_where_json_is_asked_for(key_file: Path) -> None:
    """A line is an object with level, logger and message."""
    result = tell("tell", "--api-key-file", str(key_file), "--json")
    line = json.loads(result.stderr)
    assert (line["level"], line["message"]) == ("warning", "careful")
    assert line["logger"] == "lasersell.test"


def test_afterwards_the_log_is_as_before(key_file: Path) -> None:
    """A program that runs a command keeps its own handlers."""
    logger = logging.getLogger("lasersell")
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.setLevel(logging.CRITICAL)
    try:
        tell("tell", "--api-key-file", str(key_file))
        assert logger.level == logging.CRITICAL
    finally:
        logger.setLevel(before[1])
    assert (logger.handlers[:], logger.level, logger.propagate) == before


def test_no_key_is_one_line_that_says_where_to_put_it() -> None:
    """The file and the variable are both named."""
    result = tell("tell")
    assert result.exit_code == 2
    assert "--api-key-file" in result.stderr
    assert "LASERSELL_API_KEY" in result.stderr


def test_the_key_is_read_without_white_space(key_file: Path) -> None:
    """An editor's last newline is no part of it."""
    assert read_key_file(key_file) == KEY


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_key_file_is_told(key_file: Path, content: str) -> None:
    """It is no key."""
    key_file.write_text(content)
    with pytest.raises(ConfigurationError, match="is empty; put the key in it"):
        read_key_file(key_file)


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConfigurationError, match="cannot read the API key file"):
        read_key_file(tmp_path / "missing")


def test_a_key_file_that_others_may_read_is_warned_of(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the command that mends it, and without the key."""
    key_file.chmod(0o640)
    assert read_key_file(key_file) == KEY
    assert f"run: chmod 600 {key_file}" in caplog.text
    assert KEY not in caplog.text
