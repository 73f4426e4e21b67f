"""``manage.py runserver``: whichever it is without us, and the stream while it serves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lasersell.contrib.django.commands import next_after_ours
from lasersell.contrib.django.stream import worker

__all__ = ["Command"]

if TYPE_CHECKING:
    from django.core.management.commands.runserver import Command as Runserver
else:
    # That of staticfiles, say, which must not go missing.
    _app = next_after_ours("runserver")
    Runserver = import_module(f"{_app}.management.commands.runserver").Command


class Command(Runserver):
    """Opens the stream in the process that serves, never in the autoreloader's parent."""

    def add_arguments(self, parser: Any) -> None:
        """Add the option that leaves the stream closed."""
        super().add_arguments(parser)
        parser.add_argument(
            "--no-stream",
            action="store_false",
            dest="opens_stream",
            help="Do not open the LaserSell stream.",
        )

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """Open the stream now that the checks have passed; serving comes next."""
        handler = super().get_handler(*args, **options)
        if options["opens_stream"]:
            worker.start()
        return handler

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Serve, and close the stream in the end."""
        try:
            super().inner_run(*args, **options)
        finally:
            worker.stop()
