"""``lasersell completion``: have the shell complete commands and options."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Literal

import click
from click.shell_completion import get_completion_class

from lasersell.cli.common import Common, command, pass_common
from lasersell.errors import ConfigurationError

__all__ = ["completion"]

_SHELLS = ("bash", "zsh", "fish")


@command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@pass_common
def completion(common: Common, shell: Literal["bash", "zsh", "fish"] | None) -> None:
    """
    Print the script that completes commands and options in your shell.

    \b
    bash: eval "$(lasersell completion bash)"            in ~/.bashrc
    zsh:  eval "$(lasersell completion zsh)"             in ~/.zshrc
    fish: lasersell completion fish | source             in config.fish
    """  # noqa: D301  \b is click's mark of lines to leave as they are
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise ConfigurationError(
            f"there is no completion for {name or 'this shell'}; name one of "
            f"{', '.join(_SHELLS)}"
        )
    kind = get_completion_class(name)
    assert kind is not None, "click knows the shells that we offer"
    root = click.get_current_context().find_root()
    source = kind(root.command, {}, "lasersell", "_LASERSELL_COMPLETE").source_vars()
    script = kind.source_template % source
    common.announce(script, shell=name, script=script)
