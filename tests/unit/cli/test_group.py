from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

import lasersell
from lasersell.cli.common import command
from lasersell.cli.group import _COMMANDS, group
from lasersell.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    LaserSellError,
    MissingExtraError,
    RelayConnectError,
    SessionInUseError,
    TxError,
)


@pytest.fixture
def failing_command() -> Iterator[None]:
    """Add a command that fails as the library fails."""

    @command()
    def fail() -> None:
        raise ConfigurationError("no API key: set LASERSELL_API_KEY")

    group.add_command(fail)
    yield
    del group.commands["fail"]


def test_the_version_is_the_packages() -> None:
    """``lasersell --version`` tells the version of the package it runs."""
    result = CliRunner().invoke(group, ["--version"])
    assert lasersell.__version__ in result.output


@pytest.mark.usefixtures("failing_command")
def test_an_error_is_one_line_that_says_what_to_do() -> None:
    """A user sees the error's text and nothing of our insides."""
    result = CliRunner().invoke(group, ["fail"])
    assert result.stderr == "Error: no API key: set LASERSELL_API_KEY\n"
    assert result.exit_code == 2


@pytest.mark.usefixtures("failing_command")
def test_verbose_adds_the_traceback() -> None:
    """Who asks for more gets the traceback, and the same line last."""
    result = CliRunner().invoke(group, ["-v", "fail"])
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("Error: no API key: set LASERSELL_API_KEY\n")
    assert result.exit_code == 2


@pytest.mark.usefixtures("failing_command")
@pytest.mark.parametrize("arguments", [["fail", "-v"], ["fail", "--verbose"]])
def test_verbose_may_stand_after_the_command(arguments: list[str]) -> None:
    """The common options are taken on either side of the command's name."""
    result = CliRunner().invoke(group, arguments)
    assert result.stderr.startswith("Traceback")


@pytest.mark.usefixtures("failing_command")
def test_an_error_is_json_where_json_is_asked_for() -> None:
    """A machine gets the words, the kind of the error and the exit code."""
    result = CliRunner().invoke(group, ["fail", "--json"])
    assert json.loads(result.stderr) == {
        "error": "no API key: set LASERSELL_API_KEY",
        "type": "ConfigurationError",
        "exit_code": 2,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthenticationError("the key was refused"), 3),
        (ConnectError("nobody is there"), 4),
        (ApiError("the API is away"), 4),
        (RelayConnectError("Redis is away"), 4),
        (SessionInUseError(7), 6),
        (MissingExtraError("a part", "tx"), 2),
        (DecodeError("not a recording"), 2),
        (TxError("it was not taken", stage="submit"), 1),
    ],
)
def test_the_exit_code_tells_what_failed(error: LaserSellError, code: int) -> None:
    """A script can tell a refused key from a server that is away."""
    assert _ends_by(error).exit_code == code


def test_what_a_server_said_does_nothing_to_the_terminal() -> None:
    """Its words are in the error, and its escape sequences are not."""
    result = _ends_by(ConnectError("it said \x1b[2J"))
    assert result.stderr == "Error: it said ?[2J\n"


def test_a_bug_is_one_line_too_and_asks_to_be_reported() -> None:
    """It is not dressed up as a mistake of the user, and says how to see all of it."""
    result = _ends_by(ZeroDivisionError("division by\nzero"))
    assert result.stderr == (
        "Error: a mistake of ours, ZeroDivisionError: division by zero; please run it "
        "again with -v and report what it prints\n"
    )
    assert result.exit_code == 1


def _ends_by(error: Exception) -> Result:
    """Run a command that raises an error."""

    @command()
    def fails() -> None:
        raise error

    group.add_command(fails, "fails")
    try:
        return CliRunner().invoke(group, ["fails"])
    finally:
        del group.commands["fails"]


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_takes_the_common_options(name: str) -> None:
    """One style: the same options, in a section of their own."""
    shown = CliRunner().invoke(group, [name, "--help"]).stdout
    _, _, common = shown.partition("Common options:")
    for option in ("--endpoint", "--api-key-file", "--log-level", "--json", "-v"):
        assert option in common


def test_every_command_is_listed() -> None:
    """What is shown of a command is the first sentence of its own help."""
    shown = CliRunner().invoke(group, ["--help"]).stdout
    for name in _COMMANDS:
        assert f"\n  {name} " in shown


def test_the_names_of_commands_are_completed() -> None:
    """A shell is told the commands without one of them being imported."""
    environ = {
        "_LASERSELL_COMPLETE": "bash_complete",
        "COMP_WORDS": "lasersell re",
        "COMP_CWORD": "1",
    }
    result = CliRunner().invoke(group, prog_name="lasersell", env=environ)
    assert result.stdout == "plain,record\nplain,relay\nplain,replay\n"


def test_the_options_of_a_command_are_completed() -> None:
    """A shell is told the options that a command takes, and their choices."""
    environ = {
        "_LASERSELL_COMPLETE": "bash_complete",
        "COMP_WORDS": "lasersell journal --log-level w",
        "COMP_CWORD": "3",
    }
    result = CliRunner().invoke(group, prog_name="lasersell", env=environ)
    assert result.stdout == "plain,warning\n"
