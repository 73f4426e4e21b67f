"""
The clients: each does the same jobs, by the same names, with one SDK or none.

A job takes the :class:`benchmarks.work.Place` where it is done and returns what it
measured. A client that has no such job is left out of the cases that need it.
"""
