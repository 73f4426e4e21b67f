"""
What the library costs, measured beside the official SDKs in one run: ``make bench``.

A load server in a process of its own (:mod:`benchmarks.server`) serves clients
that each run one job in a process of their own (:mod:`benchmarks.worker`), so that
no measurement warms or disturbs another. The cases are data
(:mod:`benchmarks.cases`): what the server does, which job the clients do, what is
read off, and what it may be.
"""
