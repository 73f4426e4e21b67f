from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from lasersell.protocol.market import MarketContext, Venue
from lasersell.protocol.server import (
    BalanceUpdate,
    ExitSignalWithTx,
    PositionClosed,
    PositionOpened,
)
from lasersell.session.positions import (
    SOL_MINT,
    STRANGERS_KEPT,
    USD1_MINT,
    PositionBook,
    PositionHandle,
)
from lasersell.stream.recognition import TOMBSTONE_SEC, Recognition
from tests.unit.session.frames import (
    OTHER_WALLET,
    START_MS,
    WALLET,
    balance,
    closed,
    exit_signal,
    liquidity,
    mint_of,
    opened,
    pnl,
)


def _again(position_id: int, account: str = "A", **changes: Any) -> PositionOpened:
    """Return another position on the same account, nothing of which is the same."""
    facts = {
        "tokens": 200,
        "entry_quote_units": 2000,
        "opened_at_ms": START_MS + 9000,
        "slot": 90,
    }
    return opened(position_id, account, **{**facts, **changes})


def _open(
    book: PositionBook, message: PositionOpened, now: float = 0.0
) -> PositionHandle:
    return book.opened(message, now).handle


@pytest.fixture
def book() -> PositionBook:
    """Return a book with one position, number 1 on account A."""
    book = PositionBook()
    _open(book, opened())
    return book


# Looking up


def test_a_position_is_found_by_everything_that_names_it(book: PositionBook) -> None:
    """By id, token account, wallet and mint, and in the list of all."""
    handle = book.by_id[1]
    assert book.with_id(1) is handle
    assert book.by_account("A") is handle
    assert book.by_wallet_mint(WALLET, mint_of("A")) == [handle]
    assert book.open() == [handle]


def test_a_position_that_closed_is_found_by_nothing(book: PositionBook) -> None:
    """No index keeps it (13.1, P4, P54)."""
    book.closed(closed(), 1.0)
    assert book.with_id(1) is None
    assert book.by_account("A") is None
    assert book.by_wallet_mint(WALLET, mint_of("A")) == []
    assert book.open() == []


class _Counting(dict[Any, Any]):
    """A dictionary that counts how many of its entries were looked at."""

    looks = 0

    def get(self, key: Any, default: Any = None) -> Any:
        _Counting.looks += 1
        return super().get(key, default)

    def values(self) -> Any:
        _Counting.looks += len(self)
        return super().values()


def test_looking_up_does_not_depend_on_how_many_there_are() -> None:
    """Each look-up is one look into an index, not a walk over all (13.1, P54)."""
    _Counting.looks = 0
    book = PositionBook()
    for number in range(1000):
        _open(book, opened(number, f"A{number}"))
    book.by_id = _Counting(book.by_id)
    book._by_account = _Counting(book._by_account)
    book._by_wallet_mint = _Counting(
        {key: _Counting(value) for key, value in book._by_wallet_mint.items()}
    )
    assert book.with_id(7) is not None
    assert book.by_account("A7") is not None
    assert len(book.by_wallet_mint(WALLET, mint_of("A7"))) == 1
    assert book.find(exit_signal(7, "A7")) is not None
    assert _Counting.looks < 12


def test_positions_are_listed_oldest_first() -> None:
    """Also when they are named again in another order."""
    book = PositionBook()
    for number, account in enumerate("ABC", start=1):
        _open(book, opened(number, account))
    book.disconnected()
    for number, account in enumerate("CBA", start=1):
        _open(book, opened(number, account))
    assert [handle.token_account for handle in book.open()] == ["A", "B", "C"]


def test_two_accounts_of_one_wallet_may_hold_one_token() -> None:
    """Both are listed, and closing one leaves the other."""
    book = PositionBook()
    first = _open(book, opened(1, "A", mint="m"))
    second = _open(book, opened(2, "B", mint="m"))
    assert book.by_wallet_mint(WALLET, "m") == [first, second]
    book.closed(closed(1, "A", mint="m"), 1.0)
    assert book.by_wallet_mint(WALLET, "m") == [second]


@pytest.mark.parametrize(
    "frame",
    [
        exit_signal(1, "A"),
        exit_signal(1, None),
        exit_signal(None, "A"),
        exit_signal(99, "A"),
        exit_signal(99, None),
        closed(1, "A"),
        closed(1, None),
        balance(5, "A"),
        balance(5, None),
    ],
)
def test_a_frame_is_understood_by_whatever_it_names(
    book: PositionBook, frame: ExitSignalWithTx | PositionClosed | BalanceUpdate
) -> None:
    """By the id of this connection, then the account, then wallet and mint."""
    _open(book, opened(2, "B"))
    assert book.find(frame) is book.by_id[1]


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (exit_signal(2, "A"), "A"),
        (exit_signal(2, "Z", mint=mint_of("B")), None),
        (exit_signal(2, None, mint=mint_of("A")), "A"),
        (exit_signal(2, "B", wallet_pubkey=OTHER_WALLET), None),
        (exit_signal(None, "A", mint=mint_of("B")), None),
        (closed(2, "A"), None),
        (balance(5, "Z", mint=mint_of("A")), None),
    ],
    ids=[
        "the account against the id",
        "an unknown account against the id",
        "the mint against the id",
        "the wallet against the id",
        "the mint against the account",
        "a close by the id of another",
        "an unknown account of a known token",
    ],
)
def test_what_contradicts_a_frame_is_not_meant_by_it(
    book: PositionBook,
    frame: ExitSignalWithTx | PositionClosed | BalanceUpdate,
    found: str | None,
) -> None:
    """Money hangs on it: a frame that says two things is believed in neither."""
    _open(book, opened(2, "B"))
    handle = book.find(frame)
    assert (handle and handle.token_account) == found


def test_wallet_and_mint_must_be_unique() -> None:
    """With two positions of one wallet in one token, they name neither."""
    book = PositionBook()
    for number, account in enumerate("AB", start=1):
        _open(book, opened(number, account, mint="m"))
    assert book.find(exit_signal(None, None, mint="m")) is None
    assert book.find(balance(5, None, mint="m")) is None


def test_a_late_close_of_the_former_position_spares_the_next(
    book: PositionBook,
) -> None:
    """Two positions in a row on one account, and the server tells the end last."""
    first = book.by_id[1]
    second = _open(book, _again(2))
    assert book.closed(closed(1, "A"), 1.0) is None
    assert not first.is_open
    assert second.is_open
    assert book.by_account("A") is second


def test_a_close_after_a_reconnect_needs_no_new_id(book: PositionBook) -> None:
    """What was not named again on this connection has no id that could contradict."""
    handle = book.by_id[1]
    book.disconnected()
    assert book.closed(closed(77, "A"), 1.0) is handle
    assert handle.status == "closed"


# Over a reconnect


def test_ids_go_on_naming_their_position_while_the_stream_is_away(
    book: PositionBook,
) -> None:
    """Until the position is named again, or another one has the id."""
    handle = book.by_id[1]
    book.disconnected()
    assert book.with_id(1) is handle
    other = _open(book, opened(1, "B"))
    assert book.with_id(1) is other
    _open(book, opened(5, "A"))
    assert book.with_id(5) is handle


def test_a_former_id_names_nothing_once_its_position_is_named_again(
    book: PositionBook,
) -> None:
    """An id is good for one connection."""
    book.disconnected()
    _open(book, opened(5))
    assert book.with_id(1) is None


def test_a_former_id_names_no_position_that_was_given_up(book: PositionBook) -> None:
    """A lost position is not open."""
    book.disconnected()
    book.resynced(1.0)
    assert book.with_id(1) is None


@pytest.mark.parametrize(
    "message",
    [
        _again(7, opened_at_ms=START_MS),
        _again(7, slot=50),
        _again(7, entry_quote_units=1000, tokens=100, opened_at_ms=None),
        _again(7, entry_quote_units=1000, tokens=60, opened_at_ms=None),
        _again(7, entry_quote_units=1000, tokens=100),
    ],
    ids=["time", "slot", "cost", "partly sold", "cost, and stamped anew"],
)
def test_any_repeated_fact_makes_a_reemission(
    book: PositionBook, message: PositionOpened
) -> None:
    """Which fact a server repeats is not documented (13.1, P3)."""
    handle = book.by_id[1]
    handle.pnl = pnl()
    book.disconnected()
    seen = book.opened(message, 1.0)
    assert seen.handle is handle
    assert (seen.is_new, seen.reopened, seen.previous_position_id) == (False, True, 1)
    assert handle.position_id == 7
    assert handle.pnl is not None
    assert book.open() == [handle]


@pytest.mark.parametrize(
    "message",
    [
        _again(7),
        _again(1),
        _again(7, entry_quote_units=1000, tokens=101),
        _again(7, opened_at_ms=None),
        opened(7, mint="another"),
        opened(7, wallet_pubkey=OTHER_WALLET),
    ],
    ids=["nothing", "the id", "cost, more tokens", "no time", "mint", "wallet"],
)
def test_anything_else_on_the_account_is_a_new_position(
    book: PositionBook, message: PositionOpened
) -> None:
    """The former one must have gone unseen."""
    former = book.by_id[1]
    book.disconnected()
    seen = book.opened(message, 1.0)
    assert seen.is_new
    assert seen.replaced is former
    assert not seen.reopened
    assert former.status == "lost"
    assert book.open() == [seen.handle]


def test_what_was_bought_in_the_gap_for_the_same_cost_is_new(
    book: PositionBook,
) -> None:
    """Many buy for the same amount each time; its time of opening tells."""
    book.recognition.heard_until_ms = START_MS + 1000
    book.disconnected()
    book.recognition.live_since_ms = START_MS + 9000
    bought = _again(7, entry_quote_units=1000, tokens=99, opened_at_ms=START_MS + 5000)
    assert book.opened(bought, 1.0).is_new


def test_what_was_bought_in_an_earlier_gap_is_new_too(book: PositionBook) -> None:
    """The gap of a position begins with the last connection that had named it."""
    book.recognition.heard_until_ms = START_MS + 1000
    book.disconnected()
    book.recognition.heard_until_ms = START_MS + 7000
    book.disconnected()
    book.recognition.live_since_ms = START_MS + 9000
    bought = _again(7, entry_quote_units=1000, tokens=99, opened_at_ms=START_MS + 5000)
    assert book.opened(bought, 1.0).is_new


@pytest.mark.parametrize("opened_at_ms", [START_MS + 999, START_MS + 9000])
def test_a_time_outside_of_the_gap_does_not_speak_against_the_cost(
    book: PositionBook, opened_at_ms: int
) -> None:
    """A server that stamps its re-emissions anew stamps them when it is back."""
    book.recognition.heard_until_ms = START_MS + 1000
    book.disconnected()
    book.recognition.live_since_ms = START_MS + 9000
    again = _again(7, entry_quote_units=1000, tokens=99, opened_at_ms=opened_at_ms)
    assert book.opened(again, 1.0).reopened


def test_on_one_connection_the_id_tells(book: PositionBook) -> None:
    """The same id is the same position that grew; another id is another position."""
    handle = book.by_id[1]
    grown = book.opened(_again(1), 1.0)
    assert grown.handle is handle
    assert not grown.reopened
    assert handle.tokens == 200
    bought_again = book.opened(opened(2, tokens=200), 2.0)
    assert bought_again.is_new
    assert bought_again.replaced is handle


def test_ids_may_change_hands() -> None:
    """Two positions that swap their ids are both still found by them."""
    book = PositionBook()
    first, second = _open(book, opened(1, "A")), _open(book, opened(2, "B"))
    book.disconnected()
    _open(book, opened(2, "A"))
    _open(book, opened(1, "B"))
    assert book.by_id == {2: first, 1: second}


def test_a_position_is_named_again_once_per_connection(book: PositionBook) -> None:
    """A repetition on the same connection is no reopening."""
    book.disconnected()
    assert book.opened(opened(7), 1.0).reopened
    assert not book.opened(opened(7), 2.0).reopened


def test_a_reemission_brings_the_latest_tokens_and_market(book: PositionBook) -> None:
    """It keeps the market it had where the message names none."""
    handle = book.by_id[1]
    market = handle.market_context
    book.disconnected()
    _open(book, opened(7, tokens=60, market_context=None))
    assert handle.tokens == 60
    assert handle.market_context is market


def test_a_position_that_closed_does_not_come_back(book: PositionBook) -> None:
    """After a close that was seen, the same facts are a new position."""
    handle = book.by_id[1]
    book.closed(closed(), 1.0)
    book.disconnected()
    seen = book.opened(opened(7), 2.0)
    assert seen.is_new
    assert seen.handle is not handle


# Given up


def test_what_was_not_named_again_is_given_up() -> None:
    """And only that."""
    book = PositionBook()
    for number, account in enumerate("AB", start=1):
        _open(book, opened(number, account))
    book.disconnected()
    _open(book, opened(7, "B"))
    (lost,) = book.resynced(10.0)
    assert lost.token_account == "A"
    assert lost.status == "lost"
    assert [handle.token_account for handle in book.open()] == ["B"]
    assert book.resynced(20.0) == []


def test_a_late_reemission_revives_a_lost_position(book: PositionBook) -> None:
    """With its history, up to ten minutes later."""
    handle = book.by_id[1]
    handle.peak_profit_units = 77
    book.disconnected()
    book.resynced(10.0)
    seen = book.opened(opened(7), 10.0 + TOMBSTONE_SEC - 0.1)
    assert seen.handle is handle
    assert (seen.reopened, seen.previous_position_id) == (True, 1)
    assert (handle.status, handle.peak_profit_units) == ("open", 77)
    assert book.with_id(7) is handle


def test_a_lost_position_is_forgotten_after_ten_minutes(book: PositionBook) -> None:
    """Nothing of it is kept."""
    book.disconnected()
    book.resynced(10.0)
    assert book.opened(opened(7), 10.0 + TOMBSTONE_SEC).is_new


def test_a_lost_position_needs_better_proof_than_its_cost(book: PositionBook) -> None:
    """It was sold, as far as is known: the same amount spent later buys another one."""
    book.disconnected()
    book.resynced(10.0)
    later = _again(7, entry_quote_units=1000, tokens=99, opened_at_ms=START_MS + 60_000)
    assert book.opened(later, 60.0).is_new


def test_nothing_comes_back_from_behind_another_position(book: PositionBook) -> None:
    """Once the account held something else, what it held before is gone for good."""
    book.disconnected()
    book.resynced(10.0)
    _open(book, _again(7))
    book.closed(closed(7), 20.0)
    assert book.opened(opened(8), 30.0).is_new


def test_a_replaced_position_does_not_come_back(book: PositionBook) -> None:
    """Its successor has closed; the same facts are a third position."""
    book.disconnected()
    _open(book, _again(7))
    book.closed(closed(7), 20.0)
    book.disconnected()
    assert book.opened(opened(8), 30.0).is_new


def test_the_end_of_a_lost_position_may_be_told_late(book: PositionBook) -> None:
    """Then it is closed, and cannot be revived."""
    handle = book.by_id[1]
    book.disconnected()
    book.resynced(10.0)
    assert book.closed(closed(99, "A", reason="stop_loss"), 11.0) is handle
    assert (handle.status, handle.close_reason) == ("closed", "stop_loss")
    assert book.opened(opened(7), 12.0).is_new


def test_lost_positions_do_not_add_up() -> None:
    """What is too old goes whenever another one comes."""
    book = PositionBook()
    for number in range(100):
        _open(book, opened(number, f"A{number}"))
        book.disconnected()
        book.resynced(number * TOMBSTONE_SEC)
    assert len(book._tombstones) == 1


# No longer tracked


def _untracked(book: PositionBook) -> PositionHandle:
    handle = book.by_id[1]
    handle.is_untracked = True
    book.closed(closed(), 1.0)
    return handle


def test_an_untracked_position_stays_untracked_after_a_reconnect(
    book: PositionBook,
) -> None:
    """The server closes it and then names it again, because it is still held."""
    handle = _untracked(book)
    book.disconnected()
    seen = book.opened(opened(7), 2.0)
    assert seen.handle is handle
    assert seen.reopened
    assert handle.is_untracked


def test_an_untracked_position_that_is_bought_again_is_tracked(
    book: PositionBook,
) -> None:
    """On the same connection for the same cost: the wish was for the former one."""
    _untracked(book)
    seen = book.opened(_again(2, entry_quote_units=1000, tokens=99), 2.0)
    assert seen.is_new
    assert not seen.handle.is_untracked


def test_an_untracked_position_named_again_on_one_connection_is_known(
    book: PositionBook,
) -> None:
    """As when its wallet is taken off the list and put back: it is the same opening."""
    handle = _untracked(book)
    assert book.opened(opened(1), 2.0).handle is handle


def test_the_wish_not_to_track_a_position_does_not_age(book: PositionBook) -> None:
    """However long the connection lasted on which it was given."""
    handle = _untracked(book)
    book.disconnected()
    assert book.opened(opened(7), 100 * TOMBSTONE_SEC).handle is handle


def test_untracked_positions_do_not_add_up() -> None:
    """What a reconnect does not bring back is forgotten like what was lost."""
    book = PositionBook()
    for number in range(100):
        handle = _open(book, opened(number, f"A{number}"))
        handle.is_untracked = True
        book.closed(closed(number, f"A{number}"), number * TOMBSTONE_SEC)
        book.disconnected()
        book.resynced(number * TOMBSTONE_SEC)
    assert len(book._untracked) == 0
    assert len(book._tombstones) == 1


# Exit signals


def test_the_same_exit_again_is_a_replacement(book: PositionBook) -> None:
    """By token account, ladder level and opening (13.1, P53)."""
    attempts = [book.exit_signal(exit_signal(), 0.0)[1] for _ in range(3)]
    assert attempts == [1, 2, 3]


def test_another_level_is_another_exit(book: PositionBook) -> None:
    """Each rung of the ladder is counted by itself, and so is the whole."""
    levels = [0, 1, 0, None, 1, None]
    attempts = [
        book.exit_signal(exit_signal(level_index=level), 0.0)[1] for level in levels
    ]
    assert attempts == [1, 1, 2, 1, 2, 2]


def test_exits_are_counted_over_reconnects(book: PositionBook) -> None:
    """The opening is the same, whatever its id is now."""
    book.exit_signal(exit_signal(), 0.0)
    book.disconnected()
    _open(book, opened(7))
    assert book.exit_signal(exit_signal(7), 1.0)[1] == 2


def test_a_position_bought_again_has_exits_of_its_own(book: PositionBook) -> None:
    """Another opening on the same account is another exit."""
    book.exit_signal(exit_signal(), 0.0)
    book.closed(closed(), 1.0)
    _open(book, _again(2))
    assert book.exit_signal(exit_signal(2), 2.0)[1] == 1


def test_an_exit_signal_brings_the_latest_market(book: PositionBook) -> None:
    """As after a graduation, which no other message tells."""
    moved = MarketContext(market_type="raydium_cpmm")
    handle, _ = book.exit_signal(exit_signal(market_context=moved), 0.0)
    assert handle.market_type == "raydium_cpmm"
    book.exit_signal(exit_signal(), 0.0)
    assert handle.market_type == "raydium_cpmm"


def test_an_exit_of_an_unknown_position_has_a_handle_of_its_own(
    book: PositionBook,
) -> None:
    """Made from its own fields, and known to be: no exit signal is lost."""
    handle, attempt = book.exit_signal(exit_signal(9, "Z", watched=True), 0.0)
    assert (handle.known, attempt) == (False, 1)
    assert (handle.position_id, handle.token_account) == (9, "Z")
    assert (handle.mint, handle.tokens) == (mint_of("Z"), 100)
    assert handle.watched
    assert book.by_account("Z") is None


def test_the_barest_exit_of_an_unknown_position_is_taken() -> None:
    """Only the wallet, the token and one name are sure to be there."""
    signal = ExitSignalWithTx(
        session_id=None,
        position_id=None,
        wallet_pubkey=WALLET,
        mint="m",
        token_account="Z",
        position_tokens=None,
        profit_units=None,
        reason=None,
        triggered_at_ms=None,
        unsigned_tx_b64="AA==",
    )
    handle, _ = PositionBook().exit_signal(signal, 0.0)
    assert (handle.position_id, handle.tokens, handle.pnl_pct) == (-1, 0, None)


def test_the_same_exit_of_an_unknown_position_is_a_replacement_too() -> None:
    """A second sale of what was sold already would be the worst answer."""
    book = PositionBook()
    first, _ = book.exit_signal(exit_signal(9, "Z"), 0.0)
    again, attempt = book.exit_signal(exit_signal(9, "Z"), 1.0)
    assert again is first
    assert attempt == 2
    other, attempt = book.exit_signal(exit_signal(9, "Y"), 1.0)
    assert other is not first
    assert attempt == 1


def test_unknown_positions_do_not_add_up() -> None:
    """A server that names ever new ones fills no memory."""
    book = PositionBook()
    for number in range(STRANGERS_KEPT + 1):
        book.exit_signal(exit_signal(number, f"Z{number}"), 0.0)
    assert len(book._strangers) <= STRANGERS_KEPT
    book.disconnected()
    assert not book._strangers


# What a handle tells


def test_a_balance_keeps_the_tokens_right(book: PositionBook) -> None:
    """After a partial sale, and after the last (13.1, P48)."""
    handle = book.by_id[1]
    assert book.balance(balance(40)) is handle
    assert handle.tokens == 40
    book.balance(balance(0, None))
    assert handle.tokens == 0


def test_a_balance_of_something_else_is_nobodys(book: PositionBook) -> None:
    """The wallet may hold what is no position."""
    assert book.balance(balance(40, "Z")) is None
    assert book.by_id[1].tokens == 100


def test_liquidity_goes_with_the_position(book: PositionBook) -> None:
    """It is not kept for ever (13.1, P50)."""
    handle = book.by_id[1]
    handle.liquidity = liquidity()
    book.closed(closed(), 1.0)
    assert handle.liquidity is None


def test_a_handle_tells_profit_in_percent_of_the_entry(book: PositionBook) -> None:
    """The wire has no such field (13.1, P52)."""
    handle = book.by_id[1]
    assert (handle.pnl_pct, handle.peak_pnl_pct, handle.profit_units) == (None,) * 3
    handle.pnl, handle.peak_profit_units = pnl(profit_units=-50), 70
    assert (handle.pnl_pct, handle.peak_pnl_pct) == (-5.0, 7.0)
    assert (handle.profit_units, handle.proceeds_units) == (-50, 950)


def test_a_position_that_cost_nothing_has_no_percentage() -> None:
    """An airdrop, say."""
    handle = PositionHandle(opened(entry_quote_units=0), 0.0)
    handle.pnl = pnl()
    assert handle.pnl_pct is None


def test_a_handle_tells_all_that_its_opening_told() -> None:
    """Also what the official SDK leaves out (13.1, P49)."""
    message = opened(
        token_program="program",
        token_name="Name",
        token_symbol="SYM",
        token_decimals=6,
        watched=True,
        mirror_source=OTHER_WALLET,
    )
    handle = PositionHandle(message, 0.0)
    names = [
        "wallet_pubkey",
        "mint",
        "token_account",
        "token_program",
        "entry_quote_units",
        "token_name",
        "token_symbol",
        "token_decimals",
        "slot",
        "opened_at_ms",
        "watched",
        "mirror_source",
        "market_context",
    ]
    assert {name: getattr(handle, name) for name in names} == {
        name: getattr(message, name) for name in names
    }


def _market(market_type: str, **venues: Venue) -> MarketContext:
    return MarketContext(market_type=market_type, **venues)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("market", "quote", "decimals"),
    [
        (_market("pump_fun"), "SOL", 9),
        (_market("pump_swap", pumpswap=Venue(pool="p")), "SOL", 9),
        (_market("raydium_cpmm", raydium_cpmm=Venue(quote_mint=SOL_MINT)), "SOL", 9),
        (_market("meteora_dbc", meteora_dbc=Venue(quote_mint=USD1_MINT)), "USD1", 6),
        (_market("meteora_dbc", meteora_dbc=Venue(quote_mint="other")), None, None),
        (_market("meteora_damm_v2", meteora_damm_v2=Venue(pool="p")), None, None),
        (_market("a_new_one"), None, None),
        (None, None, None),
    ],
)
def test_the_quote_asset_is_read_from_the_market(
    market: MarketContext | None, quote: str | None, decimals: int | None
) -> None:
    """Where the market does not tell, it is unknown rather than guessed."""
    handle = PositionHandle(opened(market_context=market), 0.0)
    assert (handle.quote, handle.quote_decimals) == (quote, decimals)


def test_a_handle_as_plain_values_is_json(book: PositionBook) -> None:
    """For logs, and for other processes."""
    handle = book.by_id[1]
    handle.pnl = pnl()
    plain = json.loads(json.dumps(handle.to_dict()))
    assert plain["token_account"] == "A"
    assert plain["market_type"] == "pump_swap"
    assert plain["pnl_pct"] == 1.0


def test_a_handle_shows_what_it_is(book: PositionBook) -> None:
    """By symbol, or by mint where there is none."""
    assert repr(book.by_id[1]) == "<PositionHandle 1 mint of A open>"
    named = PositionHandle(opened(token_symbol="SYM"), 0.0)
    assert repr(named) == "<PositionHandle 1 SYM open>"


def test_the_recognition_can_be_shared() -> None:
    """The book and the intent of one session must agree."""
    recognition = Recognition()
    assert PositionBook(recognition).recognition is recognition
    assert attrs.asdict(Recognition()) == {
        "heard_until_ms": None,
        "live_since_ms": None,
    }
