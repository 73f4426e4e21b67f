from __future__ import annotations

from itertools import pairwise

import pytest

from lasersell.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    ForkedError,
    HandshakeError,
    LaserSellError,
    StreamLostError,
    TlsError,
)
from lasersell.stream.backoff import (
    HEALTHY_AFTER,
    Backoff,
    Judge,
    Verdict,
    is_refusal,
)

_SPECIFIED = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
_REJOIN = 900.0


def _delays(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_delay() for _ in range(count)]


def _http(status: int, retry_after: float | None = None) -> HandshakeError:
    return HandshakeError("refused", status=status, retry_after=retry_after)


# Delays


def test_the_delays_are_those_of_the_specification() -> None:
    """100 ms, doubling to 2,000 ms, and 2,000 ms from then on."""
    assert _delays(Backoff(), 7) == _SPECIFIED


def test_a_healthy_connection_starts_the_delays_again() -> None:
    """After 2 s of a live connection the next loss is answered quickly."""
    backoff = Backoff()
    _delays(backoff, 7)
    backoff.ended_after(HEALTHY_AFTER)
    assert _delays(backoff, 7) == _SPECIFIED


def test_a_short_lived_connection_does_not_start_them_again() -> None:
    """A server that accepts and drops is not hammered (13.1, P13)."""
    backoff = Backoff()
    delays = []
    for _ in range(7):
        delays.append(backoff.next_delay())
        backoff.ended_after(HEALTHY_AFTER - 0.001)
    assert delays == _SPECIFIED


def test_jitter_only_adds_its_share() -> None:
    """With jitter the delays vary, upwards, by the share that was asked for."""
    drawn = {Backoff(0.5).next_delay() for _ in range(50)}
    assert all(0.1 <= delay <= 0.15 for delay in drawn)
    assert len(drawn) > 10


# What is a refusal

_REFUSALS: list[LaserSellError] = [
    *(_http(status) for status in (301, 302, 400, 401, 403, 404, 418, 499)),
    HandshakeError("an error frame", code="capacity_exceeded"),
    HandshakeError("close 4001", code="4001"),
    AuthenticationError("no such key", code="invalid_api_key"),
    TlsError("expired"),
]
_TROUBLES: list[LaserSellError] = [
    *(_http(status) for status in (408, 425, 429, 500, 502, 503)),
    ConnectError("refused"),
    ConnectTimeoutError("silent"),
    *(
        StreamLostError("closed", close_code=code)
        for code in (1000, 1001, 1008, 1011, 4000, 4999)
    ),
]


@pytest.mark.parametrize("error", _REFUSALS, ids=repr)
def test_what_turns_us_away_is_a_refusal(error: LaserSellError) -> None:
    """3xx and 4xx, error frames and certificates: the same try can hardly succeed."""
    assert is_refusal(error)


@pytest.mark.parametrize("error", _TROUBLES, ids=repr)
def test_trouble_on_the_way_is_no_refusal(error: LaserSellError) -> None:
    """408, 425, 429, 5xx, the network and any close of a live connection pass by."""
    assert not is_refusal(error)


# Fatal or retry


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("401", status=401),
        TlsError("no pin", pin_mismatch=True),
        ConfigurationError("over a limit"),
        ForkedError(1),
    ],
    ids=repr,
)
def test_what_cannot_change_is_fatal_at_once(error: LaserSellError) -> None:
    """A refused key, a wrong pin and our own mistakes are not tried again."""
    assert Judge(_REJOIN).judge(error, 0.0) is Verdict.FATAL


@pytest.mark.parametrize("error", _TROUBLES, ids=repr)
def test_trouble_is_retried_for_ever(error: LaserSellError) -> None:
    """No outage is too long."""
    judge = Judge(_REJOIN)
    assert judge.judge(error, 0.0) is Verdict.RETRY
    assert judge.judge(error, 1e6) is Verdict.RETRY


@pytest.mark.parametrize(
    "error",
    [error for error in _REFUSALS if getattr(error, "status", None) != 401],
    ids=repr,
)
def test_a_refusal_is_retried_for_the_rejoin_timeout(error: LaserSellError) -> None:
    """The server may still count our own dead session, but not for ever."""
    judge = Judge(_REJOIN)
    assert judge.judge(error, 100.0) is Verdict.RETRY
    assert judge.judge(error, 100.0 + _REJOIN - 1) is Verdict.RETRY
    assert judge.judge(error, 100.0 + _REJOIN) is Verdict.FATAL


def test_no_rejoin_timeout_makes_the_first_refusal_fatal() -> None:
    """A rejoin timeout of 0 means not to try again."""
    assert Judge(0.0).judge(_http(403), 0.0) is Verdict.FATAL


def test_the_rejoin_timeout_counts_refusals_without_a_break() -> None:
    """A server that was down in between gets the whole time again."""
    judge = Judge(_REJOIN)
    judge.judge(_http(403), 0.0)
    judge.judge(ConnectError("down"), 500.0)
    assert judge.judge(_http(403), 1000.0) is Verdict.RETRY
    assert judge.judge(_http(403), 1000.0 + _REJOIN) is Verdict.FATAL


def test_being_taken_back_ends_the_count_of_refusals() -> None:
    """A refusal of long ago is forgotten once the server took us back."""
    judge = Judge(_REJOIN)
    judge.judge(_http(403), 0.0)
    judge.accepted()
    assert judge.judge(_http(403), 1000.0) is Verdict.RETRY


@pytest.mark.parametrize("code", ["invalid_strategy", "wallet_not_registered"])
def test_the_third_rejection_of_the_configuration_is_fatal(code: str) -> None:
    """The same configuration is tried three times, whatever comes in between."""
    judge = Judge(_REJOIN)
    rejected = HandshakeError("rejected", code=code)
    verdicts = [
        judge.judge(rejected, 0.0),
        judge.judge(ConnectError("down"), 1.0),
        judge.judge(rejected, 2.0),
        judge.judge(rejected, 3.0),
    ]
    assert verdicts == [Verdict.RETRY] * 3 + [Verdict.FATAL]


def test_an_accepted_configuration_ends_the_count_of_rejections() -> None:
    """Only rejections in a row add up."""
    judge = Judge(_REJOIN)
    rejected = HandshakeError("rejected", code="invalid_strategy")
    for _ in range(2):
        judge.judge(rejected, 0.0)
    judge.accepted()
    verdicts = [judge.judge(rejected, 1.0) for _ in range(3)]
    assert verdicts == [Verdict.RETRY, Verdict.RETRY, Verdict.FATAL]


# How long


@pytest.mark.parametrize("error", _REFUSALS, ids=repr)
def test_a_refusal_waits_the_longest_delay(error: LaserSellError) -> None:
    """Who was turned away does not come back within 100 ms."""
    assert Judge(_REJOIN).delay(error, Backoff()) == 2.0


@pytest.mark.parametrize("error", _TROUBLES, ids=repr)
def test_trouble_waits_the_delays_of_the_specification(error: LaserSellError) -> None:
    """The sequence counts all tries, whatever they failed of."""
    judge, backoff = Judge(_REJOIN), Backoff()
    assert [judge.delay(error, backoff) for _ in range(7)] == _SPECIFIED


@pytest.mark.parametrize(
    ("asked", "waited"), [(7.0, 7.0), (60.0, 60.0), (3600.0, 60.0), (0.0, 0.1)]
)
def test_retry_after_is_honoured_up_to_a_minute(asked: float, waited: float) -> None:
    """A busy server says when to come back; it cannot say never."""
    assert Judge(_REJOIN).delay(_http(503, asked), Backoff()) == waited


def test_the_delays_go_on_growing_through_refusals() -> None:
    """A refusal counts as a try: what follows it does not start at 100 ms."""
    judge, backoff = Judge(_REJOIN), Backoff()
    mixed = [ConnectError("down"), _http(403), ConnectError("down")]
    delays = [judge.delay(error, backoff) for error in mixed]
    assert delays == [0.1, 2.0, 0.4]
    assert all(a <= b for a, b in pairwise(_delays(backoff, 5)))
