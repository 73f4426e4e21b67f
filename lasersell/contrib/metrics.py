"""
Counters of streams for Prometheus.

Needs the extra ``metrics``; without it the import raises ``MissingExtraError``.

    collector = StreamCollector(registry=REGISTRY)
    collector.add(session)

Values are read when they are scraped, from ``stats()``, so that a stream pays nothing
between two scrapes. Names and meanings are listed in ``docs/metrics.md``.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

import attrs

from lasersell.errors import ConfigurationError, MissingExtraError
from lasersell.session.events import StreamEvent
from lasersell.session.observers import Observation
from lasersell.session.session import StreamSession
from lasersell.stream.client import StreamHandle
from lasersell.stream.lanes import LaneStats
from lasersell.stream.stats import State, StreamStats

try:
    from prometheus_client import Counter, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector, CollectorRegistry
except ImportError as error:
    raise MissingExtraError("a Prometheus collector", "metrics") from error

__all__ = ["StreamCollector"]

_AGE_BUCKETS_SEC = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip

F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)
Value = Callable[[StreamStats], float | None]


@attrs.frozen
class _Number:
    """One number of ``stats()``; not shown while it is None."""

    name: str
    help: str
    value: Value


def _of_stats(name: str, factor: float = 1.0) -> Value:
    def value(stats: StreamStats) -> float | None:
        number = getattr(stats, name)
        return None if number is None else float(number) * factor

    return value


_COUNTERS = (
    _Number("frames", "Frames received.", _of_stats("frames_in")),
    _Number("bytes", "Bytes received, without TLS.", _of_stats("bytes_in")),
    _Number("reconnects", "Connections after the first.", _of_stats("reconnects")),
)
_GAUGES = (
    _Number(
        "held_back",
        "1 while reading has stopped because the high lane is full.",
        _of_stats("is_held_back"),
    ),
    _Number(
        "round_trip_seconds",
        "Latest answer time of an application ping.",
        _of_stats("round_trip"),
    ),
    _Number(
        "clock_offset_seconds",
        "The server's clock minus ours.",
        _of_stats("clock_offset_ms", 0.001),
    ),
    _Number(
        "last_message_age_seconds",
        "Time since the last byte.",
        _of_stats("last_message_age"),
    ),
)
_LANE_COUNTERS = {
    "delivered": "Events that a consumer took.",
    "dropped": "Events that a newer one displaced; never in the high lane.",
}
_LANE_GAUGES = {
    "waiting": "Events that nobody took yet.",
    "high_water": "The most events that ever waited.",
}


class StreamCollector(Collector):
    """
    Shows any number of streams to Prometheus, each under a name.

    It keeps no stream alive: one that was collected is shown no more; one that was
    closed is shown as closed. Any thread may call any method. A scrape takes as long as
    ``stats()`` of each stream, a few microseconds, and no lock that a stream waits for
    longer than that.

    Args:
        registry: Where it registers itself, such as ``prometheus_client.REGISTRY``;
            None leaves that to you.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # Guards the dictionaries; held for steps on them only.
        self._mutex = threading.Lock()
        self._streams: dict[str, weakref.ref[StreamHandle[Any]]] = {}
        self._observations: weakref.WeakValueDictionary[str, Observation] = (
            weakref.WeakValueDictionary()
        )
        self._events = Counter(
            "lasersell_events",
            "Events of the high lane, by type.",
            ["stream", "type"],
            registry=None,
        )
        self._exits = Counter(
            "lasersell_exit_signals",
            "Exit signals by reason, replacements not counted.",
            ["stream", "reason"],
            registry=None,
        )
        self._ages = Histogram(
            "lasersell_exit_signal_age_seconds",
            "Age of an exit signal when it arrived, by the server's clock.",
            ["stream"],
            buckets=_AGE_BUCKETS_SEC,
            registry=None,
        )
        if registry is not None:
            registry.register(self)

    def add(self, stream: StreamHandle[Any], name: str = "default") -> None:
        """
        Show a stream from now on; of a session also positions, events and exit signals.

        Args:
            stream: A session, or a raw connection.
            name: The label ``stream`` of all its metrics. One that was closed gives
                its name away; its counters begin again, which Prometheus expects.

        Raises:
            ConfigurationError: Another stream that is open has this name.
        """
        with self._mutex:
            other = self._get(name)
            if other not in (None, stream) and other.state not in ("closed", "failed"):
                raise ConfigurationError(
                    f"there is an open stream named {name!r} already; choose another name"
                )
            self._streams[name] = weakref.ref(stream)
        if isinstance(stream, StreamSession) and other is not stream:
            observation = stream.observe(lambda event: self._count(name, event))
            self._observations[name] = observation

    def remove(self, name: str = "default") -> None:
        """Show a stream no more; one that is not there is no error."""
        with self._mutex:
            self._streams.pop(name, None)
            observation = self._observations.pop(name, None)
        if observation is not None:
            observation.stop()

    def describe(self) -> list[Metric]:
        """Return the metrics without values, which is how a registry sees their names."""
        return list(self._families([]))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; called by a scrape."""
        with self._mutex:
            named = [(name, self._get(name)) for name in self._streams]
        yield from self._families([(n, s) for n, s in named if s is not None])

    def _get(self, name: str) -> StreamHandle[Any] | None:
        reference = self._streams.get(name)
        return None if reference is None else reference()

    def _count(self, name: str, event: StreamEvent) -> None:
        self._events.labels(name, event.type).inc()
        if event.exit_attempt is None:
            return
        if event.exit_attempt == 1:
            reason = getattr(event.message, "reason", None) or "unknown"
            self._exits.labels(name, reason).inc()
        if event.age_ms is not None:
            self._ages.labels(name).observe(event.age_ms / 1000)

    def _families(self, streams: list[tuple[str, StreamHandle[Any]]]) -> Iterator[Any]:
        stats = [(name, stream.stats()) for name, stream in streams]
        yield _states(stats)
        for number in _COUNTERS:
            family = _family(CounterMetricFamily, number.name, number.help)
            yield _filled(family, number.value, stats)
        for number in _GAUGES:
            gauge = _family(GaugeMetricFamily, number.name, number.help)
            yield _filled(gauge, number.value, stats)
        for name, words in _LANE_COUNTERS.items():
            lane_family = _family(CounterMetricFamily, f"lane_{name}", words, "lane")
            yield _filled_lanes(lane_family, name, stats)
        for name, words in _LANE_GAUGES.items():
            lane_gauge = _family(GaugeMetricFamily, f"lane_{name}", words, "lane")
            yield _filled_lanes(lane_gauge, name, stats)
        positions = _family(GaugeMetricFamily, "positions", "Open positions.")
        for name, stream in streams:
            if isinstance(stream, StreamSession):
                positions.add_metric([name], len(stream.positions()))
        yield positions
        for metric in (self._events, self._exits, self._ages):
            yield from metric.collect()


def _family(kind: type[F], name: str, words: str, *labels: str) -> F:
    return kind(f"lasersell_{name}", words, labels=["stream", *labels])


def _states(stats: list[tuple[str, StreamStats]]) -> GaugeMetricFamily:
    family = _family(GaugeMetricFamily, "state", "1 for the state it is in.", "state")
    for name, one in stats:
        for state in get_args(State):
            family.add_metric([name, state], float(one.state == state))
    return family


def _filled(family: F, value: Value, stats: list[tuple[str, StreamStats]]) -> F:
    for name, one in stats:
        number = value(one)
        if number is not None:
            family.add_metric([name], number)
    return family


def _filled_lanes(family: F, field: str, stats: list[tuple[str, StreamStats]]) -> F:
    for name, one in stats:
        lanes: tuple[tuple[str, LaneStats], ...] = (
            ("high", one.high),
            ("low", one.low),
        )
        for lane, counters in lanes:
            family.add_metric([name, lane], getattr(counters, field))
    return family
