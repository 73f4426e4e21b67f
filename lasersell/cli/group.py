"""The group of all commands, and how their errors are shown."""

from __future__ import annotations

import traceback
from importlib import import_module

import click

from lasersell.errors import LaserSellError

__all__ = ["MISTAKE", "group"]

MISTAKE = 2
"""Exit code of an error of this library, as click has it for a wrong option."""

_COMMANDS = {
    "demo": "Show a session against an embedded server, in at most 20 s.",
    "journal": "List or export what `lasersell run` has done.",
    "record": "Record what a program and the stream say to each other.",
    "replay": "Serve a recorded stream until Ctrl-C.",
    "run": "Sell each position that an exit signal names, until stopped.",
    "sim": "Serve a simulated LaserSell stream until Ctrl-C.",
}
"""Each command and what it does; it is the object of that name in its own module."""


class _Mistake(click.ClickException):
    exit_code = MISTAKE


class _Commands(click.Group):
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
        command = getattr(import_module(f"lasersell.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command), "a module holds its command"
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  the signature is click's
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; ``-v`` prints the traceback before the line."""
        try:
            return super().invoke(ctx)
        except LaserSellError as error:
            if ctx.params["verbose"]:
                traceback.print_exc()
            raise _Mistake(str(error)) from error


@click.group(cls=_Commands)
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="lasersell")
def group(verbose: bool) -> None:
    """The LaserSell Exit Intelligence Stream, from the command line."""
