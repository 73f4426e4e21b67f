"""
Which app a management command comes from, where several have one of the same name.
"""

from __future__ import annotations

from pathlib import Path

from django.apps import apps
from django.core.management import find_commands

__all__ = ["OURS", "apps_with", "next_after_ours"]

OURS = "lasersell.contrib.django"
"""The name of our app."""


def apps_with(command: str) -> list[str]:
    """Return the apps that have a command, as Django prefers them: its own comes last."""
    found = [
        config.name
        for config in apps.get_app_configs()
        if command in find_commands(str(Path(config.path, "management")))
    ]
    return [*found, "django.core"]


def next_after_ours(command: str) -> str:
    """Return the app whose command would run if ours were not there."""
    found = apps_with(command)
    return found[found.index(OURS) + 1]
