"""
What ``manage.py check`` says about the setting and the order of the apps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from lasersell.contrib.django.commands import OURS, apps_with
from lasersell.contrib.source import SETTING, source_of
from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.stream.options import resolve_api_key

__all__ = ["check_order", "check_settings"]


def check_settings(**_: object) -> list[CheckMessage]:
    """Check the setting; without an API key too, for builds have none."""
    messages: list[CheckMessage] = []
    tables: Any = getattr(settings, SETTING, None)
    if _lacks_key(tables):
        messages.append(
            CheckWarning(
                "There is no LaserSell API key, so the stream cannot be opened here.",
                hint="Set LASERSELL_API_KEY in the environment of what serves.",
                id="lasersell.W001",
            )
        )
        tables = {**tables, "stream": {**tables.get("stream", {}), "api_key": "none"}}
    try:
        source_of(tables, settings.SETTINGS_MODULE)
    except ConfigurationError as error:
        messages.append(
            Error(
                str(error),
                hint="The tables of the setting are those of lasersell.contrib.source.",
                id="lasersell.E001",
            )
        )
    except MissingExtraError as error:
        messages.append(Error(str(error), id="lasersell.E002"))
    return messages


def _lacks_key(tables: Any) -> bool:
    if not isinstance(tables, Mapping) or tables.get("source", "stream") != "stream":
        return False
    stream = tables.get("stream", {})
    if (
        not isinstance(stream, Mapping)
        or "api_key" in stream
        or "api_key_env" in stream
    ):
        return False
    try:
        resolve_api_key(None)
    except ConfigurationError:
        return True
    return False


def check_order(**_: object) -> list[CheckMessage]:
    """Check that ``runserver`` is ours, which opens the stream and then calls the others'."""
    first = apps_with("runserver")[0]
    if first == OURS:
        return []
    return [
        CheckWarning(
            f"runserver is that of {first!r} and does not open the stream.",
            hint=f"List 'lasersell.contrib.django' before {first!r} in INSTALLED_APPS.",
            id="lasersell.W002",
        )
    ]
