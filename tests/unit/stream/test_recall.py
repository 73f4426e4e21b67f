from __future__ import annotations

from lasersell.protocol.client import MirrorBuyResult, RequestExitSignal, UpdateStrategy
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.intent import HoldSettings, Intent
from lasersell.stream.lifecycle import ExitRequestUnanswered
from lasersell.stream.options import StreamConfigure
from lasersell.stream.recall import Recall
from tests.unit.session.frames import (
    START_MS,
    WALLET,
    closed,
    exit_signal,
    opened,
)

WINDOW = 5.0
NEVER = float("-inf")


def _recall() -> Recall:
    configure = StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0))
    return Recall(Intent(configure, HoldSettings()), WINDOW)


def _reconnect(recall: Recall, now: float) -> None:
    recall.disconnected(START_MS)
    recall.connected(now, START_MS + 1000, again=True)


def _ends(recall: Recall, now: float, busy_until: float = NEVER) -> bool:
    return recall.ends_resync(now, busy_until)


def test_the_first_connection_has_no_resync() -> None:
    """Nothing was known that could be named again."""
    recall = _recall()
    recall.connected(0.0, START_MS, again=False)
    assert recall.next_due(is_live=True) is None
    assert not _ends(recall, 1000.0)


def test_a_resync_ends_once_and_on_time() -> None:
    """When it is due is known in advance."""
    recall = _recall()
    _reconnect(recall, 10.0)
    assert recall.next_due(is_live=True) == 15.0
    assert not _ends(recall, 14.9)
    assert _ends(recall, 15.0)
    assert not _ends(recall, 15.0)
    assert recall.next_due(is_live=True) is None


def test_what_is_due_can_be_done() -> None:
    """Whatever the fractions of the times are: else the supervisor would spin."""
    for millisecond in range(1, 2000):
        recall = _recall()
        _reconnect(recall, millisecond / 1000)
        at = recall.next_due(is_live=True)
        assert at is not None
        assert _ends(recall, at)


def test_a_position_named_again_gives_the_others_more_time() -> None:
    """A new one does not: it says nothing about the others."""
    recall = _recall()
    recall.opened(opened(1, "A"), 0.0)
    _reconnect(recall, 10.0)
    recall.opened(opened(7, "A"), 12.0)
    recall.opened(opened(8, "B"), 14.0)
    assert recall.next_due(is_live=True) == 17.0


def test_time_in_which_nothing_could_be_read_does_not_count() -> None:
    """What the server said may lie unread in the socket."""
    recall = _recall()
    _reconnect(recall, 10.0)
    assert not _ends(recall, 15.0, busy_until=13.0)
    assert recall.next_due(is_live=True) == 18.0
    assert _ends(recall, 18.0, busy_until=13.0)


def test_a_disconnect_calls_the_resync_off() -> None:
    """The next connection has one of its own."""
    recall = _recall()
    _reconnect(recall, 10.0)
    recall.disconnected(START_MS)
    assert not _ends(recall, 1000.0)
    assert recall.next_due(is_live=False) is None


def test_what_the_intent_waits_for_is_due_too() -> None:
    """Whichever comes first."""
    recall = _recall()
    _reconnect(recall, 10.0)
    with recall.lock:
        recall.intent.request_exit("A", None, 9.0, is_live=True)
    assert recall.next_due(is_live=True) == 14.0
    asks, reports = recall.due(14.0, is_live=True)
    assert asks == [RequestExitSignal(token_account="A")]
    assert reports == []


def test_what_was_not_named_again_is_given_up() -> None:
    """And what that costs the user is returned."""
    recall = _recall()
    recall.opened(opened(1, "A"), 0.0)
    with recall.lock:
        recall.intent.request_exit("A", None, 0.0, is_live=True)
    _reconnect(recall, 10.0)
    assert recall.resynced(15.0) == [ExitRequestUnanswered(token_account="A", asks=1)]


def test_a_close_and_an_exit_reach_the_intent() -> None:
    """Either answers what was asked for."""
    for frame in (exit_signal(1, "A"), closed(1, "A")):
        recall = _recall()
        recall.opened(opened(1, "A"), 0.0)
        with recall.lock:
            recall.intent.request_exit("A", None, 0.0, is_live=True)
        if frame.type == "position_closed":
            recall.closed(closed(1, "A"))
        else:
            recall.exit_signalled(exit_signal(1, "A"))
        assert recall.next_due(is_live=True) is None


def test_the_times_of_a_gap_are_told_to_who_recognises_positions() -> None:
    """What was bought in it for the same cost is another position."""
    recall = _recall()
    recall.opened(opened(1, "A"), 0.0)
    recall.disconnected(START_MS + 1000)
    recall.connected(10.0, START_MS + 9000, again=True)
    assert recall.intent.recognition.heard_until_ms == START_MS + 1000
    assert recall.intent.recognition.live_since_ms == START_MS + 9000


def test_what_changed_during_a_connect_is_news() -> None:
    """The strategy, and the outcomes that were held."""
    recall = _recall()
    told = recall.configure()
    changed = StrategyConfig(stop_loss_pct=1.0)
    recall.intent.strategy = changed
    recall.intent.hold_mirror_result("mint", True, 0.0)
    updates, results = recall.news_since(told)
    assert [make() for make in updates] == [UpdateStrategy(strategy=changed)]
    assert results == [MirrorBuyResult(mint="mint", success=True)]
    assert recall.configure().strategy == changed
