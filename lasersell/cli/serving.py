"""How a command that serves something runs until it is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from lasersell.cli.common import Common

__all__ = ["serve", "wait_for_ever"]


class _HasUrl(Protocol):
    @property
    def url(self) -> str: ...


Server = TypeVar("Server", bound=_HasUrl)


def serve(
    server: AbstractContextManager[Server],
    banner: Callable[[Server], str],
    work: Callable[[Server], None],
    common: Common,
) -> None:
    """
    Run a server until Ctrl-C or SIGTERM.

    Args:
        server: What to enter, and to leave in the end.
        banner: Returns what to print once it runs.
        work: What to do meanwhile; torn out of it by the signal.
        common: Whether to print it as JSON.
    """
    # A shell that starts us in the background leaves SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with server as running:
            common.announce(banner(running), event="serving", url=running.url)
            work(running)
    except KeyboardInterrupt:
        common.announce("stopped", event="stopped")


def wait_for_ever(_server: object) -> None:
    """Do nothing until a signal comes."""
    threading.Event().wait()
