"""Four workers with threads, for pages that stay connected; one stream."""

from __future__ import annotations

from lasersell.contrib.gunicorn import post_worker_init, worker_exit

__all__ = ["post_worker_init", "worker_exit"]

wsgi_app = "app:create_app()"
worker_class = "gthread"
workers = 4
threads = 16
