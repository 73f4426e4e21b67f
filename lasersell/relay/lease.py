"""
Who leads: a lease that expires in Redis, with a fencing token.

Each leader has a greater token than the one before. Redis itself compares it in the
script of every write, so one that was asleep and does not know that it leads no more
writes nothing.
"""

from __future__ import annotations

import threading

from lasersell.relay.keys import Keys
from lasersell.relay.link import RedisLink
from lasersell.relay.scripts import ACQUIRE, RELEASE, RENEW

__all__ = ["Lease"]


class Lease:
    """
    The lease of one relay, wanted or held by one publisher; any thread may use it.

    Every method but :meth:`forget` asks Redis and raises ``RelayConnectError`` when it
    is away.

    Args:
        link: The way to Redis.
        keys: Of the relay.
        owner: The name of this publisher, unlike any other.
        ttl: Seconds after which it expires if it is not renewed.
    """

    def __init__(self, link: RedisLink, keys: Keys, owner: str, ttl: float) -> None:
        self.ttl = ttl
        self.owner = owner
        self._link = link
        self._keys = keys
        self._mutex = threading.Lock()
        self._value = ""

    @property
    def value(self) -> str:
        """What Redis must have for a write to be taken; empty if it is not held."""
        return self._value

    @property
    def token(self) -> str:
        """The fencing token: greater than that of every leader before."""
        return self._value.partition(" ")[0]

    def acquire(self) -> bool:
        """Take it if nobody has it; return whether it is ours now."""
        with self._mutex:
            self._value = self._ask(held_before="")
            return bool(self._value)

    def renew(self) -> bool:
        """
        Keep it; take it again if it expired and nobody led meanwhile.

        Returns:
            Whether it is ours. If not, another one leads or has led.
        """
        with self._mutex:
            if not self._value:
                return False
            ttl = str(int(1000 * self.ttl))
            if self._link.run(RENEW, [self._keys.lease], [self._value, ttl]):
                return True
            self._value = self._ask(held_before=self.token)
            return bool(self._value)

    def release(self) -> None:
        """Give it up, so that another one need not wait until it expires."""
        with self._mutex:
            value, self._value = self._value, ""
            if value:
                self._link.run(RELEASE, [self._keys.lease], [value])

    def _ask(self, held_before: str) -> str:
        arguments = [self.owner, str(int(1000 * self.ttl)), held_before]
        answer = self._link.run(ACQUIRE, [self._keys.lease, self._keys.meta], arguments)
        return bytes(answer).decode()
