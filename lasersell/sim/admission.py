"""Who is let in, and how others are turned away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from lasersell.protocol.server import ServerError
from lasersell.sim.connection import Connection
from lasersell.sim.options import Denial, SimOptions

__all__ = ["Refusal", "Upgrade", "Verdict", "judge", "key_problem"]


@attrs.frozen
class Upgrade:
    """
    One attempt of a client to connect.

    Attributes:
        status: What it was answered: 101 if it was let in, be it only to be told.
    """

    status: int


@attrs.define
class Refusal:
    """
    An order to refuse upgrades, or calls.

    Attributes:
        status: HTTP status to answer.
        headers: Headers of the answer.
        times: How many more it holds for; None is all.
    """

    status: int
    headers: Mapping[str, str]
    times: int | None

    def use(self) -> bool:
        """Tell whether it still holds, counting one use."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@attrs.frozen
class Verdict:
    """
    What to do with a client whose key or number of sessions is wrong.

    Attributes:
        denial: How it is turned away.
        error: What is wrong, as the frame that says so.
    """

    denial: Denial
    error: ServerError

    @property
    def status(self) -> int | None:
        """The HTTP status to answer; None if it is let in first."""
        return int(self.denial) if self.denial.isdigit() else None


def judge(
    key: str, connections: Sequence[Connection], options: SimOptions
) -> Verdict | None:
    """
    Return what is wrong with one more connection of a key; None lets it in.

    A client without a key is always a 401.
    """
    problem = key_problem(key, options)
    if problem is not None:
        denial = options.unknown_key if key else "401"
        return Verdict(denial, ServerError(code="unauthorized", message=problem))
    allowed = options.limits.max_sessions_per_api_key
    if allowed and sum(other.api_key == key for other in connections) >= allowed:
        error = ServerError(
            code="capacity_exceeded", message="max_sessions_per_api_key limit reached"
        )
        return Verdict(options.too_many_sessions, error)
    return None


def key_problem(key: str, options: SimOptions) -> str | None:
    """Return what is wrong with an API key; None if nothing is."""
    if not key:
        return "missing API key in x-api-key"
    if options.api_keys is not None and key not in options.api_keys:
        return "unknown API key in x-api-key"
    return None
