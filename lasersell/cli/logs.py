"""Where the log of a command goes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Literal

__all__ = ["LOG_LEVELS", "LogTo", "logging_by", "stream_handler"]

LOG_LEVELS = ("debug", "info", "warning", "error")

LogTo = Literal["stderr", "stdout"]


class _JsonFormatter(logging.Formatter):
    """One JSON document per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the document."""
        document = {
            "time_ms": round(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document)


def stream_handler(log_to: LogTo, *, as_json: bool) -> logging.Handler:
    """Return a handler that writes to a standard stream, as text or as JSON."""
    handler = logging.StreamHandler(sys.stdout if log_to == "stdout" else sys.stderr)
    if as_json:
        handler.setFormatter(_JsonFormatter())
    else:
        # The journal of systemd has a time of its own.
        stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
        handler.setFormatter(
            logging.Formatter(f"{stamp}%(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        )
    return handler


@contextlib.contextmanager
def logging_by(handler: logging.Handler, level: str) -> Iterator[None]:
    """Hand the log of this package to one handler alone, from a level on."""
    logger = logging.getLogger("lasersell")
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
