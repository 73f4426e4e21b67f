"""
LaserSell for Django: an app that calls signal receivers with the events of the stream.

``INSTALLED_APPS = ["lasersell.contrib.django", ...]``, before ``django.contrib.staticfiles``,
and a setting ``LASERSELL``; see :mod:`lasersell.contrib.source`. Receivers connect to the
signals of :mod:`lasersell.contrib.django.signals`.

The stream is opened by ``manage.py lasersell_run``, by ``manage.py runserver`` in the
process that serves, and by the workers of a web server with its hook
(:mod:`lasersell.contrib.gunicorn`); by nothing else. Needs the extra ``django``.
"""

from __future__ import annotations

from lasersell.errors import MissingExtraError

try:
    import django as django
except ImportError as error:
    raise MissingExtraError("lasersell.contrib.django", "django") from error
