"""
Reading a process's own clocks and counters. Linux: most of it is under /proc.
"""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from benchmarks.work import Numbers

__all__ = [
    "Meter",
    "busy_threads",
    "import_ms",
    "resident_mb",
    "spread",
    "wake_ups",
]

_SELF = Path("/proc/self")


def spread(values: Sequence[float], unit: str) -> Numbers:
    """Return the median, the 99th percentile and the largest, named for their unit."""
    ordered = sorted(values)
    return {
        f"p50_{unit}": _percentile(ordered, 0.50),
        f"p99_{unit}": _percentile(ordered, 0.99),
        f"max_{unit}": ordered[-1],
    }


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Meter:
    """CPU time of all threads and time on the wall, of a ``with`` block, in seconds."""

    cpu = 0.0
    wall = 0.0

    def __enter__(self) -> Meter:
        gc.collect()
        self.wall = time.perf_counter()
        self.cpu = time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cpu = time.process_time() - self.cpu
        self.wall = time.perf_counter() - self.wall

    def per_frame(self, frames: int) -> Numbers:
        """Return what ``frames`` cost each, and how many came a second."""
        return {"cpu_us": self.cpu / frames * 1e6, "frames_s": frames / self.wall}

    def cpu_percent(self) -> float:
        """Return the share of one core that was used."""
        return 100 * self.cpu / self.wall


def resident_mb() -> float:
    """Return the memory of this process in MB."""
    gc.collect()
    return _status(_SELF / "status", "VmRSS") / 1024


def wake_ups() -> int:
    """Return how often threads of this process have waited so far, all together."""
    tasks = (_SELF / "task").iterdir()
    return sum(_status(task / "status", "voluntary_ctxt_switches") for task in tasks)


def _status(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise LookupError(name)


@contextmanager
def busy_threads(count: int) -> Iterator[None]:
    """Run threads that compute in pure Python and never wait."""
    stop = threading.Event()

    def compute() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    threads = [threading.Thread(target=compute, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def import_ms(package: str) -> Numbers:
    """Return what importing a package costs a fresh interpreter."""
    code = (
        "import sys, time; before = len(sys.modules); start = time.perf_counter(); "
        f"import {package}; "
        "print((time.perf_counter() - start) * 1000, len(sys.modules) - before)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    return {"import_ms": float(shown[0]), "modules": float(shown[1])}
