"""
The worker of a Django project: from events to signals.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import close_old_connections, connections

from lasersell.contrib.django.signals import SIGNALS
from lasersell.contrib.django.signals import event as any_event
from lasersell.contrib.source import SETTING, source_of
from lasersell.contrib.worker import Failure, Source, StreamWorker
from lasersell.session.events import StreamEvent

__all__ = ["deliver", "load_source", "worker"]


def load_source() -> Source:
    """
    Return the source that ``settings.LASERSELL`` describes.

    Raises:
        ConfigurationError: There is no such setting, or it is wrong.
    """
    return source_of(getattr(settings, SETTING, None), settings.SETTINGS_MODULE)


def deliver(event: StreamEvent, session: Any) -> list[Failure]:
    """Send the signals of an event; Django logs what fails."""
    kind = type(event.message)
    failures: list[Failure] = []
    for signal in (SIGNALS.get(event.type), any_event):
        # Most events are updates of a profit, several a second.
        if signal is None or not signal.has_listeners(kind):
            continue
        close_old_connections()
        try:
            answers = signal.send_robust(kind, event=event, session=session)
        finally:
            close_old_connections()
        failures += [
            (receiver, answer)
            for receiver, answer in answers
            if isinstance(answer, Exception)
        ]
    return failures


# The connections are those of the worker's own thread, which ends.
worker = StreamWorker(load_source, deliver, finish=connections.close_all)
"""This process's candidate for the stream."""
