"""
The hooks of gunicorn: a stream for the whole application, whatever its framework is.

In ``gunicorn.conf.py``::

    from lasersell.contrib.gunicorn import post_worker_init, worker_exit

Each worker becomes a candidate once it has loaded the application, after the fork, with
``--preload`` and without. One leads, the others stand by.
"""

from __future__ import annotations

from lasersell.contrib.worker import start_workers, stop_workers

__all__ = ["post_worker_init", "worker_exit"]


def post_worker_init(_worker: object) -> None:
    """
    Start the candidates of this worker; gunicorn calls it in the worker.

    Raises:
        ConfigurationError: The settings are wrong; gunicorn then does not start.
    """
    start_workers()


def worker_exit(_server: object, _worker: object) -> None:
    """Stop them, so that another worker takes over at once; takes 2 s at most."""
    stop_workers()
