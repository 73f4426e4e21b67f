"""Four workers, one stream."""

from __future__ import annotations

from lasersell.contrib.gunicorn import post_worker_init, worker_exit

__all__ = ["post_worker_init", "worker_exit"]

wsgi_app = "exitboard.wsgi:application"
workers = 4
