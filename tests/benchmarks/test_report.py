"""What the benchmark says about numbers: medians, ratios, budgets, the picture."""

from __future__ import annotations

import pytest

from benchmarks.case import Budget, Case
from benchmarks.cases.latency import PNL_RATES, under_rate
from benchmarks.measure import spread
from benchmarks.plot import plot
from benchmarks.report import as_json, summary, table
from benchmarks.runner import Result
from benchmarks.wire import exit_frame, stamp_of, unmasked_frames
from benchmarks.work import Numbers, Work

_ABSOLUTE = Budget(of="cpu_us", most=2.5, words="at most 2.5")
_RELATIVE = Budget(of="cpu_us", most=0.5, times="official", words="half of it")


def _result(*budgets: Budget, **rounds: list[float]) -> Result:
    case = Case(
        name="case",
        title="A case",
        job="consume",
        work=Work(),
        units={"cpu_us": "us"},
        budgets=budgets,
    )
    numbers: dict[str, list[Numbers]] = {
        client: [{"cpu_us": value} for value in values]
        for client, values in rounds.items()
    }
    return Result(case, numbers)


def test_the_median_of_the_rounds_counts() -> None:
    """One disturbed round does not change what a case came to."""
    result = _result(lasersell=[2.0, 900.0, 3.0])
    assert result.medians == {"lasersell": {"cpu_us": 3.0}}


@pytest.mark.parametrize(("reached", "is_met"), [(2.5, True), (2.6, False)])
def test_an_absolute_budget_is_a_bound(reached: float, is_met: bool) -> None:
    """A budget is met up to its bound and missed above it."""
    (outcome,) = _result(_ABSOLUTE, lasersell=[reached]).outcomes()
    assert outcome.is_met is is_met


@pytest.mark.parametrize(("reached", "is_met"), [(10.0, True), (11.0, False)])
def test_a_relative_budget_is_a_share_of_the_other(
    reached: float, is_met: bool
) -> None:
    """A relative budget compares with the other client of the same run."""
    result = _result(_RELATIVE, lasersell=[reached], official=[20.0])
    (outcome,) = result.outcomes()
    assert (outcome.bound, outcome.is_met) == (10.0, is_met)


def test_a_budget_without_its_client_is_not_judged() -> None:
    """What cannot be compared counts neither as met nor as missed."""
    assert not list(_result(_RELATIVE, lasersell=[1.0]).outcomes())


def test_the_table_says_the_ratio_and_what_was_missed() -> None:
    """A reader sees both numbers, how they compare, and each budget's fate."""
    text = table(_result(_ABSOLUTE, _RELATIVE, lasersell=[3.0], official=[12.0]))
    assert "0.25" in text
    assert "MISSED at most 2.5: 3, allowed 2.5" in text
    assert "met    half of it: 3, allowed 6" in text


def test_the_summary_names_every_budget() -> None:
    """The last lines of a run say of each case what was asked for and reached."""
    result = _result(_ABSOLUTE, _RELATIVE, lasersell=[3.0], official=[12.0])
    title, _, missed, met = summary(as_json([result])).splitlines()
    assert title == "What was asked for"
    assert missed.split() == ["case", "at", "most", "2.5", "3", "2.5", "us", "MISSED"]
    assert met.split() == ["case", "half", "of", "it", "3", "6", "us", "met"]


def test_the_json_keeps_every_round() -> None:
    """A later reader can judge the spread, not only the median."""
    (case,) = as_json([_result(_ABSOLUTE, lasersell=[1.0, 2.0, 9.0])])
    assert case["rounds"] == {
        "lasersell": [{"cpu_us": 1.0}, {"cpu_us": 2.0}, {"cpu_us": 9.0}]
    }
    assert case["budgets"][0]["met"] is True


def test_a_spread_names_its_unit() -> None:
    """The 99th percentile of 100 values is the 99th, not the largest."""
    numbers = spread([float(number) for number in range(1, 101)], "us")
    assert numbers == {"p50_us": 50.0, "p99_us": 99.0, "max_us": 100.0}


def test_an_exit_frame_carries_its_stamp() -> None:
    """The raw client reads the time that the server wrote, from this frame only."""
    (payload,), rest = unmasked_frames(exit_frame(12_345_678_901))
    assert (stamp_of(payload), rest) == (12_345_678_901, b"")
    assert stamp_of(b'{"type":"pnl_update"}') is None


def _latencies(rate: int, *clients: str) -> Result:
    case = Case(
        name=under_rate(rate),
        title="",
        job="latency",
        work=Work(),
        units={"p50_us": "us", "p99_us": "us"},
    )
    return Result(case, {c: [{"p50_us": 300.0, "p99_us": 900.0}] for c in clients})


def test_the_picture_needs_every_rate_of_both_sdks() -> None:
    """Half a comparison is not drawn."""
    rates = (0, *PNL_RATES)
    both = [_latencies(rate, "lasersell", "official") for rate in rates]
    picture = plot(both)
    assert picture is not None
    assert "20,000" in picture
    assert "official Python, p99" in picture
    assert plot(both[1:]) is None
    assert plot([*both[1:], _latencies(0, "lasersell")]) is None
