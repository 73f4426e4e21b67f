from __future__ import annotations

import gc
import json
import re
import warnings
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lasersell.contrib.metrics import StreamCollector
from lasersell.errors import ConfigurationError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import SimServer
from lasersell.stream.options import StreamConfigure
from tests.integration.session.helpers import (
    STRATEGY,
    WALLET,
    make_client,
    offline,
    open_session,
    until,
)
from tests.patience import PATIENCE

_ROOT = Path(__file__).parents[3]
Values = dict[str, float]


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry with nothing in it."""
    return CollectorRegistry()


@pytest.fixture
def collector(registry: CollectorRegistry) -> StreamCollector:
    """Return a collector that shows nothing yet."""
    return StreamCollector(registry)


def scrape(registry: CollectorRegistry) -> Values:
    """Return what a scrape shows, by name and labels."""
    text = generate_latest(registry).decode()
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "stream"}
            words = ",".join(labels[name] for name in sorted(labels))
            values[f"{sample.name}{{{words}}}"] = sample.value
    return values


def test_a_scrape_shows_the_counters(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """The same numbers as stats(), and the open positions."""
    sim.buy(WALLET)
    with open_session(sim) as session:
        collector.add(session)
        until(session, "position_opened")
        sim.faults.mute()
        values = scrape(registry)
        stats = session.stats()
    assert values["lasersell_state{live}"] == 1
    assert values["lasersell_state{reconnecting}"] == 0
    assert values["lasersell_positions{}"] == 1
    assert 0 < values["lasersell_frames_total{}"] <= stats.frames_in
    assert 0 < values["lasersell_bytes_total{}"] <= stats.bytes_in
    assert values["lasersell_lane_delivered_total{high}"] == stats.high.delivered
    assert values["lasersell_lane_dropped_total{low}"] == stats.low.dropped
    assert values["lasersell_held_back{}"] == 0
    assert values["lasersell_last_message_age_seconds{}"] < PATIENCE


def test_exit_signals_are_counted_by_reason(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """With their age; a replacement is not one more exit."""
    sim.change_options(refresh_after_ms=100)
    strategy = StrategyConfig(target_profit_pct=5.0)
    with open_session(sim, strategy=strategy) as session:
        collector.add(session)
        # Not before: the first signal could come before anybody counts.
        sim.buy(WALLET, profits_pct=[6.0])
        until(session, lambda event: event.exit_attempt == 2)
        sim.wait_until(
            lambda: (
                scrape(registry).get("lasersell_exit_signal_age_seconds_count{}", 0) > 1
            ),
            PATIENCE,
        )
        values = scrape(registry)
    assert values["lasersell_exit_signals_total{target_profit}"] == 1
    assert values["lasersell_events_total{exit_signal_with_tx}"] >= 2


def test_a_reconnect_is_seen(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """While it lasts in the state, afterwards in the counter."""
    with open_session(sim) as session:
        collector.add(session)
        with offline(sim):
            until(session, "disconnected")
            assert scrape(registry)["lasersell_state{reconnecting}"] == 1
        until(session, "gap")
        assert scrape(registry)["lasersell_reconnects_total{}"] == 1
    assert scrape(registry)["lasersell_state{closed}"] == 1


def test_raw_connections_are_shown_too(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """Without what only a session knows."""
    configure = StreamConfigure([WALLET], STRATEGY)
    with make_client(sim).connect(configure, wait_configured=0) as connection:
        collector.add(connection, "raw")
        values = scrape(registry)
    assert values["lasersell_state{live}"] == 1
    assert "lasersell_positions{}" not in values


def test_a_name_is_for_one_open_stream(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """A closed one gives it away; the same stream may come again."""
    with open_session(sim) as first, open_session(sim) as second:
        collector.add(first)
        collector.add(first)
        with pytest.raises(ConfigurationError, match="named 'default' already"):
            collector.add(second)
        first.close()
        collector.add(second)
        assert scrape(registry)["lasersell_state{live}"] == 1
        collector.remove()
        collector.remove()
        assert "lasersell_state{live}" not in scrape(registry)


def test_a_dropped_stream_is_collected(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """The collector does not keep it alive."""
    sessions = [open_session(sim).__enter__()]
    collector.add(sessions[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        sessions.clear()
        gc.collect()
    sim.wait_for_connections(0)
    assert "lasersell_state{live}" not in scrape(registry)


def test_two_streams_share_a_collector(
    sim: SimServer, registry: CollectorRegistry, collector: StreamCollector
) -> None:
    """A registry takes each name of a metric once, and labels tell them apart."""
    with open_session(sim) as first, open_session(sim) as second:
        collector.add(first, "first")
        collector.add(second, "second")
        text = generate_latest(registry).decode()
    for name in ("first", "second"):
        assert f'lasersell_state{{state="live",stream="{name}"}} 1.0' in text


def _names(collector: StreamCollector) -> set[str]:
    names = set()
    for family in collector.describe():
        suffix = "_total" if family.type == "counter" else ""
        names.add(f"{family.name}{suffix}")
    return names


def test_every_metric_is_in_the_documents(collector: StreamCollector) -> None:
    """And no other."""
    text = (_ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(lasersell_\w+)`", text, re.MULTILINE))
    assert told == _names(collector)


def test_the_dashboard_asks_for_what_there_is(collector: StreamCollector) -> None:
    """Each metric in a query of the Grafana dashboard exists."""
    path = _ROOT / "examples" / "grafana" / "lasersell.json"
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    queries = [
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    asked = {name for query in queries for name in re.findall(r"lasersell_\w+", query)}
    known = _names(collector)
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= known
    assert len(asked) >= 10
