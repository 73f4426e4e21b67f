from __future__ import annotations

import io
from collections import deque
from typing import Any

import attrs
import pytest
from rich.console import Console

from lasersell.cli.screen import AskForExit, Quit, Screen, sparkline
from lasersell.cli.snapshot import EventLine, Snapshot
from tests.unit.cli.views import position, snapshot


def lines(screen: Screen, width: int = 80, height: int = 24) -> list[str]:
    """Return what is on a screen, line by line."""
    output = io.StringIO()
    console = Console(file=output, width=width, height=height, force_terminal=False)
    console.print(screen.render(width, height))
    return [line.rstrip() for line in output.getvalue().split("\n")[:-1]]


def shown(seen: Snapshot, *keys: str, is_read_only: bool = False) -> Screen:
    """Return a screen that saw a snapshot and then keys."""
    screen = Screen(is_read_only=is_read_only)
    screen.show(seen)
    for key in keys:
        screen.press(key)
    return screen


def test_a_position_is_one_line() -> None:
    """Symbol, age, deadline, profit in its quote asset and in percent, and liquidity."""
    line = lines(shown(snapshot(position())))[3]
    assert line.split() == [
        *("▸", "SIM1", "1m05s", "5s", "+0.0123", "SOL", "+1.2", "▁", "↑", "growing")
    ]


def test_a_position_that_tells_little_is_shown_too() -> None:
    """What is not known yet is left out, and an unknown quote asset is not guessed."""
    bare = position(
        symbol=None,
        deadline_sec=None,
        pnl_pct=None,
        quote=None,
        quote_decimals=None,
        liquidity_trend=None,
    )
    assert lines(shown(snapshot(bare)))[3].split() == [
        *("▸", "mint-1", "1m05s", "+12345678")
    ]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"status": "asked"}, "asked"),
        ({"status": "signalled"}, "exit!"),
        ({"status": "untracked"}, "off"),
        ({"status": "away"}, "away"),
        ({"is_watched": True}, "watch"),
    ],
)
def test_the_state_of_a_position_is_its_last_word(
    changes: dict[str, Any], word: str
) -> None:
    """Whether its exit is under way, and whose it is."""
    assert lines(shown(snapshot(position(**changes))))[3].endswith(word)


@pytest.mark.parametrize("count", [0, 1, 5, 60])
@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (20, 5)])
def test_it_fills_the_terminal_and_no_more(count: int, size: tuple[int, int]) -> None:
    """However large the terminal is and whatever is to be shown, nothing is wrapped."""
    width, height = size
    long_name = position(99, symbol="A" * 50, quote="LONGQUOTE", profit_units=10**18)
    events = tuple(EventLine(at_ms=0, text="x" * 300) for _ in range(40))
    rows = [*(position(number) for number in range(count)), long_name]
    drawn = lines(shown(snapshot(*rows, events=events)), width, height)
    assert len(drawn) == max(height, 7)
    assert all(len(line) <= width for line in drawn)


def test_the_selected_position_is_always_in_sight() -> None:
    """The table scrolls with it, and stops at both ends."""
    screen = shown(snapshot(*(position(number) for number in range(40))))
    for key, name in [("end", "SIM39"), ("up", "SIM38"), ("home", "SIM0")]:
        screen.press(key)
        assert any(line.startswith(f"▸ {name} ") for line in lines(screen))
    screen.press("up")
    assert any(line.startswith("▸ SIM0 ") for line in lines(screen))


@pytest.mark.parametrize(("key", "name"), [("down", "SIM2"), ("j", "SIM2")])
def test_the_keys_of_vi_do_too(key: str, name: str) -> None:
    """Arrows and letters move alike."""
    screen = shown(snapshot(position(1), position(2), position(3)), key)
    assert any(line.startswith(f"▸ {name}") for line in lines(screen))
    screen.press("k")
    assert any(line.startswith("▸ SIM1") for line in lines(screen))


def test_the_selection_stays_with_its_position() -> None:
    """Others may come and go before it; when it goes itself, its neighbour is next."""
    screen = shown(snapshot(position(1), position(2), position(3)), "down")
    screen.show(snapshot(position(2), position(3)))
    assert any(line.startswith("▸ SIM2") for line in lines(screen))
    screen.show(snapshot(position(3)))
    assert any(line.startswith("▸ SIM3") for line in lines(screen))
    screen.show(snapshot())
    assert any("none" in line for line in lines(screen))


def test_an_exit_is_asked_for_only_after_a_yes() -> None:
    """Asked of the position that is selected when the question is put."""
    screen = shown(snapshot(position(1), position(2)), "down")
    assert screen.press("x") is None
    assert lines(screen)[-1] == "ask for the exit of SIM2 now? y yes, any other key no"
    assert screen.press("y") == AskForExit("account-2")


@pytest.mark.parametrize("key", ["n", "q", "x", "escape", "enter", "up"])
def test_any_other_key_is_a_no(key: str) -> None:
    """Nothing is asked for, and the key does nothing else."""
    screen = shown(snapshot(position()), "x")
    assert screen.press(key) is None
    assert lines(screen)[-1] == "the exit of SIM1 was not asked for"


def test_the_question_goes_with_its_position() -> None:
    """A yes that comes too late sells nothing else."""
    screen = shown(snapshot(position(1), position(2)), "x")
    screen.show(snapshot(position(2)))
    assert lines(screen)[-1] == "that position is gone"
    assert screen.press("y") is None


@pytest.mark.parametrize(
    ("seen", "is_read_only", "told"),
    [
        (snapshot(position()), True, "attached read-only"),
        (snapshot(), False, "there is no position to exit"),
        (snapshot(position(is_watched=True)), False, "not yours"),
    ],
)
def test_what_cannot_be_asked_for_is_told(
    seen: Snapshot, is_read_only: bool, told: str
) -> None:
    """The last line says why, and a yes does nothing."""
    screen = shown(seen, "x", is_read_only=is_read_only)
    assert told in lines(screen)[-1]
    assert screen.press("y") is None


def test_a_pause_keeps_what_is_on_the_screen() -> None:
    """Until the next one, which shows the present again."""
    screen = shown(snapshot(position(1)), "p")
    screen.show(snapshot(position(2)))
    assert "paused" in lines(screen)[0]
    assert "SIM1" in lines(screen)[3]
    screen.press("p")
    screen.show(snapshot(position(2)))
    assert "SIM2" in lines(screen)[3]


@pytest.mark.parametrize("key", ["q", "Q"])
def test_q_ends_it(key: str) -> None:
    """Nothing else does."""
    assert shown(snapshot(position())).press(key) == Quit()
    assert shown(snapshot(position())).press("a") is None


def test_the_totals_leave_out_what_is_not_ours() -> None:
    """Profits are added up by quote asset; a watched wallet's are somebody else's."""
    usd = position(2, quote="USD1", quote_decimals=6, profit_units=-2_500_000)
    seen = snapshot(position(1), usd, position(3, is_watched=True), reconnects=1)
    assert (
        lines(shown(seen))[1]
        == (
            "3 positions, 1 wallet, +0.0123 SOL, -2.5000 USD1, round trip 12.3 ms, 1 reconnect"
        )[:80]
    )


def test_a_silent_server_is_told() -> None:
    """How long nothing has come."""
    assert "silent for 7s" in lines(shown(snapshot(silent_sec=7.9)))[1]


def test_why_a_stream_failed_is_told() -> None:
    """In the place of the totals."""
    seen = snapshot(state="failed", error="the server refused the API key")
    assert "● failed" in lines(shown(seen))[0]
    assert lines(shown(seen))[1] == "the server refused the API key"


def test_nothing_a_server_says_reaches_the_terminal() -> None:
    """Anybody may call a token anything: escape sequences and lines are taken out."""
    evil = "\x1b[2J\x07[red]\r\n"
    seen = snapshot(
        position(symbol=evil, quote=evil, liquidity_trend=evil),
        error=evil,
        events=(EventLine(at_ms=0, text=evil),),
    )
    screen = shown(seen, "x")
    screen.notice = evil
    drawn = "\n".join(lines(screen))
    assert "\x1b" not in drawn
    assert "\x07" not in drawn
    assert "?[2J?[red]??" in drawn
    assert len(drawn.split("\n")) == 24


def test_the_last_events_are_shown_oldest_first() -> None:
    """As many as there is room for."""
    events = tuple(EventLine(at_ms=0, text=f"event {n}") for n in range(100))
    drawn = lines(shown(snapshot(position(), events=events)))
    told = [line.split(" ", 1)[1] for line in drawn if "event " in line]
    assert told == [f"event {n}" for n in range(100 - len(told), 100)]
    assert len(told) == 18


def test_a_sparkline_is_a_value_a_second() -> None:
    """However often it is drawn; of the last ten seconds."""
    screen = Screen(is_read_only=False)
    seen = snapshot(position())
    for tick in range(4 * 20):
        at_ms = seen.at_ms + 250 * tick
        screen.show(attrs.evolve(seen, at_ms=at_ms))
    assert "▁" * 10 + " " in lines(screen)[3]
    assert "▁" * 11 not in lines(screen)[3]


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([5.0], "▁"), ([1.0, 1.0], "▁▁"), ([0.0, 7.0, 3.5, -7.0], "▅█▆▁")],
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest(
    values: list[float], bars: str
) -> None:
    """Its bars are eighths of what the values span."""
    assert sparkline(deque(values)) == bars


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (59.9, "59s"), (61, "1m01s"), (3660, "1h01m"), (90_000, "1d01h")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    """The two largest units are enough."""
    assert lines(shown(snapshot(position(age_sec=seconds))))[3].split()[2] == text


def test_before_the_first_snapshot_it_waits() -> None:
    """A screen that has seen nothing says so."""
    assert lines(Screen(is_read_only=True))[0].startswith("waiting for")
