"""
One worker leads, the others stand by: what every web framework needs of a stream.

A web application runs in several processes, and the service allows very few sessions
per key. So each process has a :class:`StreamWorker`; the first one opens the stream and
hands its events to the application, the others wait for it to end, however it ends, and
one of them takes over.

Nothing starts by itself: an application makes its worker when it is set up, and whoever
serves it starts the worker where serving begins, never at import and never before a
fork. :func:`start_workers` and :func:`stop_workers` do that for all applications of a
process, whatever their framework is.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol, get_args

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import (
    ConcurrencyError,
    LaserSellError,
    MissingExtraError,
    RelayVersionError,
    SessionInUseError,
)
from lasersell.protocol.server import UnknownMessage
from lasersell.session.events import CallbackError, EventMessage, StreamEvent
from lasersell.stream.backoff import Backoff, Judge, Verdict

__all__ = [
    "EVENT_TYPES",
    "Connect",
    "Deliver",
    "Failure",
    "Session",
    "Source",
    "Stopping",
    "StreamWorker",
    "WorkerState",
    "start_workers",
    "stop_workers",
]

log = logging.getLogger(__name__)

EVENT_TYPES = tuple(
    kind.type for kind in get_args(EventMessage) if kind is not UnknownMessage
)
"""The types of all events that are known."""

STOP_TIMEOUT = 2.0
"""Seconds that a stop may take; web servers are not patient."""
REFUSED_SEC = 900.0
"""Seconds for which a first connect that the server refuses is tried again."""
JITTER = 0.2

_LOOK_SEC = 0.5

WorkerState = Literal["idle", "standing by", "connecting", "leading", "failed"]
"""What a worker is doing; ``failed`` has its reason in ``error``."""


class Session(Protocol):
    """What a worker needs of the session it leads."""

    def on(self, type: str, callback: Any) -> Any:
        """Call a callback for each event of a type; ``"*"`` is every type."""
        ...

    def run(self) -> None:
        """Dispatch events in this thread until the session is closed."""
        ...

    def close(self, *, timeout: float = ...) -> None:
        """End it, and with it ``run()``; from any thread."""
        ...


Connect = Callable[[], Session]
Source = Callable[[threading.Event], AbstractContextManager[Connect]]
"""
Where a worker's session comes from.

Entered, it waits until this process may have one, at most until the event is set (then
it raises ``SessionInUseError``), and gives what opens it.
"""

Failure = tuple[object, Exception]
"""A callback, and what it raised."""
Deliver = Callable[[StreamEvent, Any], Iterable[Failure]]
"""Calls an application's callbacks with an event and its session; logs what fails."""

_workers: weakref.WeakSet[StreamWorker] = weakref.WeakSet()


class StreamWorker:
    """
    This process's candidate for the stream of an application.

    Making one costs nothing and starts nothing. Any thread but a signal handler may call
    it. A forked child has a worker of its own, which is idle until it is started there.

    Args:
        load_source: Returns where the session comes from; called by each start.
        deliver: Called with each event, one after the other, in a thread of ours. What
            it says has failed comes as ``callback_error`` events.
        finish: Called in that thread when it ends.
    """

    def __init__(
        self,
        load_source: Callable[[], Source],
        deliver: Deliver,
        finish: Callable[[], object] = lambda: None,
    ) -> None:
        self._load_source = load_source
        self._deliver = deliver
        self._finish = finish
        self._last_lead: _Lead | None = None
        _workers.add(self)

    def __repr__(self) -> str:
        return f"<StreamWorker, {self.state}>"

    @property
    def _lead(self) -> _Lead | None:
        """The last start, unless it was a parent's."""
        lead = self._last_lead
        return lead if lead is not None and lead.pid == os.getpid() else None

    @property
    def state(self) -> WorkerState:
        """What it is doing, in this process."""
        return "idle" if self._lead is None else self._lead.state

    @property
    def error(self) -> LaserSellError | None:
        """Why it failed; None otherwise."""
        return None if self._lead is None else self._lead.error

    @property
    def session(self) -> Any:
        """The session while this process leads, else None."""
        return None if self._lead is None else self._lead.session

    @property
    def stopping(self) -> Stopping:
        """
        Whether it is to end, to be asked or waited for by what would else outlive it.

        A response that goes on for ever, such as server-sent events, waits on this
        rather than for a time, and ends with it.
        """
        return Stopping() if self._lead is None else self._lead.stopping

    @property
    def _is_running(self) -> bool:
        lead = self._lead
        return lead is not None and lead.is_running and not lead.stop.is_set()

    def start(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """
        Lead or stand by in a thread of our own, from now on; returns at once.

        Does nothing if it does so already.

        Args:
            is_wanted: Whether this process goes on. Asked before the stream is opened,
                so that where all end, none takes over from the first that has; and by
                who waits on :attr:`stopping`. Must be quick.

        Raises:
            ConfigurationError: The settings are wrong.
            MissingExtraError: What they ask for is not installed.
        """
        if self._is_running:
            return
        lead = _Lead(self._load_source(), self._deliver, self._finish, is_wanted)
        lead.start()
        self._last_lead = lead

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """
        Close the session, or stop standing by; a stand-by elsewhere takes over.

        Waits until a callback under way has ended, at most ``timeout`` seconds. Does
        nothing if it is not running.
        """
        lead = self._lead
        if lead is not None:
            lead.end(timeout)

    def run(self) -> None:
        """
        Lead or stand by until Ctrl-C or SIGTERM; for a process that does nothing else.

        Raises:
            LaserSellError: What ended the stream for good.
            ConcurrencyError: It runs already.
        """
        if self._is_running:
            raise ConcurrencyError("the worker of this process runs already")
        with _told_to_end():
            try:
                self.start()
                # In pieces: a signal that comes just before a wait is seen after it.
                while (lead := self._lead) is not None and not lead.join(_LOOK_SEC):
                    pass
            except KeyboardInterrupt:
                log.info("stopping")
            finally:
                self.stop()
        if self.error is not None:
            raise self.error


class Stopping:
    """
    Whether a worker is to end; of any number of threads.

    Args:
        told: Set when it was told to.
        is_wanted: Whether its process goes on.
    """

    def __init__(
        self,
        told: threading.Event | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._told = told or threading.Event()
        self._is_wanted = is_wanted

    def is_set(self) -> bool:
        """Tell whether it is to end."""
        return self._told.is_set() or not self._is_wanted()

    def wait(self, timeout: float | None = None) -> bool:
        """
        Wait until it is to end, at most ``timeout`` seconds; tell whether it is.

        Args:
            timeout: Seconds to wait; None is for ever.
        """
        deadline = Deadline(timeout)
        while not self.is_set() and not deadline.has_passed():
            # In pieces: a web server's signal handler sets a flag, and rings no bell.
            self._told.wait(deadline.within(_LOOK_SEC).remaining())
        return self.is_set()


class _Lead:
    """
    One start of a worker: its thread, and what it shares with others.

    Args:
        source: Where the session comes from.
        deliver: What gets the events.
        finish: Called in the end.
        is_wanted: Asked before the stream is opened.
    """

    def __init__(
        self,
        source: Source,
        deliver: Deliver,
        finish: Callable[[], object],
        is_wanted: Callable[[], bool],
    ) -> None:
        self.pid = os.getpid()
        self.stop = threading.Event()
        self.stopping = Stopping(self.stop, is_wanted)
        self.state: WorkerState = "idle"
        self.error: LaserSellError | None = None
        self.session: Session | None = None
        self._source = source
        self._deliver = deliver
        self._finish = finish
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.state = "standing by"
        self._thread = start_thread(f"lasersell-worker-{next_number()}", self._work)

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, timeout: float) -> bool:
        """Wait for the end, unless this is the thread that is to end."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return not self.is_running

    def end(self, timeout: float) -> None:
        deadline = Deadline(timeout)
        # In this order: a session that is not seen here sees the flag.
        self.stop.set()
        session = self.session
        if session is not None:
            session.close(timeout=timeout)
        self.join(deadline.remaining() or 0.0)

    def _work(self) -> None:
        try:
            self._stand_by()
            self.state = "idle"
        except LaserSellError as error:
            self.error = error
            self.state = "failed"
            log.error("the stream has ended for good: %s", error)
        except BaseException as error:
            self.error = LaserSellError(f"a mistake of ours: {error!r}")
            self.state = "failed"
            log.critical("a mistake of ours ended the worker", exc_info=True)
        finally:
            self._finish()

    def _stand_by(self) -> None:
        try:
            with self._source(self.stop) as connect:
                if self.stopping.is_set():
                    return
                self.state = "connecting"
                session = _connected(connect, self.stop)
                if session is not None:
                    self._serve(session)
        except SessionInUseError:
            if not self.stop.is_set():
                raise

    def _serve(self, session: Session) -> None:
        self.session = session
        try:
            if self.stop.is_set():
                return
            session.on("*", lambda event: self._hand_over(event, session))
            self.state = "leading"
            log.info("this process has the stream")
            session.run()
        finally:
            self.session = None
            session.close(timeout=STOP_TIMEOUT)

    def _hand_over(self, event: StreamEvent, session: Session) -> None:
        failures = list(self._deliver(event, session))
        for callback, error in failures:
            report = CallbackError(event, callback, error)
            self._deliver(StreamEvent(report, event.handle, event.arrival), session)
        if failures:
            # For the session to know: a relay then has another process try.
            raise _CallbackFailed(f"{len(failures)} of its callbacks failed")


class _CallbackFailed(Exception):
    """An application did not deal with an event."""


def _connected(connect: Connect, stop: threading.Event) -> Session | None:
    """Return a session as soon as there is one; None if told to stop before."""
    judge = Judge(REFUSED_SEC)
    backoff = Backoff(JITTER)
    while not stop.is_set():
        try:
            return connect()
        except (MissingExtraError, RelayVersionError):
            raise
        except LaserSellError as error:
            if judge.judge(error, SYSTEM_CLOCK.monotonic()) is Verdict.FATAL:
                raise
            delay = judge.delay(error, backoff)
            log.warning("no stream yet, next try in %.1f s: %s", delay, error)
        stop.wait(delay)
    return None


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Have SIGTERM raise ``KeyboardInterrupt`` as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A shell that starts us in the background leaves SIGINT ignored.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {
        number: signal.signal(number, signal.default_int_handler) for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_workers(is_wanted: Callable[[], bool] = lambda: True) -> None:
    """
    Start the workers of all applications in this process; see :meth:`StreamWorker.start`.

    Call it where a serving process begins, after the fork.
    """
    for worker in list(_workers):
        worker.start(is_wanted)


def stop_workers(timeout: float = STOP_TIMEOUT) -> None:
    """
    Stop the workers of all applications in this process.

    Waits ``timeout`` seconds at most for all of them.
    """
    deadline = Deadline(timeout)
    for worker in list(_workers):
        worker.stop(deadline.remaining() or 0.0)
