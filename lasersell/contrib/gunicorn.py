"""
The hooks of gunicorn: a stream for the whole application, whatever its framework is.

In ``gunicorn.conf.py``::

    from lasersell.contrib.gunicorn import post_worker_init, worker_exit

Each worker becomes a candidate once it has loaded the application, after the fork, with
``--preload`` and without. One leads, the others stand by.
"""

from __future__ import annotations

from typing import Protocol

from lasersell.contrib.worker import start_workers, stop_workers

__all__ = ["Worker", "post_worker_init", "worker_exit"]


class Worker(Protocol):
    """What we need of a worker of gunicorn."""

    alive: bool
    """Whether it goes on; False from the first signal to end."""


def post_worker_init(worker: Worker) -> None:
    """
    Start the candidates of this worker; gunicorn calls it in the worker.

    Raises:
        ConfigurationError: The settings are wrong; gunicorn then does not start.
    """
    start_workers(lambda: worker.alive)


def worker_exit(_server: object, _worker: Worker) -> None:
    """Stop them, so that another worker takes over at once; takes 2 s at most."""
    stop_workers()
