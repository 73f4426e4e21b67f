"""What the common options mean to ``lasersell run``; see tests/integration/autoexit too."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from solders.keypair import Keypair

from lasersell.exits.config import load_config
from lasersell.session.exclusive import hold
from lasersell.sim import SimServer
from tests.integration.cli.terminal import API_KEY, PATIENCE, WALLET
from tests.programs import lasersell

Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a configuration, for a wallet whose key is in the environment."""
    monkeypatch.setenv("LASERSELL_PRIVATE_KEY", str(Keypair()))
    monkeypatch.setenv("ANOTHER_KEY", "sk-of-the-file")
    path = tmp_path / "run.toml"
    path.write_text(
        '[stream]\nendpoint = "wss://of.the.file/"\napi_key_env = "ANOTHER_KEY"\n'
        "[strategy]\ntarget_profit_pct = 5.0\n"
        '[[targets]]\nkind = "rpc"\nurl = "http://127.0.0.1:1/"\n'
        '[api]\nbase_url = "http://127.0.0.1:1/"\napi_key_env = "ANOTHER_KEY"\n'
        f'[journal]\npath = "{tmp_path / "journal.db"}"\n'
    )
    return path


def test_a_check_can_be_read_by_a_machine(run: Run, config: Path) -> None:
    """One document, with what would run."""
    document = json.loads(run("run", "-c", str(config), "--check", "--json").stdout)
    assert document["stream"] == "wss://of.the.file/"
    assert document["targets"] == ["rpc"]
    assert document["dry_run"] is False
    assert document["exits_under_way"] == 0


def test_the_options_win_over_the_file(run: Run, config: Path) -> None:
    """The endpoint on the command line is the one that is used."""
    told = run("--endpoint", "wss://other/", "run", "-c", str(config), "--check").stdout
    assert "stream: wss://other/\n" in told


def test_a_key_that_is_given_wins_over_the_variable_of_the_file(config: Path) -> None:
    """For the stream and the API alike; without one it is that of the file."""
    of_file = load_config(config)
    assert of_file.client.options.api_key.reveal() == "sk-of-the-file"
    given = load_config(config, api_key=API_KEY, endpoint="wss://other/")
    assert given.client.options.api_key.reveal() == API_KEY
    assert given.client.options.endpoint == "wss://other/"
    assert given.api is not None
    secrets = given.api._endpoint._secret_headers
    assert secrets["x-api-key"].reveal() == API_KEY


def test_a_key_that_is_given_needs_no_variable(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file names is not looked for then."""
    monkeypatch.delenv("ANOTHER_KEY")
    assert load_config(config, api_key=API_KEY).api is not None


@pytest.mark.slow
def test_force_streams_beside_whoever_holds_the_stream(
    server: SimServer, config: Path
) -> None:
    """It does not stand by; its log is JSON where that is asked for."""
    server.register_wallet(load_config(config).wallets[0])
    arguments = ("run", "-c", str(config), "--endpoint", server.url)
    key_file = config.with_name("key")
    key_file.write_text(API_KEY)
    key_file.chmod(0o600)
    more = ("--api-key-file", str(key_file), "--force", "--json")
    with (
        hold(API_KEY),
        subprocess.Popen(
            lasersell(*arguments, *more), stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            assert process.stderr is not None
            lines: list[dict[str, str]] = []
            while not lines or "selling for" not in lines[-1]["message"]:
                lines.append(json.loads(process.stderr.readline()))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert {line["level"] for line in lines} <= {"info", "warning"}


# Commands that serve


def served(*arguments: str) -> tuple[list[dict[str, str]], str]:
    """Run a command that serves until it has said where; return its lines, and the URL."""
    with subprocess.Popen(
        lasersell(*arguments, "--port", "0", "--json"),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            banner = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
        finally:
            process.kill()
    lines = [json.loads(line) for line in (banner + rest).splitlines()]
    return lines, lines[0]["url"]


@pytest.mark.slow
def test_what_serves_tells_where_in_json() -> None:
    """The URL is a field, and every other line is JSON too."""
    lines, url = served("sim")
    assert url.startswith("ws://127.0.0.1:")
    assert lines[0]["event"] == "serving"
    assert lines[-1] == {"event": "stopped"}


@pytest.mark.slow
def test_the_simulator_takes_the_key_of_the_file(
    run: Run, tmp_path: Path, server: SimServer
) -> None:
    """And no other, then."""
    path = tmp_path / "key"
    path.write_text("sk-of-the-simulator")
    path.chmod(0o600)
    arguments = ("--port", "0", "--api-key-file", str(path))
    with subprocess.Popen(
        lasersell("sim", *arguments, "--json"), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            doctor = ("doctor", "--endpoint", url, "--wallet", WALLET)
            assert run(*doctor).exit_code == 3
            assert run(*doctor, "--api-key-file", str(path)).exit_code == 0
        finally:
            process.kill()
