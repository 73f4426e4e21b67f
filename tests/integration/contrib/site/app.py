"""The app that takes notes."""

from __future__ import annotations

from django.apps import AppConfig
from django.dispatch import receiver

from lasersell.contrib.django import signals
from lasersell.session.events import StreamEvent
from tests.integration.contrib.site.notes import note


class NotesConfig(AppConfig):
    name = "tests.integration.contrib.site"

    def ready(self) -> None:
        """Connect the receiver once all apps are there."""
        receiver(signals.event)(take_note)


def take_note(event: StreamEvent, **_: object) -> None:
    """Note any event."""
    note(event)
