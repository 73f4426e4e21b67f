from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lasersell.exits import ExitApiClient, SendTarget, WalletKey, prove_ownership
from lasersell.protocol.client import Configure
from lasersell.protocol.mirror import AutoBuy, WatchWallet
from lasersell.session.session import StreamSession
from lasersell.sim import Call, ManualClock, SimServer
from lasersell.stream.client import StreamClient
from lasersell.testing import OTHER_WALLET, WALLET, Script


def _run(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        input=textwrap.dedent(code),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def test_the_plugin_imports_nothing_but_pytest(tmp_path: Path) -> None:
    """A run whose tests use no fixture of it has no module of the library loaded."""
    (tmp_path / "test_nothing.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_nothing():
                assert "pytest_lasersell" in sys.modules
                loaded = {name.partition(".")[0] for name in sys.modules}
                assert not loaded & {
                    "lasersell", "attrs", "attr", "cattrs", "msgspec", "websocket",
                    "aiohttp", "solders", "click", "asyncio",
                }
            """
        )
    )
    result = _run("", "-m", "pytest", "-q", "-p", "no:asyncio", cwd=tmp_path)
    assert "1 passed" in result.stdout, result.stdout


def test_the_plugin_alone_adds_one_module(tmp_path: Path) -> None:
    """Imported after pytest, it brings itself and nothing else."""
    result = _run(
        """
        import sys
        import pytest
        import typing, collections.abc
        before = set(sys.modules)
        import pytest_lasersell
        print(sorted(set(sys.modules) - before))
        """,
        "-",
        cwd=tmp_path,
    )
    assert result.stdout == "['pytest_lasersell']\n", result.stderr


def test_a_server_runs_for_the_test(lasersell_sim: SimServer) -> None:
    """It is there, and neither time nor prices move by themselves."""
    assert lasersell_sim.is_running
    assert isinstance(lasersell_sim._clock, ManualClock)
    before = lasersell_sim.buy(WALLET)
    lasersell_sim.step(5)
    assert lasersell_sim.holdings() == (before,)


def test_a_program_finds_the_server_by_itself(lasersell_sim: SimServer) -> None:
    """The environment names stream, API, node and key, so that a bot needs no change."""
    assert StreamClient().options.endpoint == lasersell_sim.url
    assert SendTarget.rpc().url.reveal() == lasersell_sim.rpc_url
    assert WalletKey.from_env().pubkey == WALLET
    with ExitApiClient() as api:
        api.register_wallet(prove_ownership(WalletKey.from_env()))
    assert [call.name for call in lasersell_sim.calls.of(Call)] == [
        "/v1/wallets/register"
    ]


@pytest.mark.lasersell_sim(realtime=True, tier="personal", pnl_flush_ms=10)
def test_a_marker_sets_the_server_up(
    lasersell_sim: SimServer, lasersell_session: StreamSession
) -> None:
    """Options go to the server, and realtime lets it tick."""
    assert lasersell_session.limits is not None
    assert lasersell_session.limits.max_positions_per_session == 2
    lasersell_sim.buy(WALLET)
    lasersell_session.wait_for("pnl_update", timeout=5)


@pytest.mark.lasersell_session(deadline_timeout_sec=7)
class TestMarkersOfAClass:
    @pytest.mark.lasersell_session(
        wallet_pubkeys=["4XHQ6iTrkyb3T8GD1aV5u79UhUaSQou9CNYXiKnsjMsX"]
    )
    def test_they_hold_beside_those_of_the_test(
        self, lasersell_sim: SimServer, lasersell_session: StreamSession
    ) -> None:
        """The nearest marker wins, field by field."""
        configure = lasersell_sim.received.wait_for(Configure)
        assert configure.wallet_pubkeys[0].startswith("4XHQ")
        assert configure.strategy.target_profit_pct == 5.0
        assert lasersell_session.state == "live"


def test_a_session_is_live(
    lasersell_sim: SimServer, lasersell_session: StreamSession
) -> None:
    """Without a marker it tracks the wallet of the tests, with a target and a stop."""
    assert lasersell_session.state == "live"
    configure = lasersell_sim.received.wait_for(Configure)
    assert configure.wallet_pubkeys == (WALLET,)
    lasersell_sim.buy(WALLET, profits_pct=[5])
    lasersell_sim.step()
    signal = lasersell_session.wait_for("exit_signal_with_tx", timeout=5)
    assert signal.message.reason == "target_profit"  # type: ignore[union-attr]


def test_a_script_is_for_the_server(
    lasersell_sim: SimServer, lasersell_script: Script
) -> None:
    """The script of a test plays on the server of the test."""
    lasersell_script.buy("coin").play()
    assert lasersell_script.sim is lasersell_sim
    assert lasersell_sim.holdings() == (lasersell_script.holdings["coin"],)


@pytest.mark.lasersell_session(
    watch_wallets=[
        WatchWallet(
            pubkey=OTHER_WALLET,
            auto_buy=AutoBuy(wallet_pubkey=WALLET, amount_quote_units=1000),
        )
    ]
)
def test_a_script_lands_a_mirror_buy(
    lasersell_script: Script, lasersell_session: StreamSession
) -> None:
    """The copy has a name of its own, and is a position like any other."""
    script = lasersell_script.expect("configure").buy("coin", OTHER_WALLET)
    script.expect_sent("mirror_buy_signal", user_wallet=WALLET)
    script.land_mirror_buy("coin").profit("copy of coin", 5).play()
    signal = lasersell_session.wait_for("exit_signal_with_tx", timeout=5)
    while signal.handle is not None and signal.handle.watched:
        signal = lasersell_session.wait_for("exit_signal_with_tx", timeout=5)
    assert signal.message.mirror_source == OTHER_WALLET  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_marker_takes_keywords_only(tmp_path: Path) -> None:
    """A positional argument is a mistake that is named."""
    (tmp_path / "test_wrong.py").write_text(
        textwrap.dedent(
            """
            import pytest

            @pytest.mark.lasersell_sim("personal")
            def test_wrong(lasersell_sim):
                pass
            """
        )
    )
    arguments = ("-m", "pytest", "-q", "--strict-markers")
    result = _run("", *arguments, cwd=tmp_path)
    assert "@pytest.mark.lasersell_sim takes keywords only" in result.stdout
