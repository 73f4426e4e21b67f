"""``manage.py lasersell_run``: the stream in a process of its own."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lasersell.contrib.django.stream import worker
from lasersell.errors import LaserSellError

__all__ = ["Command"]


class Command(BaseCommand):
    """Leads or stands by until it is told to stop."""

    help = (
        "Opens the LaserSell stream and calls the receivers of its events, until Ctrl-C or "
        "SIGTERM. While another process of this project has the stream, it stands by."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Run; an error that ends the stream for good is the command's."""
        try:
            worker.run()
        except LaserSellError as error:
            raise CommandError(str(error)) from error
