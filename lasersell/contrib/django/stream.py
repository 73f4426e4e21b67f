"""
The worker of a Django project: from events to signals.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import close_old_connections, connections
from django.dispatch import Signal

from lasersell.contrib.django.signals import SIGNALS, callback_error
from lasersell.contrib.django.signals import event as any_event
from lasersell.contrib.source import SETTING, source_of
from lasersell.contrib.worker import Source, StreamWorker, callback_failed
from lasersell.session.events import StreamEvent

__all__ = ["deliver", "load_source", "worker"]


def load_source() -> Source:
    """
    Return the source that ``settings.LASERSELL`` describes.

    Raises:
        ConfigurationError: There is no such setting, or it is wrong.
    """
    return source_of(getattr(settings, SETTING, None), settings.SETTINGS_MODULE)


def deliver(event: StreamEvent, session: Any) -> None:
    """Send the signals of an event; a receiver that raises is reported, not raised."""
    for signal in (SIGNALS.get(event.type), any_event):
        # Most events are updates of a profit, several a second.
        if signal is not None and signal.has_listeners(type(event.message)):
            _send(signal, event, session)


def _send(signal: Signal, event: StreamEvent, session: Any) -> None:
    close_old_connections()
    try:
        answers = signal.send_robust(type(event.message), event=event, session=session)
    finally:
        close_old_connections()
    if event.type == "callback_error":
        return  # a receiver for errors that fails itself is only logged
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            _send(callback_error, callback_failed(event, receiver, answer), session)


# The connections are those of the worker's own thread, which ends.
worker = StreamWorker(load_source, deliver, finish=connections.close_all)
"""This process's candidate for the stream."""
