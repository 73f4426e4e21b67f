"""What a user of gunicorn writes."""

from __future__ import annotations

from lasersell.contrib.gunicorn import post_worker_init, worker_exit

__all__ = ["post_worker_init", "worker_exit"]
