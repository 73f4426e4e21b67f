"""The settings; what is secret or differs from host to host is in the environment."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent.parent

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only for trying it out")
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "exitboard.urls"
WSGI_APPLICATION = "exitboard.wsgi.application"
INSTALLED_APPS = ["lasersell.contrib.django", "board"]
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXITBOARD_DATABASE", HERE / "exitboard.sqlite3"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGGING = {
    "version": 1,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"lasersell": {"handlers": ["stderr"], "level": "INFO"}},
}

# The API key comes from LASERSELL_API_KEY.
LASERSELL = {
    "configure": {
        "wallet_pubkeys": [os.environ["LASERSELL_WALLET"]],
        "deadline_timeout_sec": 300,
    },
    "strategy": {"target_profit_pct": 5.0, "stop_loss_pct": 1.5},
}
