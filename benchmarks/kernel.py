"""
A notebook's kernel, to measure in.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from jupyter_client.manager import KernelManager

from benchmarks.work import Numbers, Place

__all__ = ["run_in_kernel"]

PATIENCE = 100.0
"""Seconds that a kernel may take for its job."""


def run_in_kernel(module: str, job: str, place: Place) -> Numbers:
    """Do a job in a kernel whose outputs are read, as a notebook's are."""
    printed: list[str] = []

    def take(message: dict[str, Any]) -> None:
        content = message["content"]
        traceback: Iterable[str] = content.get("traceback", ())
        printed.extend((content.get("text", ""), *traceback))

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        client.execute_interactive(
            f"import json; from benchmarks.work import Place, Work\n"
            f"from {module} import {job}\n"
            f"place = Place({place.port}, {place.run}, Work.from_json({place.work.to_json()!r}))\n"
            f"print('RESULT', json.dumps({job}(place)))",
            output_hook=take,
            timeout=PATIENCE,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    text = "".join(printed)
    _, found, result = text.partition("RESULT")
    if not found:
        raise RuntimeError(f"the kernel did not do its job: {text}")
    numbers: Numbers = json.loads(result)
    return numbers
