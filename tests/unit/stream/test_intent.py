from __future__ import annotations

from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError, HoldFullError
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import MirrorConfig, WatchWallet
from lasersell.protocol.server import ExitSignalWithTx, PositionClosed, PositionOpened
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.intent import MOST_ASKS, HoldSettings, Intent, Report
from lasersell.stream.lifecycle import CommandExpired, ExitRequestUnanswered
from lasersell.stream.options import StreamConfigure

_WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
_OTHER_WALLET = "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu"
_FIRST = StrategyConfig(target_profit_pct=5.0)
_SECOND = StrategyConfig(target_profit_pct=9.0)
_CONFIGURE = StreamConfigure(
    wallet_pubkeys=[_WALLET],
    strategy=_FIRST,
    send_mode="rpc",
    tip_lamports=1000,
    mirror_config=MirrorConfig(cooldown_sec=30),
)
_MAX_AGE = 30.0
_RETRY = 5.0


def _intent(capacity: int = 256) -> Intent:
    return Intent(
        _CONFIGURE,
        HoldSettings(capacity=capacity, max_age=_MAX_AGE, retry_after=_RETRY),
    )


def _opened(position_id: int = 1, account: str = "A", **changes: Any) -> PositionOpened:
    facts: dict[str, Any] = {
        "wallet_pubkey": _WALLET,
        "mint": f"mint of {account}",
        "tokens": 100,
        "entry_quote_units": 1000,
        "opened_at_ms": 5000,
        "slot": 50,
    }
    return PositionOpened(
        position_id=position_id, token_account=account, **{**facts, **changes}
    )


def _bought_again(position_id: int, account: str = "A") -> PositionOpened:
    return _opened(
        position_id,
        account,
        tokens=200,
        entry_quote_units=2000,
        opened_at_ms=9000,
        slot=90,
    )


def _closed(
    position_id: int = 1, account: str | None = "A", mint: str = "mint of A"
) -> PositionClosed:
    return PositionClosed(
        position_id=position_id,
        wallet_pubkey=_WALLET,
        mint=mint,
        token_account=account,
        reason="manual",
        slot=99,
    )


def _exit(
    position_id: int | None = 1,
    account: str | None = "A",
    level_index: int | None = None,
    mint: str = "mint of A",
    *,
    sells: int | None = None,
    of: int | None = 100,
) -> ExitSignalWithTx:
    return ExitSignalWithTx(
        session_id=1,
        position_id=position_id,
        wallet_pubkey=_WALLET,
        mint=mint,
        token_account=account,
        position_tokens=of,
        sell_tokens=sells,
        profit_units=1,
        reason="sell_now",
        triggered_at_ms=1,
        unsigned_tx_b64="AA==",
        level_index=level_index,
    )


def _open(
    intent: Intent, message: PositionOpened, now: float = 0.0
) -> list[ClientMessage]:
    told, reports = intent.opened(message, now)
    assert reports == []
    return told


def _reconnect(
    intent: Intent, *named: PositionOpened, now: float = 0.0
) -> list[ClientMessage]:
    """Lose the connection and have another name positions; return what it was told."""
    intent.disconnected()
    return [told for message in named for told in _open(intent, message, now)]


def _asking(account: str = "A", slippage_bps: int | None = None) -> RequestExitSignal:
    return RequestExitSignal(token_account=account, slippage_bps=slippage_bps)


def _give_time(
    intent: Intent, until: float, *, is_live: bool = True
) -> tuple[list[tuple[float, ClientMessage]], list[tuple[float, Report]]]:
    """Serve the intent whenever it wants it; return what came of it, and when."""
    asked: list[tuple[float, ClientMessage]] = []
    reported: list[tuple[float, Report]] = []
    while (at := intent.next_due(is_live=is_live)) is not None and at <= until:
        asks, reports = intent.due(at, is_live=is_live)
        assert asks or reports, "it would spin"
        asked += [(at, ask) for ask in asks]
        reported += [(at, report) for report in reports]
    return asked, reported


# The session's settings


def test_configure_says_what_was_asked_for_first() -> None:
    """Before any change, configure is the user's own."""
    assert _intent().configure() == _CONFIGURE.message()


def test_configure_says_what_was_asked_for_last() -> None:
    """After a reconnect the server is told the latest wishes (13.1, P1)."""
    intent = _intent()
    watched = (WatchWallet(pubkey=_OTHER_WALLET),)
    intent.strategy = _SECOND
    intent.wallet_pubkeys = (_OTHER_WALLET,)
    intent.watch_wallets = watched
    assert intent.configure() == attrs.evolve(
        _CONFIGURE.message(),
        strategy=_SECOND,
        wallet_pubkeys=(_OTHER_WALLET,),
        watch_wallets=watched,
    )


def test_nothing_changed_needs_no_update() -> None:
    """What configure just said is not said again."""
    intent = _intent()
    assert intent.updates_since(intent.configure()) == []


def test_a_wish_that_changed_during_a_connect_is_told() -> None:
    """Between the write of configure and the live connection the user did not wait."""
    intent = _intent()
    told = intent.configure()
    intent.strategy = _SECOND
    intent.wallet_pubkeys = (_OTHER_WALLET,)
    intent.watch_wallets = (WatchWallet(pubkey=_OTHER_WALLET),)
    updates = [update() for update in intent.updates_since(told)]
    assert updates == [
        UpdateStrategy(strategy=_SECOND),
        UpdateWallets(wallet_pubkeys=(_OTHER_WALLET,)),
        UpdateWatchWallets(watch_wallets=(WatchWallet(pubkey=_OTHER_WALLET),)),
    ]


def test_an_update_is_made_when_it_is_sent() -> None:
    """A wish that changes once more before the update goes out is in it."""
    intent = _intent()
    told = intent.configure()
    intent.strategy = _SECOND
    [update] = intent.updates_since(told)
    third = StrategyConfig(stop_loss_pct=1.0)
    intent.strategy = third
    assert update() == UpdateStrategy(strategy=third)


# Names of positions


def test_positions_are_counted_while_they_are_here() -> None:
    """Opened and not closed on this connection."""
    intent = _intent()
    _open(intent, _opened(1, "A"))
    _open(intent, _opened(2, "B"))
    assert intent.open_positions == 2
    intent.closed(_closed(1))
    assert intent.open_positions == 1
    intent.disconnected()
    assert intent.open_positions == 0


def test_an_id_names_its_account() -> None:
    """By the ids of this connection."""
    intent = _intent()
    _open(intent, _opened(7))
    assert intent.account_of(7) == "A"
    assert intent.present_id("A") == 7
    assert intent.is_here("A")
    assert intent.account_of(8) is None
    assert intent.present_id("B") is None


def test_an_id_goes_on_naming_its_account_until_that_is_named_again() -> None:
    """While offline a position can still be meant by its last id."""
    intent = _intent()
    _open(intent, _opened(7, "A"))
    _open(intent, _opened(8, "B"))
    intent.disconnected()
    assert intent.account_of(7) == "A"
    assert intent.present_id("A") is None
    assert not intent.is_here("A")
    _open(intent, _opened(8, "A"))
    assert intent.account_of(8) == "A", "the id of this connection counts first"
    assert intent.account_of(7) is None
    assert intent.present_id("A") == 8


def test_an_account_never_named_counts_as_here() -> None:
    """The server may know of an account what we do not, so it can be asked."""
    intent = _intent()
    assert intent.is_here("A")
    intent.untrack("A")
    assert intent.is_here("A")
    assert intent.present_id("A") is None


def test_a_position_is_current_until_another_takes_its_account() -> None:
    """As far as is known: a caller may hold one that is long gone."""
    intent = _intent()
    assert not intent.is_current(_opened(1), is_here=True)
    intent.override("A", _SECOND)
    assert not intent.is_current(_opened(1), is_here=True)
    _open(intent, _opened(1))
    assert intent.is_current(_opened(1), is_here=True)
    _open(intent, _bought_again(2))
    assert not intent.is_current(_opened(1), is_here=True)
    assert not intent.is_current(_opened(1), is_here=False)
    assert intent.is_current(_bought_again(1), is_here=False)


# Overrides and untracked positions


def test_an_override_is_told_again_by_the_new_id() -> None:
    """Ids change; a position's own strategy does not (13.1, P2)."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    assert _reconnect(intent, _opened(7)) == [
        UpdatePositionStrategy(position_id=7, strategy=_SECOND)
    ]
    assert _reconnect(intent, _opened(8)) == [
        UpdatePositionStrategy(position_id=8, strategy=_SECOND)
    ]


def test_an_untracked_position_is_untracked_again() -> None:
    """The server names it again; the user still does not want it (13.1, P15)."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    intent.untrack("A")
    intent.closed(_closed(1))
    assert _reconnect(intent, _opened(7)) == [ClosePosition(position_id=7)]
    intent.closed(_closed(7))
    assert _reconnect(intent, _opened(8)) == [ClosePosition(position_id=8)]


def test_a_wish_for_a_position_that_was_never_named_waits_for_it() -> None:
    """A wish may be known by its token account before the position is."""
    intent = _intent()
    intent.override("A", _SECOND)
    intent.untrack("B")
    assert _open(intent, _opened(1, "A")) == [
        UpdatePositionStrategy(position_id=1, strategy=_SECOND)
    ]
    assert _open(intent, _opened(2, "B")) == [ClosePosition(position_id=2)]


def test_a_new_position_needs_nothing() -> None:
    """The session's strategy holds for it by itself, and so it does after a repetition."""
    intent = _intent()
    assert _open(intent, _opened(1)) == []
    assert _open(intent, _opened(1)) == []
    assert _reconnect(intent, _opened(7)) == []


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("reconnects", [True, False])
def test_a_position_bought_again_starts_anew(is_closed: bool, reconnects: bool) -> None:
    """What was wished for the former position on an account does not hold for the next."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    intent.untrack("A")
    if is_closed:
        intent.closed(_closed(1))
    if reconnects:
        intent.disconnected()
    assert _open(intent, _bought_again(7)) == []
    assert _reconnect(intent, _bought_again(8)) == []


@pytest.mark.parametrize(
    "again",
    [
        _opened(7, tokens=70, entry_quote_units=700, slot=70),
        _opened(7, tokens=70, entry_quote_units=700, opened_at_ms=None),
        _opened(7, opened_at_ms=None, slot=70),
        _opened(7, opened_at_ms=None, slot=70, tokens=60),
    ],
    ids=["the same time", "the same slot", "the same cost", "partly sold"],
)
def test_a_position_is_known_again_by_any_of_its_facts(again: PositionOpened) -> None:
    """Which facts a server repeats is not documented, so one is enough."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    assert len(_reconnect(intent, again)) == 1


@pytest.mark.parametrize(
    "other",
    [
        _opened(7, opened_at_ms=None, slot=70, tokens=101),
        _opened(7, opened_at_ms=None, slot=70, entry_quote_units=999),
    ],
    ids=["more tokens", "another cost"],
)
def test_another_position_is_not_taken_for_it(other: PositionOpened) -> None:
    """Nothing in common means it was sold and bought again."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    assert _reconnect(intent, other) == []


def test_a_position_is_compared_by_its_latest_facts() -> None:
    """A position that grew is known again by what it grew to."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    _open(intent, _bought_again(1))
    assert len(_reconnect(intent, _bought_again(7))) == 1


def test_a_position_is_reemitted_once_per_connection() -> None:
    """Only the first name after a reconnect is a re-emission, and none on the first connection."""
    intent = _intent()
    assert not intent.is_reemitted(_opened(1))
    _open(intent, _opened(1))
    assert not intent.is_reemitted(_opened(1))
    intent.disconnected()
    assert intent.is_reemitted(_opened(7))
    assert not intent.is_reemitted(_bought_again(7))
    _open(intent, _opened(7))
    assert not intent.is_reemitted(_opened(7))


def test_a_closed_position_is_forgotten() -> None:
    """Whatever comes later on the account is another position."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    intent.closed(_closed(1))
    assert _reconnect(intent, _opened(7)) == []


@pytest.mark.parametrize(
    "frame",
    [
        _closed(1, None),
        _closed(99, "A"),
        _closed(99, None),
        _closed(2, "A"),
    ],
    ids=["by id", "by account", "by wallet and mint", "by account, against the id"],
)
def test_a_close_is_understood_by_whatever_it_names(frame: PositionClosed) -> None:
    """By id, else token account, else wallet and mint; a contradicting id is not believed."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    if frame.position_id != 1:
        intent.disconnected()
    _open(intent, _opened(2, "B"))
    intent.closed(frame)
    assert intent.account_of(2) == "B"
    assert _reconnect(intent, _opened(7)) == []


def test_a_close_that_names_nothing_known_changes_nothing() -> None:
    """A frame about something else is passed over."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    intent.closed(_closed(99, None, "another mint"))
    intent.closed(_closed(99, "Z", "another mint"))
    intent.closed(_closed(99, None, "mint of B"))
    assert len(_reconnect(intent, _opened(7))) == 1


def test_a_close_by_wallet_and_mint_must_be_unique() -> None:
    """Two accounts of one wallet with one token cannot be told apart by them."""
    intent = _intent()
    _open(intent, _opened(1, "A", mint="m"))
    _open(intent, _opened(2, "B", mint="m"))
    for account in ("A", "B"):
        intent.override(account, _SECOND)
    intent.disconnected()
    intent.closed(_closed(99, None, "m"))
    told = _reconnect(intent, _opened(7, "A", mint="m"), _opened(8, "B", mint="m"))
    assert len(told) == 2


def test_a_late_close_of_the_former_position_spares_the_next() -> None:
    """A close by the former id is about the former position, though the account is the same."""
    intent = _intent()
    _open(intent, _opened(1))
    _open(intent, _bought_again(2))
    intent.override("A", _SECOND)
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.closed(_closed(1))
    assert intent.open_positions == 1
    assert intent.next_due(is_live=True) is not None
    assert len(_reconnect(intent, _bought_again(7))) == 2


def test_a_position_bought_again_in_the_gap_takes_no_other_ones_id() -> None:
    """The id of the former position may already name another one on this connection."""
    intent = _intent()
    _open(intent, _opened(1, "A"))
    _open(intent, _opened(2, "B"))
    _reconnect(intent, _opened(1, "B"), _bought_again(3, "A"))
    assert intent.account_of(1) == "B"
    assert intent.account_of(3) == "A"


# Positions that are given up


def test_what_was_not_named_again_is_given_up() -> None:
    """After the resync a position that the server did not name has no wishes any more."""
    intent = _intent()
    _open(intent, _opened(1, "A"))
    _open(intent, _opened(2, "B"))
    _reconnect(intent, _opened(7, "B"))
    assert intent.resynced(10.0) == []
    assert intent.account_of(1) is None
    assert intent.account_of(7) == "B"


@pytest.mark.parametrize("late", [11.0, 609.0])
def test_a_late_reemission_revives_the_wishes(late: float) -> None:
    """For ten minutes a position given up can come back as the user wanted it."""
    intent = _intent()
    _open(intent, _opened(1, "A"))
    _open(intent, _opened(2, "B"))
    _open(intent, _opened(3, "C"))
    intent.override("A", _SECOND)
    intent.untrack("B")
    intent.disconnected()
    intent.resynced(10.0)
    assert _open(intent, _opened(7, "A"), late) == [
        UpdatePositionStrategy(position_id=7, strategy=_SECOND)
    ]
    assert _open(intent, _opened(8, "B"), late) == [ClosePosition(position_id=8)]
    assert _open(intent, _opened(9, "C"), late) == []


def test_the_wishes_are_forgotten_after_ten_minutes() -> None:
    """Nothing is kept for ever for positions that do not come back."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.override("A", _SECOND)
    intent.disconnected()
    intent.resynced(10.0)
    assert _open(intent, _opened(7), 610.0) == []


def test_what_was_given_up_is_not_revived_by_another_position() -> None:
    """A position bought after the former one was given up starts anew."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.untrack("A")
    intent.disconnected()
    intent.resynced(10.0)
    assert _open(intent, _bought_again(7), 11.0) == []
    assert _reconnect(intent, _opened(8), now=12.0) == []


def test_a_wish_given_after_the_loss_counts() -> None:
    """The newest wish for an account wins over the one of before the gap."""
    intent = _intent()
    _open(intent, _opened(1))
    intent.untrack("A")
    intent.disconnected()
    intent.resynced(10.0)
    intent.override("A", _SECOND)
    assert _open(intent, _opened(7), 11.0) == [
        UpdatePositionStrategy(position_id=7, strategy=_SECOND)
    ]


def test_given_up_wishes_do_not_add_up() -> None:
    """A position that is lost again and again is remembered once."""
    intent = _intent()
    for round_trip in range(5):
        _open(intent, _opened(round_trip + 1), 100.0 * round_trip)
        intent.override("A", _SECOND)
        intent.disconnected()
        intent.resynced(100.0 * round_trip + 10.0)
    assert len(intent._lost) == 1
    intent.resynced(5000.0)
    assert not intent._lost


# Exits


def test_an_exit_is_asked_for_at_once_while_live() -> None:
    """With the slippage of this one transaction."""
    intent = _intent()
    _open(intent, _opened())
    message = intent.request_exit("A", 300, 0.0, is_live=True)
    assert message == _asking(slippage_bps=300)


def test_an_exit_of_an_unknown_account_is_asked_for_at_once() -> None:
    """The server may know it."""
    assert _intent().request_exit("Z", None, 0.0, is_live=True) == _asking("Z")


def test_an_unanswered_exit_is_asked_for_three_times() -> None:
    """Every five seconds; then the user is told that no signal came."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", 300, 0.0, is_live=True)
    asked, reported = _give_time(intent, 1000.0)
    ask = _asking(slippage_bps=300)
    assert asked == [(5.0, ask), (10.0, ask)]
    assert reported == [(15.0, ExitRequestUnanswered(token_account="A", asks=3))]
    assert MOST_ASKS == 3


def test_an_exit_is_asked_for_again_after_a_resync() -> None:
    """As soon as the position is named again, by its account (13.1, P10)."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", 300, 0.0, is_live=True)
    assert _reconnect(intent, _opened(7), now=2.0) == [_asking(slippage_bps=300)]
    asked, reported = _give_time(intent, 1000.0)
    assert [at for at, _ in asked] == [7.0]
    assert [at for at, _ in reported] == [12.0]


def test_no_exit_is_asked_for_before_the_position_is_named_again() -> None:
    """Until then its account may hold another position, whose exit nobody wants."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.disconnected()
    assert _give_time(intent, 1000.0, is_live=True) == ([], [])
    assert intent.request_exit("A", None, 1.0, is_live=True) is None
    assert _open(intent, _opened(7), 2.0) == [_asking()]


@pytest.mark.parametrize(
    "answer",
    [
        _exit(),
        _exit(1, None),
        _exit(99, "A"),
        _exit(99, None),
        _exit(None, None),
        _exit(sells=100),
        _exit(level_index=2, sells=100),
    ],
    ids=[
        "both",
        "by id",
        "by account",
        "by wallet and mint",
        "by no id",
        "of all",
        "the last rung",
    ],
)
def test_an_exit_signal_answers(answer: ExitSignalWithTx) -> None:
    """However it names the position."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.exit_signalled(answer)
    assert intent.next_due(is_live=True) is None


@pytest.mark.parametrize(
    "other",
    [
        _exit(level_index=0),
        _exit(sells=99),
        _exit(sells=99, of=None),
        _exit(2, "B", mint="mint of B"),
        _exit(1, "B", mint="mint of B"),
        _exit(1, None, mint="mint of B"),
        _exit(None, None, mint="mint of Z"),
    ],
    ids=[
        "a rung",
        "a part",
        "of how much",
        "another",
        "against the id",
        "another mint",
        "nothing",
    ],
)
def test_another_exit_signal_does_not_answer(other: ExitSignalWithTx) -> None:
    """A rung of the ladder or another position's exit is not what was asked for."""
    intent = _intent()
    _open(intent, _opened(1, "A"))
    _open(intent, _opened(2, "B"))
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.exit_signalled(other)
    assert intent.next_due(is_live=True) is not None


def test_a_close_answers() -> None:
    """A position that is closed needs no exit."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.closed(_closed())
    assert intent.next_due(is_live=True) is None


def test_untracking_forgets_the_exit() -> None:
    """Who stops tracking a position does not wait for its exit."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.untrack("A")
    assert intent.next_due(is_live=True) is None


def test_asking_again_starts_the_count_again() -> None:
    """The user's second word is a new one, with its own slippage."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", 100, 0.0, is_live=True)
    _give_time(intent, 10.0)
    assert intent.request_exit("A", 900, 11.0, is_live=True) == _asking(
        slippage_bps=900
    )
    asked, reported = _give_time(intent, 1000.0)
    assert [at for at, _ in asked] == [16.0, 21.0]
    assert [at for at, _ in reported] == [26.0]


# Held commands


def test_an_exit_asked_for_offline_is_held_and_sent() -> None:
    """It goes out when the position is named again."""
    intent = _intent()
    _open(intent, _opened())
    intent.disconnected()
    assert intent.request_exit("A", 300, 0.0, is_live=False) is None
    assert _give_time(intent, 29.0, is_live=False) == ([], [])
    assert _open(intent, _opened(7), 29.0) == [_asking(slippage_bps=300)]


def test_a_held_exit_of_an_account_never_named_is_sent_with_its_name() -> None:
    """The wish may be older than the position is to us."""
    intent = _intent()
    assert intent.request_exit("A", None, 0.0, is_live=False) is None
    assert _open(intent, _opened(), 1.0) == [_asking()]


@pytest.mark.parametrize("is_live", [True, False])
def test_a_held_exit_expires(is_live: bool) -> None:
    """After half a minute it is no longer what the user wants; this is reported."""
    intent = _intent()
    _open(intent, _opened())
    intent.disconnected()
    intent.request_exit("A", 300, 1.0, is_live=False)
    _, reported = _give_time(intent, 1000.0, is_live=is_live)
    command = _asking(slippage_bps=300)
    assert reported == [(31.0, CommandExpired(command=command, held_sec=30.0))]
    assert _open(intent, _opened(7), 40.0) == []


def test_an_exit_that_could_not_be_written_is_held() -> None:
    """A write that failed counts as no ask; the next connection asks three times."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.exit_not_sent("A")
    assert _reconnect(intent, _opened(7), now=1.0) == [_asking()]
    asked, reported = _give_time(intent, 1000.0)
    assert len(asked) == 2
    assert len(reported) == 1


def test_a_deadlines_exit_that_could_not_be_written_does_not_expire() -> None:
    """A deadline waits for the next connection, however long that takes."""
    intent = _intent(capacity=0)
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True, by_deadline=True)
    intent.exit_not_sent("A")
    assert _give_time(intent, 1000.0, is_live=False) == ([], [])
    assert _reconnect(intent, _opened(7), now=1000.0) == [_asking()]


def test_nothing_is_due_early() -> None:
    """A look before the time, for whatever reason, asks and gives up nothing."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True)
    assert intent.due(4.9, is_live=True) == ([], [])


def test_a_write_that_failed_after_the_answer_changes_nothing() -> None:
    """There may be nothing left to hold."""
    intent = _intent()
    intent.exit_not_sent("A")
    assert intent.next_due(is_live=False) is None


def test_the_exit_of_a_position_bought_again_is_reported() -> None:
    """It is not asked for: that would sell another position. The user learns of it."""
    intent = _intent()
    for account in "ABC":
        _open(intent, _opened(ord(account), account))
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.disconnected()
    intent.request_exit("B", None, 1.0, is_live=False)
    intent.request_exit("C", None, 1.0, is_live=False, by_deadline=True)
    reports = []
    for account in "ABC":
        told, given_up = intent.opened(_bought_again(ord(account) + 10, account), 3.0)
        assert told == []
        reports += given_up
    assert reports == [
        ExitRequestUnanswered(token_account="A", asks=1),
        CommandExpired(command=_asking("B"), held_sec=2.0),
    ]


def test_the_exit_of_a_lost_position_is_reported() -> None:
    """Held ones have expired, sent ones stay unanswered; a deadline's own go in silence."""
    intent = _intent()
    for account in "ABC":
        _open(intent, _opened(ord(account), account))
    intent.request_exit("A", None, 0.0, is_live=True)
    intent.disconnected()
    intent.request_exit("B", None, 1.0, is_live=False)
    intent.request_exit("C", None, 1.0, is_live=False, by_deadline=True)
    assert intent.resynced(3.0) == [
        ExitRequestUnanswered(token_account="A", asks=1),
        CommandExpired(command=_asking("B"), held_sec=2.0),
    ]
    assert intent.next_due(is_live=True) is None


def test_a_full_hold_refuses() -> None:
    """What is held is bounded; what is refused was not taken."""
    intent = _intent(capacity=2)
    intent.request_exit("A", None, 0.0, is_live=False)
    intent.hold_mirror_result("m", True, 0.0)
    with pytest.raises(HoldFullError) as caught:
        intent.request_exit("B", None, 0.0, is_live=False)
    assert caught.value.capacity == 2
    with pytest.raises(HoldFullError):
        intent.hold_mirror_result("n", True, 0.0)
    _, reported = _give_time(intent, 1000.0, is_live=False)
    assert len(reported) == 2


def test_a_full_hold_takes_a_newer_word() -> None:
    """Asking again for the same position or token needs no more room."""
    intent = _intent(capacity=2)
    intent.request_exit("A", 100, 0.0, is_live=False)
    intent.hold_mirror_result("m", True, 0.0)
    intent.request_exit("A", 900, 10.0, is_live=False)
    intent.hold_mirror_result("m", False, 10.0)
    _, reported = _give_time(intent, 1000.0, is_live=False)
    assert reported == [
        (40.0, CommandExpired(command=_asking(slippage_bps=900), held_sec=30.0)),
        (
            40.0,
            CommandExpired(
                command=MirrorBuyResult(mint="m", success=False), held_sec=30.0
            ),
        ),
    ]


def test_a_full_hold_refuses_what_could_not_be_written() -> None:
    """The bound holds also where the connection broke under the command."""
    intent = _intent(capacity=1)
    for account in "AB":
        intent.request_exit(account, None, 0.0, is_live=True)
    intent.exit_not_sent("A")
    with pytest.raises(HoldFullError):
        intent.exit_not_sent("B")
    _, reported = _give_time(intent, 1000.0, is_live=False)
    assert len(reported) == 1


def test_deadlines_and_sent_exits_take_no_room() -> None:
    """Only commands of the user that wait for a connection count."""
    intent = _intent(capacity=1)
    for number in range(10):
        intent.request_exit(f"D{number}", None, 0.0, is_live=False, by_deadline=True)
        intent.request_exit(f"S{number}", None, 0.0, is_live=True)
    intent.request_exit("A", None, 0.0, is_live=False)
    with pytest.raises(HoldFullError):
        intent.request_exit("B", None, 0.0, is_live=False)


@pytest.mark.parametrize("capacity", [-1, 1.5, True, None])
def test_a_wrong_capacity_is_refused(capacity: Any) -> None:
    """The bound is a whole number; 0 holds nothing."""
    with pytest.raises(ConfigurationError, match="hold_capacity"):
        HoldSettings(capacity=capacity)
    with pytest.raises(HoldFullError):
        _intent(capacity=0).hold_mirror_result("m", True, 0.0)


# Deadlines


def test_a_deadlines_exit_is_asked_for_until_it_is_answered() -> None:
    """For ever, every five seconds (13.1, P8)."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True, by_deadline=True)
    asked, reported = _give_time(intent, 100.0)
    assert [at for at, _ in asked] == [5.0 * times for times in range(1, 21)]
    assert reported == []
    intent.exit_signalled(_exit())
    assert intent.next_due(is_live=True) is None


def test_a_deadline_that_falls_while_offline_is_asked_for_after_the_resync() -> None:
    """It neither expires nor waits once the position is named again."""
    intent = _intent()
    _open(intent, _opened())
    intent.disconnected()
    message = intent.request_exit("A", None, 0.0, is_live=False, by_deadline=True)
    assert message is None
    assert _give_time(intent, 1000.0, is_live=False) == ([], [])
    assert _open(intent, _opened(7), 1000.0) == [_asking()]


def test_a_deadline_keeps_the_users_slippage() -> None:
    """Where the user has asked already, the deadline asks for the same, for ever."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", 300, 0.0, is_live=True)
    message = intent.request_exit("A", None, 1.0, is_live=True, by_deadline=True)
    assert message == _asking(slippage_bps=300)
    asked, reported = _give_time(intent, 100.0)
    assert len(asked) == 19
    assert reported == []


def test_the_user_can_hurry_a_deadline() -> None:
    """The user's word has its own slippage; the deadline goes on."""
    intent = _intent()
    _open(intent, _opened())
    intent.request_exit("A", None, 0.0, is_live=True, by_deadline=True)
    message = intent.request_exit("A", 900, 1.0, is_live=True)
    assert message == _asking(slippage_bps=900)
    asked, _ = _give_time(intent, 100.0)
    assert len(asked) == 19


def test_deadlines_can_be_called_off() -> None:
    """What only a deadline asked for is forgotten, what the user asked for is not."""
    intent = _intent()
    for account in "ABC":
        _open(intent, _opened(ord(account), account))
    intent.request_exit("A", None, 0.0, is_live=True, by_deadline=True)
    intent.request_exit("B", None, 0.0, is_live=True)
    intent.request_exit("C", None, 0.0, is_live=True, by_deadline=True)
    intent.request_exit("C", None, 0.0, is_live=True)
    intent.cancel_deadlines()
    asked, reported = _give_time(intent, 1000.0)
    assert {
        ask.token_account for _, ask in asked if isinstance(ask, RequestExitSignal)
    } == {
        "B",
        "C",
    }
    assert len(reported) == 2


# Mirror buys


def test_a_mirror_result_is_held_by_mint() -> None:
    """The latest word for each token, for the next connection, once."""
    intent = _intent()
    intent.hold_mirror_result("m", True, 0.0)
    intent.hold_mirror_result("n", True, 0.0)
    intent.hold_mirror_result("m", False, 1.0)
    assert intent.take_mirror_results() == [
        MirrorBuyResult(mint="m", success=False),
        MirrorBuyResult(mint="n", success=True),
    ]
    assert intent.take_mirror_results() == []


def test_a_mirror_result_held_after_the_reconnect_goes_out() -> None:
    """Held a moment too late for the new connection, it is sent at the next look."""
    intent = _intent()
    intent.hold_mirror_result("m", True, 7.0)
    assert intent.next_due(is_live=True) == 7.0
    assert intent.due(7.0, is_live=True) == (
        [MirrorBuyResult(mint="m", success=True)],
        [],
    )
    assert intent.next_due(is_live=True) is None


def test_a_held_mirror_result_expires() -> None:
    """After half a minute offline the server has given up waiting for it."""
    intent = _intent()
    intent.hold_mirror_result("m", True, 1.0)
    intent.hold_mirror_result("n", True, 2.0)
    expired = CommandExpired(
        command=MirrorBuyResult(mint="m", success=True), held_sec=30.0
    )
    assert intent.due(31.0, is_live=False) == ([], [expired])
    assert intent.take_mirror_results() == [MirrorBuyResult(mint="n", success=True)]
