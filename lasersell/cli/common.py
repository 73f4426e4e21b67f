"""
What every command takes: one set of options, one way to log, one way to fail.

The options may stand before the name of the command or after it. A command that opens
no stream takes ``--endpoint`` and ``--api-key-file`` too and has no use for them, so
that a script can pass the same options to each.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from lasersell.cli.logs import LOG_LEVELS, LogTo, logging_by, stream_handler
from lasersell.errors import ConfigurationError
from lasersell.stream.client import StreamClient

__all__ = [
    "Command",
    "Common",
    "CommonOptions",
    "command",
    "common_options",
    "force_option",
    "pass_common",
    "read_key_file",
]

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_KEY_FILE_LIMIT = 4096


@attrs.define
class Common:
    """
    The options that every command has.

    Attributes:
        endpoint: The stream; None is that of the environment, else the production one.
        api_key_file: The file with the API key; None is the environment.
        log_level: From which level on to log; None is the command's own.
        as_json: Whether the output is JSON.
        verbose: Whether an error is shown with its traceback.
    """

    endpoint: str | None = None
    api_key_file: Path | None = None
    log_level: str | None = None
    as_json: bool = False
    verbose: bool = False

    @property
    def api_key(self) -> str | None:
        """
        The API key of the file; None is that of the environment.

        Raises:
            ConfigurationError: The file cannot be read or is empty.
        """
        return None if self.api_key_file is None else read_key_file(self.api_key_file)

    def client(self) -> StreamClient:
        """
        Return the client of the stream that the options name.

        Raises:
            ConfigurationError: There is no API key, or something is wrong with it or
                with the endpoint.
        """
        key = self.api_key
        if key is None and not os.environ.get("LASERSELL_API_KEY", "").strip():
            raise ConfigurationError(
                "no API key; put it into a file and name that with --api-key-file, or "
                "into LASERSELL_API_KEY (keys are made at app.lasersell.io, Settings > "
                "API Keys)"
            )
        return StreamClient(key, endpoint=self.endpoint)

    def announce(self, text: str, **facts: Any) -> None:
        """Print a line for people, or its facts as one line of JSON."""
        click.echo(json.dumps(facts) if self.as_json else text)


def read_key_file(path: Path) -> str:
    """
    Return the API key in a file, without the white space around it.

    Raises:
        ConfigurationError: The file cannot be read, or there is no key in it. What is
            in it is not repeated.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_KEY_FILE_LIMIT).decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the API key file {path}: {error.strerror}"
        ) from error
    if not text:
        raise ConfigurationError(f"the API key file {path} is empty; put the key in it")
    if os.name == "posix" and status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        log.warning(
            "others may use the API key file %s (mode %o); run: chmod 600 %s",
            path,
            mode,
            path,
        )
    return text


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep the value of a common option, unless it was not given here."""
    common = ctx.ensure_object(Common)
    if value:
        assert param.name is not None, "an option has a name"
        setattr(common, param.name, value)


def common_options() -> list[click.Parameter]:
    """Return the options that every command takes."""
    return [
        click.Option(
            ["--endpoint"],
            metavar="URL",
            help="The stream; by default LASERSELL_STREAM_ENDPOINT, else production.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--api-key-file"],
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Read the API key from this file; by default LASERSELL_API_KEY.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--log-level"],
            type=click.Choice(LOG_LEVELS),
            help="Log from this level on.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            help="Print JSON.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            help="Show the traceback of an error.",
            expose_value=False,
            callback=_keep,
        ),
    ]


class CommonOptions(click.Command):
    """A command that takes the common options and lists them by themselves."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._common = common_options()
        self.params += self._common

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the options: those of the command first, then those of all."""
        own = [param for param in self.get_params(ctx) if param not in self._common]
        for title, params in (("Options", own), ("Common options", self._common)):
            records = [param.get_help_record(ctx) for param in params]
            listed = [record for record in records if record is not None]
            if listed:
                with formatter.section(title):
                    formatter.write_dl(listed)


class Command(CommonOptions):
    """
    One command of ``lasersell``.

    Args:
        log_level: From which level on it logs, if it is not told otherwise.
        log_to: Where it logs to.
    """

    def __init__(
        self,
        *args: Any,
        log_level: str = "warning",
        log_to: LogTo = "stderr",
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self._log_level = log_level
        self._log_to: LogTo = log_to

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, its log being shown."""
        common = ctx.ensure_object(Common)
        handler = stream_handler(self._log_to, as_json=common.as_json)
        with logging_by(handler, common.log_level or self._log_level):
            return super().invoke(ctx)


def command(**settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a :class:`Command` of a function; see there and click's own."""
    return click.command(cls=Command, **settings)


pass_common = click.make_pass_decorator(Common, ensure=True)
"""Hand the :class:`Common` options to the command, as its first argument."""


def force_option(function: F) -> F:
    """Add ``--force``."""
    decorate = click.option(
        "--force",
        is_flag=True,
        help="Open a stream even if another process holds the one of this API key.",
    )
    return decorate(function)
