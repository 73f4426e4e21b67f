"""How much memory this process really holds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator

__all__ = ["bounded_memory", "resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def resident_bytes() -> int:
    """Return the resident size of this process, after giving back what is free."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * _PAGE


def _peak_bytes() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def bounded_memory(mebibytes: int) -> Iterator[None]:
    """Fail if the process grows by more than this while the block runs, even for a moment."""
    before = resident_bytes()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as control:
        control.write("5")  # the peak starts again from here
    yield
    grown = _peak_bytes() - before
    assert grown <= mebibytes * MIB, f"memory grew by {grown / MIB:.1f} MiB at its peak"
