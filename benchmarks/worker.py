"""
The process that runs one client on one job: ``python -m benchmarks.worker``.

Takes the names of the client and the job, the port of the load server, the number
of the run and the work; prints what was measured as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.work import Place, Work

__all__ = ["main"]


def main(client: str, job: str, port: str, run: str, work: str) -> None:
    module = importlib.import_module(f"benchmarks.clients.{client}")
    place = Place(int(port), int(run), Work.from_json(work))
    print(json.dumps(getattr(module, job)(place)))


if __name__ == "__main__":
    main(*sys.argv[1:])
