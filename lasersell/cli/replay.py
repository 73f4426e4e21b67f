"""``lasersell replay``: serve a recorded stream."""

from __future__ import annotations

from pathlib import Path

import click

from lasersell.cli.common import Common, command, pass_common
from lasersell.cli.serving import serve, wait_for_ever
from lasersell.testing import Replay

__all__ = ["replay"]


@command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How many times faster than it was recorded; inf waits for nothing.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen here.")
@click.option(
    "--port", default=8082, show_default=True, help="Port; 0 takes a free one."
)
@pass_common
def replay(common: Common, file: Path, speed: float, host: str, port: int) -> None:
    """
    Serve the recording in FILE as a stream, until Ctrl-C.

    The first client gets the first recorded connection, the next one the second;
    after the last it begins again. Any API key is let in.
    """
    serve(
        Replay(file, speed=speed, host=host, port=port),
        lambda running: f"serving {file} at {running.url}, Ctrl-C ends it",
        wait_for_ever,
        common,
    )
