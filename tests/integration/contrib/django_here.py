"""Django in the process of the tests, with nothing but our app."""

from __future__ import annotations

import django
from django.conf import settings

__all__ = ["set_up"]


def set_up() -> None:
    """Set Django up, once."""
    if settings.configured:
        return
    settings.configure(
        INSTALLED_APPS=["lasersell.contrib.django", "django.contrib.staticfiles"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ""}},
        LOGGING_CONFIG=None,
        SETTINGS_MODULE="a_project",
        STATIC_URL="static/",
        USE_TZ=True,
    )
    django.setup()
