"""
:class:`Relay`: owns the session of a relay, or stands by to take it over.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterable
from typing import Any, Literal

import attrs

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import (
    AuthenticationError,
    ConcurrencyError,
    ConfigurationError,
    LaserSellError,
    MissingExtraError,
    RelayConnectError,
    RelayError,
)
from lasersell.relay.keys import Keys, check_name
from lasersell.relay.lease import Lease
from lasersell.relay.link import RedisLink
from lasersell.relay.term import Counters, RelayPolicy, Setup, Term
from lasersell.stream.client import StreamClient, check_configure
from lasersell.stream.options import StreamConfigure

__all__ = ["Relay", "RelayPolicy", "RelayStats", "Role"]

log = logging.getLogger(__name__)

Role = Literal["stand-by", "leading", "stopped"]

CLOSE_TIMEOUT = 10.0
FAILED_WAIT_SEC = 1.0
"""How long a publisher whose stream failed lets others try before it tries again."""

_FATAL = (AuthenticationError, ConfigurationError, MissingExtraError)


@attrs.frozen(kw_only=True)
class RelayStats:
    """A snapshot of a publisher's counters, over all its terms."""

    role: Role
    token: int | None
    """The fencing token of the present term; greater than that of any before."""
    terms: int
    """How often it has led."""
    high_published: int
    low_published: int
    low_dropped: int
    """Low events that a newer one displaced while Redis did not keep up."""
    waiting: int
    """High events not yet written."""
    on_disk: int
    """Those of them that are on the disk."""
    is_held_back: bool
    """Whether the stream waits because neither memory nor disk has room."""
    redis_away: float | None
    """For how many seconds Redis has been away; None while it is there."""
    unread_dropped: int
    """Events dropped for their age or number though a group had not dealt with them."""


class Relay:
    """
    Publishes one session over Redis, as leader or as stand-by of another.

    Run as many as you like, on any hosts, with the same name: one leads, and when it ends
    or dies another takes over within the lease and one connect. Use it in a ``with``
    block, or call :meth:`run`. Any thread may use it.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password, database.
        client: Where the stream is.
        configure: What to watch and when to exit; the same for every publisher.
        name: Of the relay; several share one Redis.
        groups: Groups that are to get every signal from the start on; without it a group
            begins with its first worker.
        policy: What may be used, and how long to wait.
        redis_options: Further arguments of ``redis.Redis``, such as ``ssl_ca_certs``.
        session_options: Arguments of :meth:`StreamSession.connect
            <lasersell.session.session.StreamSession.connect>`.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The extra ``relay`` is not installed.
    """

    def __init__(
        self,
        url: str,
        client: StreamClient,
        configure: StreamConfigure,
        *,
        name: str = "default",
        groups: Iterable[str] = (),
        policy: RelayPolicy | None = None,
        redis_options: dict[str, Any] | None = None,
        session_options: dict[str, Any] | None = None,
    ) -> None:
        check_configure(configure)
        self._policy = policy or RelayPolicy()
        self._setup = Setup(
            client=client,
            configure=configure,
            policy=self._policy,
            groups=tuple(check_name("group", group) for group in groups),
            session_options=dict(session_options or {}),
        )
        self._keys = Keys(name)
        self._link = RedisLink(url, **(redis_options or {}))
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """This publisher's name, unlike any other's."""
        self._lease = Lease(self._link, self._keys, self.owner, self._policy.lease)
        self._counters = Counters()
        self._term: Term | None = None
        self._stop = threading.Event()
        self._timeout = CLOSE_TIMEOUT
        self._changed = threading.Condition()
        self._role: Role = "stand-by"
        self._is_running = False
        self._thread: threading.Thread | None = None
        self.error: LaserSellError | None = None
        """What ended it, if something did."""
        self._was_away = False
        self._not_before = Deadline(0)

    def __repr__(self) -> str:
        return f"<Relay {self._keys.name!r} at {self._link.where}, {self.role}>"

    @property
    def role(self) -> Role:
        """One of stand-by, leading (once its stream is live), stopped."""
        return self._role

    def stats(self) -> RelayStats:
        """Return a snapshot of the counters."""
        counters, term = self._counters, self._term
        highs = None if term is None else term.highs
        lows = None if term is None else term.lows
        token, away = self._lease.token, counters.away_since
        now = SYSTEM_CLOCK.monotonic()
        return RelayStats(
            role=self.role,
            token=int(token) if token else None,
            terms=counters.terms,
            high_published=counters.high_published,
            low_published=counters.low_published,
            low_dropped=counters.low_dropped + (0 if lows is None else lows.dropped),
            waiting=0 if highs is None else highs.waiting,
            on_disk=0 if highs is None else highs.spooled,
            is_held_back=highs is not None and highs.is_full,
            redis_away=None if away is None else now - away,
            unread_dropped=counters.unread_dropped,
        )

    def wait_for_role(self, role: Role, timeout: float | None = None) -> bool:
        """Block until it has a role, ``timeout`` seconds at most; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._role == role, timeout)

    # Running

    def run(self) -> None:
        """
        Lead or stand by until :meth:`close`; blocks.

        Raises:
            RelayConnectError: Redis could not be reached at the start; see its subclasses.
            RelayVersionError: Redis is too old.
            AuthenticationError: The service refused the API key.
            ConfigurationError: The service refused the configuration.
            ConcurrencyError: It is running already.
        """
        self._begin()
        self._run()

    def start(self) -> None:
        """
        Run in a thread of its own; returns once Redis was reached.

        What ends it later is logged and is in :attr:`error`. Raises what :meth:`run`
        raises of Redis.
        """
        self._begin()
        self._thread = start_thread(f"lasersell-relay-{next_number()}", self._run_quiet)

    def _begin(self) -> None:
        with self._changed:
            if self._is_running or self._stop.is_set():
                raise ConcurrencyError("a Relay runs once; make another one")
            self._is_running = True
        try:
            self._link.check()
        except BaseException:
            self._is_running = False
            raise

    def _run_quiet(self) -> None:
        try:
            self._run()
        except LaserSellError as error:
            log.error("the relay ended: %s", error)
        except Exception:
            log.exception("a mistake of ours ended the relay")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._is_elected():
                    self._lead()
                self._stop.wait(self._policy.poll)
        except LaserSellError as error:
            self.error = error
            raise
        except Exception as error:
            self.error = RelayError(f"a mistake of ours: {error!r}")
            raise
        finally:
            # Also of a term that Ctrl-C kept from beginning.
            self._release()
            self._link.close()
            self._be("stopped")

    def _is_elected(self) -> bool:
        try:
            if self._was_away:
                # The leader, if it lives, was away from Redis too: it is first to come
                # back, with the events it has kept.
                self._link.sync_clock()
                self._was_away = False
                self._not_before = Deadline(self._policy.lease)
            return self._not_before.has_passed() and self._lease.acquire()
        except RelayConnectError as error:
            if not self._was_away:
                log.warning("standing by without Redis: %s", error)
            self._was_away = True
            return False

    def _lead(self) -> None:
        self._counters.terms += 1
        term = Term(
            self._setup,
            self._link,
            self._keys,
            self._lease,
            self._counters,
            self._stop,
            on_live=lambda: self._be("leading"),
            flush_timeout=lambda: self._timeout,
        )
        self._term = term
        log.info("%s leads the relay %r", self.owner, self._keys.name)
        try:
            term.run()
        except _FATAL:
            raise
        except LaserSellError as error:
            log.error("leading failed: %s", error)
            self._release()
            self._stop.wait(FAILED_WAIT_SEC)
        finally:
            self._release()
            self._counters.away_since = None
            self._term = None
            self._be("stand-by")

    def _release(self) -> None:
        try:
            self._lease.release()
        except RelayConnectError as error:
            log.debug("the lease was not given up, it expires: %s", error)
            self._was_away = True

    def _be(self, role: Role) -> None:
        with self._changed:
            self._role = role
            self._changed.notify_all()

    # The end

    def close(self, *, timeout: float = CLOSE_TIMEOUT) -> None:
        """
        End: write what the stream has brought, and let a stand-by take over at once.

        Idempotent; blocks for about ``timeout`` seconds at most, if Redis is away.
        """
        self._timeout = timeout
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout + CLOSE_TIMEOUT)
        elif not self._is_running:
            self._link.close()
            self._be("stopped")

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
