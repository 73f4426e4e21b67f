"""What the library complains of, as something to wait on."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Iterator


@contextlib.contextmanager
def complaints() -> Iterator[queue.SimpleQueue[str]]:
    """Collect what the library logs as errors, from the start of the block on."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.put(record.getMessage())

    collector = _Collector(logging.ERROR)
    log = logging.getLogger("lasersell")
    log.addHandler(collector)
    try:
        yield lines
    finally:
        log.removeHandler(collector)
