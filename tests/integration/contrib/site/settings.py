"""Settings of a Django project that takes notes."""

from __future__ import annotations

import os

from tests.integration.contrib.site.notes import tables

_HERE = "tests.integration.contrib.site"

SECRET_KEY = "made-up"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = f"{_HERE}.urls"
WSGI_APPLICATION = f"{_HERE}.wsgi.application"
INSTALLED_APPS = [
    "lasersell.contrib.django",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    f"{_HERE}.app.NotesConfig",
]
STATIC_URL = "static/"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", ":memory:"),
    }
}
LASERSELL = tables()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(process)d %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
