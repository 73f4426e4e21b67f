"""``lasersell watch`` in a real terminal, and without one."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from solders.keypair import Keypair

from lasersell.protocol.client import RequestExitSignal
from lasersell.protocol.server import PositionOpened
from lasersell.session.exclusive import DIRECTORY_VARIABLE, hold
from lasersell.sim import SimServer
from tests.integration.cli.terminal import (
    API_KEY,
    PATIENCE,
    WALLET,
    Terminal,
    needs_tmux,
)
from tests.programs import lasersell

Run = Callable[..., Result]


def in_a_terminal(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that drives a real terminal, which takes seconds."""
    for mark in (needs_tmux, pytest.mark.slow, pytest.mark.timeout(240)):
        test = mark(test)
    return test


@pytest.fixture
def terminal(
    tmp_path: Path,
    short_path: Path,
    server: SimServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Terminal]:
    """Open a terminal whose programs find the server."""
    # The terminal's own size is what counts.
    monkeypatch.delenv("COLUMNS")
    environ = {
        DIRECTORY_VARIABLE: str(tmp_path / "locks"),
        "LASERSELL_STREAM_ENDPOINT": server.url,
        "LASERSELL_WALLET": WALLET,
    }
    with Terminal(short_path, environ) as opened:
        yield opened


def watch(*arguments: str) -> str:
    """Return the line that starts ``lasersell watch`` in a shell."""
    return f"clear; {shlex.join(lasersell('watch', *arguments))}"


# In a terminal


@in_a_terminal
def test_an_exit_is_asked_for_and_arrives(
    terminal: Terminal, server: SimServer
) -> None:
    """The table appears, x asks, y asks for the exit, and its signal is shown."""
    server.change_options(auto_sell_after_ms=2000)
    server.buy(WALLET)
    second = server.buy(WALLET)
    terminal.type(watch("--deadline", "600"))
    screen = terminal.wait_for_text("● live", "▸ SIM1", "SIM2", "9m")
    assert "2 positions, 1 wallet" in screen
    terminal.press("Down")
    terminal.wait_for_text("▸ SIM2")
    terminal.press("x")
    terminal.wait_for_text("ask for the exit of SIM2 now?")
    assert "SIM2 exit signal" not in terminal.screen
    terminal.press("y")
    terminal.wait_for_text("SIM2 exit signal: sell_now")
    screen = terminal.wait_for_text("SIM2 closed: sell_now", "▸ SIM1")
    assert "1 position, 1 wallet" in screen
    assert second not in server.holdings(WALLET)


@in_a_terminal
def test_an_exit_that_is_not_confirmed_is_not_asked_for(
    terminal: Terminal, server: SimServer
) -> None:
    """Any key but y leaves the position alone."""
    server.buy(WALLET)
    terminal.type(watch())
    terminal.wait_for_text("▸ SIM1")
    terminal.press("x")
    terminal.wait_for_text("ask for the exit of SIM1 now?")
    terminal.press("n")
    terminal.wait_for_text("the exit of SIM1 was not asked for")
    assert not server.received.of(RequestExitSignal)


@in_a_terminal
@pytest.mark.parametrize("end", ["q", "C-c", "SIGTERM"])
def test_the_terminal_is_as_before(
    terminal: Terminal, server: SimServer, tmp_path: Path, end: str
) -> None:
    """However it ends: modes, cursor and screen are the shell's, and the stream is closed."""
    server.buy(WALLET)
    before = terminal.modes(tmp_path / "before")
    terminal.type(watch())
    terminal.wait_for_text("● live", "SIM1")
    assert not terminal.is_as_it_was()
    if end == "SIGTERM":
        os.kill(terminal.program, signal.SIGTERM)
    else:
        terminal.press(end)
    terminal.wait_for(lambda screen: "● live" not in screen)
    terminal.type("echo code=$?")
    screen = terminal.wait_for_text("code=0")
    assert "Traceback" not in screen
    assert terminal.is_as_it_was()
    assert terminal.modes(tmp_path / "after") == before
    server.wait_for_connections(0, timeout=PATIENCE)


@in_a_terminal
@pytest.mark.parametrize("end", ["C-c", "SIGTERM"])
def test_it_can_be_stopped_while_it_connects(
    terminal: Terminal, server: SimServer, end: str
) -> None:
    """A server that keeps us waiting does not keep the terminal."""
    server.change_options(hello="never")
    terminal.type(watch())
    server.wait_for_connections(1, timeout=PATIENCE)
    if end == "SIGTERM":
        os.kill(terminal.program, signal.SIGTERM)
    else:
        terminal.press(end)
    terminal.type("echo code=$?")
    screen = terminal.wait_for_text("code=0")
    assert "Traceback" not in screen
    server.wait_for_connections(0, timeout=PATIENCE)


@in_a_terminal
def test_more_positions_than_lines_fit_a_small_terminal(
    terminal: Terminal, server: SimServer
) -> None:
    """At 80 x 24 there are title, table, events and keys, and the table scrolls."""
    server.change_options(liquidity_snapshots=True)
    for _ in range(20):
        server.buy(WALLET)
    terminal.type(watch("--deadline", "100000"))
    screen = terminal.wait_for_text("20 positions", "▸ SIM1 ", "stable")
    lines = screen.split("\n")[:24]
    assert lines[0].startswith("lasersell watch  ● live")
    assert lines[2].split() == ["token", "age", "left", "profit", "%", "liquidity"]
    assert "last events" in screen
    assert lines[-1].startswith("↑↓ select   x exit   p pause   q quit")
    assert "SIM20 " not in "\n".join(lines[3:17])
    terminal.press("End")
    terminal.wait_for_text("▸ SIM20 ")


@in_a_terminal
def test_it_follows_the_size_of_the_terminal(
    terminal: Terminal, server: SimServer
) -> None:
    """Smaller or larger, title and keys are in the first and the last line."""
    server.buy(WALLET)
    terminal.type(watch())
    terminal.wait_for_text("● live", "SIM1")
    for width, height in ((40, 12), (120, 40)):
        terminal.resize(width, height)
        terminal.wait_for(partial(_fills, height))


def _fills(height: int, screen: str) -> bool:
    lines = screen.split("\n")
    return lines[0].startswith("lasersell watch") and "q quit" in lines[height - 1]


@in_a_terminal
def test_a_pause_holds_the_screen_still(terminal: Terminal, server: SimServer) -> None:
    """What happens meanwhile is shown once the pause is over."""
    server.buy(WALLET)
    terminal.type(watch())
    terminal.wait_for_text("▸ SIM1")
    terminal.press("p")
    terminal.wait_for_text("paused")
    server.buy(WALLET)
    server.sent.wait_for(PositionOpened, where=lambda m: m.token_symbol == "SIM2")
    assert "SIM2" not in terminal.screen
    terminal.press("p")
    assert "paused" not in terminal.wait_for_text("SIM2")


@in_a_terminal
def test_a_lost_stream_is_shown_and_comes_back(
    terminal: Terminal, server: SimServer
) -> None:
    """The state is told while it lasts, and the positions are still there after it."""
    server.buy(WALLET)
    terminal.type(watch())
    terminal.wait_for_text("● live", "SIM1")
    server.refuse_upgrades(503)
    server.drop()
    terminal.wait_for_text("● reconnecting", "the stream is lost")
    server.accept_upgrades()
    terminal.wait_for_text("● live", "SIM1 is still open", "1 reconnect")


@in_a_terminal
def test_a_stream_that_fails_for_good_says_why(
    terminal: Terminal, server: SimServer
) -> None:
    """The reason stays on the screen; the exit code tells it afterwards."""
    server.buy(WALLET)
    terminal.type(watch())
    terminal.wait_for_text("● live", "SIM1")
    server.refuse_upgrades(401)
    server.drop()
    terminal.wait_for_text("● failed", "refused the API key")
    terminal.press("q")
    terminal.wait_for_text("Error: the server refused the API key")
    terminal.type("echo code=$?")
    terminal.wait_for_text("code=3")


# Beside a running daemon


@contextlib.contextmanager
def daemon(
    server: SimServer, path: Path, keypair: Keypair
) -> Iterator[subprocess.Popen[str]]:
    """Run ``lasersell run`` for a wallet, with a target that is never met."""
    config = path / "run.toml"
    config.write_text(
        f'[stream]\nendpoint = "{server.url}"\n'
        "[strategy]\ntarget_profit_pct = 100000.0\n"
        f'[[targets]]\nkind = "rpc"\nurl = "{server.rpc_url}"\n'
        f'[journal]\npath = "{path / "journal.db"}"\n'
    )
    environ = {**os.environ, "LASERSELL_PRIVATE_KEY": str(keypair)}
    with subprocess.Popen(
        lasersell("run", "--config", str(config)),
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            while "selling for" not in (line := process.stderr.readline()):
                assert line, "it ended before it was live"
            yield process
        finally:
            process.kill()


@in_a_terminal
def test_beside_a_daemon_it_attaches_read_only(
    terminal: Terminal, server: SimServer, tmp_path: Path
) -> None:
    """One stream in all; the daemon's end is told, and the next daemon is attached to."""
    keypair = Keypair()
    wallet = str(keypair.pubkey())
    server.register_wallet(wallet)
    server.buy(wallet)
    with daemon(server, tmp_path, keypair) as process:
        terminal.type(watch())
        title = f"● live  read-only, of process {process.pid}"
        terminal.wait_for_text(title, "▸ SIM1", "1 position")
        assert server.connection_count == 1
        terminal.press("x")
        terminal.wait_for_text("attached read-only")
        server.buy(wallet)
        terminal.wait_for_text("SIM2 opened", "2 positions")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        terminal.wait_for_text("● gone", "has let go of the stream")
    with daemon(server, tmp_path, keypair) as process:
        terminal.wait_for_text(f"● live  read-only, of process {process.pid}")
        assert server.connection_count == 1
        terminal.press("q")
        terminal.wait_for(lambda screen: "● live" not in screen)
        terminal.type("echo code=$?")
        terminal.wait_for_text("code=0")
        assert process.poll() is None


# Without a terminal


@pytest.mark.slow
def test_snapshots_are_json_lines(server: SimServer) -> None:
    """A machine gets a whole snapshot per line, until it is told to end."""
    server.buy(WALLET)
    arguments = ("watch", "--json", "--endpoint", server.url, "--wallet", WALLET)
    with subprocess.Popen(
        lasersell(*arguments), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            snapshots = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert snapshots[0]["state"] == "live"
    assert [row["symbol"] for row in snapshots[1]["positions"]] == ["SIM1"]
    assert snapshots[1]["at_ms"] > snapshots[0]["at_ms"]


def test_without_a_terminal_it_says_so(run: Run, server: SimServer) -> None:
    """Nothing is opened, and --json is named."""
    result = run("watch", "--endpoint", server.url, "--wallet", WALLET)
    assert result.exit_code == 2
    assert "use --json" in result.stderr
    assert not server.upgrades.entries()


def test_without_a_wallet_it_says_so(run: Run, server: SimServer) -> None:
    """There is nothing to attach to, so one must be named."""
    result = run("watch", "--endpoint", server.url, "--json")
    assert result.exit_code == 2
    assert "--wallet" in result.stderr


def test_a_holder_that_shows_nothing_is_named(run: Run, server: SimServer) -> None:
    """No second stream is opened beside it; --force would."""
    with hold(API_KEY):
        result = run("watch", "--endpoint", server.url, "--wallet", WALLET, "--json")
    assert result.exit_code == 6
    assert f"process {os.getpid()} holds the stream" in result.stderr
    assert "--force" in result.stderr
    assert not server.upgrades.entries()


def test_wallets_and_a_configuration_are_one_too_many(run: Run, tmp_path: Path) -> None:
    """It is said which of them to leave out."""
    config = str(tmp_path / "run.toml")
    result = run("watch", "--config", config, "--wallet", WALLET, "--json")
    assert result.exit_code == 2
    assert "leave out --wallet" in result.stderr


def test_a_configuration_names_the_stream(
    run: Run, server: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endpoint, key and wallets are its own."""
    monkeypatch.setenv("LASERSELL_PRIVATE_KEY", str(Keypair()))
    monkeypatch.delenv("LASERSELL_API_KEY")
    monkeypatch.setenv("ANOTHER_KEY", "sk-of-somebody-else")
    config = tmp_path / "run.toml"
    config.write_text(
        f'[stream]\nendpoint = "{server.url}"\napi_key_env = "ANOTHER_KEY"\n'
        "[strategy]\ntarget_profit_pct = 5.0\n"
    )
    result = run("watch", "--config", str(config), "--json")
    assert result.exit_code == 3
    assert [entry.item.status for entry in server.upgrades.entries()] == [401]


def test_a_refused_key_is_one_line(
    run: Run, server: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exit code of a refused key."""
    monkeypatch.setenv("LASERSELL_API_KEY", "sk-of-somebody-else")
    result = run("watch", "--endpoint", server.url, "--wallet", WALLET, "--json")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
