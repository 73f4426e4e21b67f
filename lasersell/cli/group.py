"""The group of all commands, and how their errors are shown."""

from __future__ import annotations

import json
import traceback
from importlib import import_module
from types import ModuleType

import click
from click.shell_completion import CompletionItem

from lasersell.cli.codes import FAILED, code_of
from lasersell.cli.common import Common, CommonOptions
from lasersell.cli.printable import printable
from lasersell.errors import LaserSellError, MissingExtraError

__all__ = ["group"]

_COMMANDS = {
    "completion": "Print the script that completes commands in your shell.",
    "demo": "Show a session against an embedded server, in at most 20 s.",
    "doctor": "Check all that can be wrong between here and the stream.",
    "journal": "List or export what `lasersell run` has done.",
    "record": "Record what a program and the stream say to each other.",
    "relay": "Publish one stream over Redis, or stand by, until stopped.",
    "replay": "Serve a recorded stream until Ctrl-C.",
    "run": "Sell each position that an exit signal names, until stopped.",
    "sim": "Serve a simulated LaserSell stream until Ctrl-C.",
    "watch": "Watch the positions of your wallets live, and ask for exits.",
}
"""Each command and what it does; it is the object of that name in its own module."""


class _Commands(CommonOptions, click.Group):
    """
    A group that imports a command when it runs, and shows its error in one line.

    So ``--help`` is quick, and needs no extra that some other command needs.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*_COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now; None where there is none."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        try:
            command = getattr(_import(cmd_name), cmd_name)
        except MissingExtraError:
            if ctx.resilient_parsing:
                return None  # a shell completes what it can
            raise
        assert isinstance(command, click.Command), "a module holds its command"
        return command

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  the signature is click's
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the name of a command without importing any."""
        names = [
            CompletionItem(name, help=text)
            for name, text in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; ``-v`` prints the traceback before the line."""
        common = ctx.ensure_object(Common)
        try:
            return super().invoke(ctx)
        except (
            click.ClickException,
            click.exceptions.Exit,
            click.Abort,
            BrokenPipeError,
        ):
            raise
        except Exception as error:
            if common.verbose:
                traceback.print_exc()
            raise click.exceptions.Exit(_tell(error, common)) from error


def _import(name: str) -> ModuleType:
    try:
        return import_module(f"lasersell.cli.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        raise MissingExtraError("the command line", "cli") from error


def _tell(error: Exception, common: Common) -> int:
    """Print an error in one line, as text or as JSON; return the exit code it means."""
    if isinstance(error, LaserSellError):
        code, text = code_of(error), str(error)
    else:
        code = FAILED
        text = (
            f"a mistake of ours, {type(error).__name__}: {error}; please run it again "
            "with -v and report what it prints"
        )
    text = " ".join(text.split())
    line = f"Error: {printable(text)}"
    if common.as_json:
        line = json.dumps(
            {"error": text, "type": type(error).__name__, "exit_code": code}
        )
    click.echo(line, err=True)
    return code


@click.group(cls=_Commands)
@click.version_option(package_name="lasersell")
def group() -> None:
    """The LaserSell Exit Intelligence Stream, from the command line."""
