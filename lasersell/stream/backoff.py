"""
How long to wait before the next try, and whether there is one. Pure.
"""

from __future__ import annotations

import random
from enum import Enum

from lasersell.errors import (
    AuthenticationError,
    ConfigurationError,
    ForkedError,
    HandshakeError,
    TlsError,
)

__all__ = ["Backoff", "Judge", "Verdict", "is_configuration_rejected", "is_refusal"]

FIRST_DELAY = 0.1
LARGEST_DELAY = 2.0
HEALTHY_AFTER = 2.0
"""Seconds a connection must have been live before the delays start again."""
LARGEST_RETRY_AFTER = 60.0
REJECTIONS_ALLOWED = 3

REJECTING_CODES = frozenset({"invalid_strategy", "wallet_not_registered"})
"""Error codes after which the same ``configure`` can never succeed."""
AUTHENTICATION_CODES = frozenset(
    {
        "unauthorized",
        "forbidden",
        "invalid_api_key",
        "authentication_failed",
        "auth_failed",
    }
)
"""Error codes read as a refused key; the wire names none, so this is a guess."""
TRANSIENT_STATUSES = frozenset({408, 425, 429})


class Backoff:
    """
    The delays 100, 200, 400, 800, 1600, 2000, 2000 ms ... of the specification.

    Args:
        jitter: Share of a delay, 0 to 1, that chance may add to it.
    """

    def __init__(self, jitter: float = 0.0) -> None:
        self._jitter = jitter
        self._next = FIRST_DELAY

    def next_delay(self) -> float:
        """Return the next delay in seconds."""
        delay = self._next
        self._next = min(delay * 2, LARGEST_DELAY)
        return delay * (1 + self._jitter * random.random())  # noqa: S311 - not for secrets

    def ended_after(self, live_sec: float) -> None:
        """
        Note that a connection ended that was live for ``live_sec`` seconds.

        Only a healthy one starts the delays again: a server that accepts and
        drops must not be hammered.
        """
        if live_sec >= HEALTHY_AFTER:
            self._next = FIRST_DELAY


class Verdict(Enum):
    """What follows from a failed try or a lost connection."""

    FATAL = "fatal"
    RETRY = "retry"


def is_configuration_rejected(error: BaseException) -> bool:
    """Tell whether the server will never take this configuration."""
    return isinstance(error, HandshakeError) and error.code in REJECTING_CODES


def is_refusal(error: BaseException) -> bool:
    """Tell whether the server (or its certificate) turned us away, rather than the network."""
    if isinstance(error, TlsError):
        return True
    if not isinstance(error, HandshakeError):
        return False
    status = error.status
    return status is None or (300 <= status < 500 and status not in TRANSIENT_STATUSES)


class Judge:
    """
    Decides, once a stream has been live, between another try and the end.

    Fatal at once: an API key refused with 401, a pin that does not match, a
    configuration rejected three times in a row, an error of our own. Refusals
    go on being retried for ``rejoin_timeout`` seconds, since the server may
    still count our own dead session. Everything else is retried for ever.
    """

    def __init__(self, rejoin_timeout: float) -> None:
        self._rejoin_timeout = rejoin_timeout
        self._refused_since: float | None = None
        self._rejections = 0

    def accepted(self) -> None:
        """Note that the server took us back, and our configuration."""
        self._refused_since = None
        self._rejections = 0

    def judge(self, error: BaseException, now: float) -> Verdict:
        """Return what follows from ``error`` at ``now``, monotonic seconds."""
        if isinstance(error, (ConfigurationError, ForkedError)):
            return Verdict.FATAL
        if isinstance(error, AuthenticationError) and error.status == 401:
            return Verdict.FATAL
        if isinstance(error, TlsError) and error.pin_mismatch:
            return Verdict.FATAL
        if is_configuration_rejected(error):
            self._rejections += 1
            return (
                Verdict.FATAL
                if self._rejections >= REJECTIONS_ALLOWED
                else Verdict.RETRY
            )
        if not is_refusal(error):
            self._refused_since = None
            return Verdict.RETRY
        if self._refused_since is None:
            self._refused_since = now
        waited = now - self._refused_since
        return Verdict.FATAL if waited >= self._rejoin_timeout else Verdict.RETRY

    def delay(self, error: BaseException, backoff: Backoff) -> float:
        """Return the seconds to wait before the try after ``error``."""
        delay = backoff.next_delay()
        if is_refusal(error):
            return LARGEST_DELAY
        if isinstance(error, HandshakeError) and error.retry_after is not None:
            return max(delay, min(error.retry_after, LARGEST_RETRY_AFTER))
        return delay
