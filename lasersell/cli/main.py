"""The entry point of ``lasersell``: it runs even where the extra is missing."""

from __future__ import annotations

import sys

from lasersell.errors import MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit; 2 is the exit code of a mistake in its use."""
    try:
        # A bare install has neither click nor rich, and must be told so kindly.
        from lasersell.cli.group import group  # noqa: PLC0415

        group(prog_name="lasersell")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "click":
            raise
        missing = MissingExtraError("the command line", "cli")
        print(f"Error: {missing}", file=sys.stderr)
        sys.exit(2)
