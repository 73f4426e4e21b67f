from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import Ping
from lasersell.sim import ManualClock, SimServer
from lasersell.testing.fixtures import OTHER_WALLET, WALLET
from lasersell.testing.script import Script, ScriptError


def _script(timeout: float = 5.0) -> Script:
    """Return a script for a server that is not even started."""
    return Script(SimServer(clock=ManualClock(), volatility_pct=0.0), timeout=timeout)


def _say(script: Script, number: int) -> Callable[[], None]:
    """Return what lets a client say something, as far as the server can tell."""
    return lambda: script.sim.received.add(Ping(client_time_ms=number))


def test_nothing_happens_before_it_is_played() -> None:
    """Steps are written first; then they are played once, in order."""
    script, done = _script(), list[int]()
    script.do(lambda: done.append(1)).do(lambda: done.append(2))
    assert done == []
    script.play()
    script.do(lambda: done.append(3)).play()
    assert done == [1, 2, 3]
    assert repr(script) == "<Script of 3 steps, 3 played>"


def test_positions_and_tokens_have_names() -> None:
    """A name stands for the position that was bought, and for its token."""
    script = _script()
    script.add_market("coin", market_type="pump_fun")
    script.buy("coin", quote_units=1000, tokens=10).buy("other", OTHER_WALLET).play()
    holding = script.holdings["coin"]
    assert (holding.wallet, holding.mint) == (WALLET, script.mints["coin"])
    assert script.holdings["other"].wallet == OTHER_WALLET
    script.graduate("coin").set_liquidity("coin", 5_000).sell("coin", tokens=4).play()
    assert script.sim.holdings(WALLET)[0].tokens == 6
    script.sell("coin").buy("coin").play()
    assert script.holdings["coin"].mint == holding.mint


def test_a_name_that_was_not_given_is_an_error_of_its_step() -> None:
    """The error names the step, and what is wrong with it."""
    with pytest.raises(
        ScriptError, match=r"step 2, sell coin: .* nothing named 'coin'"
    ):
        _script().tick().sell("coin").play()
    with pytest.raises(ScriptError, match="no token named 'coin'"):
        _script().graduate("coin").play()


def test_a_failed_step_ends_the_script() -> None:
    """What comes after it is not played, and the failure is known by number."""
    script, done = _script(timeout=0), list[int]()
    script.expect("ping", client_time_ms=7).do(lambda: done.append(1))
    with pytest.raises(
        ScriptError, match="expect ping client_time_ms=7: no Ping"
    ) as caught:
        script.play()
    assert (caught.value.number, caught.value.step) == (
        1,
        "expect ping client_time_ms=7",
    )
    assert done == []


def test_an_expectation_takes_each_message_once() -> None:
    """Two pings meet two expectations, and not a third; others stay for later."""
    script = _script(timeout=0)
    script.do(_say(script, 1)).do(_say(script, 2))
    script.expect(Ping, client_time_ms=2).expect("ping").play()
    with pytest.raises(ScriptError, match="step 5, expect ping: no Ping"):
        script.expect("ping").play()


def test_a_message_that_must_not_come_is_shown() -> None:
    """expect_none passes while there is none, and then says what came."""
    script = _script()
    script.expect_none("ping").do(_say(script, 1)).expect_none("ping", client_time_ms=2)
    script.play()
    with pytest.raises(ScriptError, match=r"expect no ping: .*client_time_ms=1"):
        script.expect_none("ping").play()


def test_a_type_that_does_not_exist_is_refused_at_once() -> None:
    """A misspelt expectation fails where it is written."""
    with pytest.raises(ConfigurationError, match="no message has the type 'pign'"):
        _script().expect("pign")


def test_a_sale_can_be_expected_for_its_reason() -> None:
    """The sale of everything counts, of this opening, for the reason asked for."""
    script = _script(timeout=0)
    script.buy("coin", tokens=10).sell("coin", tokens=5).play()
    with pytest.raises(ScriptError, match="expect coin sold"):
        script.expect_sold("coin").play()
    script.sell("coin").expect_sold("coin").expect_sold("coin", "manual").play()
    with pytest.raises(ScriptError, match="expect coin sold stop_loss"):
        script.expect_sold("coin", "stop_loss").play()
    script.buy("coin").play()
    with pytest.raises(ScriptError, match="expect coin sold"):
        script.expect_sold("coin").play()


def test_it_plays_beside_the_block() -> None:
    """The script waits for what the block does, and the block's end for the script."""
    script, done = _script(), threading.Event()
    script.expect("ping").do(done.set)
    with script.playing():
        assert not done.is_set()
        _say(script, 1)()
    assert done.is_set()


def test_a_step_that_fails_beside_the_block_is_raised_at_its_end() -> None:
    """And the block is told, so that it need not wait for what will not come."""
    script, told = _script(timeout=0), threading.Event()
    script.expect("ping")
    with (
        pytest.raises(ScriptError, match="expect ping"),
        script.playing(on_failure=told.set),
    ):
        assert told.wait(5)


def test_a_block_that_fails_stops_the_script() -> None:
    """Its own error is the one that counts, and later steps are not played."""
    script, done = _script(), list[int]()
    # The first step ends when the failure of the block has reached the script.
    script.do(lambda: script._stopped.wait(5)).do(lambda: done.append(1))
    with pytest.raises(ZeroDivisionError), script.playing():
        raise ZeroDivisionError
    assert done == []


def test_the_guide_names_every_step() -> None:
    """Whoever writes a script finds all there is in one table."""
    page = Path(__file__).parents[3] / "docs" / "testing.md"
    text = page.read_text(encoding="utf-8")
    for name in vars(Script):
        assert name.startswith("_") or f"`{name}`" in text or f".{name}()`" in text
