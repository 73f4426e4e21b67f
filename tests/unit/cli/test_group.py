from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

import lasersell
from lasersell.cli.group import group
from lasersell.errors import ConfigurationError


@pytest.fixture
def failing_command() -> Iterator[None]:
    """Add a command that fails as the library fails."""

    @group.command("fail")
    def fail() -> None:
        raise ConfigurationError("no API key: set LASERSELL_API_KEY")

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


def test_other_exceptions_are_not_hidden() -> None:
    """A bug of ours is not dressed up as a mistake of the user."""

    @click.command("bug")
    def bug() -> None:
        raise ZeroDivisionError

    group.add_command(bug)
    try:
        result = CliRunner().invoke(group, ["bug"])
    finally:
        del group.commands["bug"]
    assert isinstance(result.exception, ZeroDivisionError)
