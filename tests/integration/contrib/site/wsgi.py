"""What gunicorn serves of the Django project."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault(
    "DJANGO_SETTINGS_MODULE", "tests.integration.contrib.site.settings"
)
application = get_wsgi_application()
