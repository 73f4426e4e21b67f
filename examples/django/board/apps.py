"""The app; its receivers are connected when all apps are there."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class BoardConfig(AppConfig):
    """Positions and their exits, kept and shown."""

    name = "board"

    def ready(self) -> None:
        """Connect the receivers."""
        import_module("board.receivers")
