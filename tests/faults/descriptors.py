"""Which sockets this process holds, as the kernel tells it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["client_sockets"]


def client_sockets(port: int) -> list[str]:
    """
    Return what this process holds of a stream to ``port`` of this machine.

    That is its connections, begun or made, from 127.0.0.1 or ::1, and its wake-up
    pairs: nobody else in these tests uses Unix sockets.
    """
    mine = _inodes()
    found = [
        f"tcp {local} -> port {port}"
        for table in ("tcp", "tcp6")
        for local, remote_port, inode in _connections(table)
        if remote_port == port and inode in mine and not local.startswith("0200007F")
    ]
    rows = Path("/proc/self/net/unix").read_text(encoding="ascii").splitlines()[1:]
    return found + [f"unix {row.split()[6]}" for row in rows if row.split()[6] in mine]


def _inodes() -> set[str]:
    inodes = set()
    for fd in os.listdir("/proc/self/fd"):
        # The descriptor that lists the directory is gone by now.
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{fd}")
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    return inodes


def _connections(table: str) -> list[tuple[str, int, str]]:
    lines = Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()
    rows = [line.split() for line in lines[1:]]
    return [(row[1], int(row[2].rpartition(":")[2], 16), row[9]) for row in rows]
