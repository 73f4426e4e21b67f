"""
The app: its name, and what Django is to know of it.
"""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from lasersell.contrib.django.checks import check_order, check_settings
from lasersell.contrib.django.stream import worker

__all__ = ["LaserSellConfig"]


class LaserSellConfig(AppConfig):
    """
    The app ``lasersell.contrib.django``; it has no models and no admin.

    Attributes:
        worker: This process's candidate for the stream.
    """

    name = "lasersell.contrib.django"
    label = "lasersell"
    verbose_name = "LaserSell"
    # From here on the hooks of web servers know it.
    worker = worker

    def ready(self) -> None:
        """Register the system checks; nothing is started."""
        register(check_settings)
        register(check_order)
