"""``lasersell record``: write down what a program and the stream say to each other."""

from __future__ import annotations

from pathlib import Path

import click

from lasersell.cli.common import Common, command, pass_common
from lasersell.cli.serving import serve, wait_for_ever
from lasersell.stream.options import STREAM_ENDPOINT
from lasersell.testing import Recorder

__all__ = ["record"]


@command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen here.")
@click.option(
    "--port", default=8083, show_default=True, help="Port; 0 takes a free one."
)
@pass_common
def record(common: Common, file: Path, host: str, port: int) -> None:
    """
    Record a stream into FILE until Ctrl-C, between your program and its endpoint.

    Start your program with LASERSELL_STREAM_ENDPOINT set to what is printed. The
    file has every frame of both sides and no API key; run it again with
    `lasersell replay`.

    What is recorded is --endpoint, else the production stream: the environment is for
    your program. Its API key is passed on, and the lock of one stream per key is its
    own to take.
    """
    endpoint = common.endpoint or STREAM_ENDPOINT
    serve(
        Recorder(file, endpoint, host=host, port=port),
        lambda recorder: (
            f"recording {endpoint} into {file}; use "
            f"LASERSELL_STREAM_ENDPOINT={recorder.url}, Ctrl-C ends it"
        ),
        wait_for_ever,
        common,
    )
