from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.sim.foreign import OTHER, WALLET, Foreign
from tests.programs import lasersell

pytestmark = pytest.mark.slow


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """Run ``lasersell sim`` on a free port, for one wallet and one key."""
    arguments = ["--port", "0", "--seed", "7", "--tick-ms", "20"]
    arguments += ["--wallet", WALLET, "--api-key", "a-key"]
    with subprocess.Popen(
        lasersell("sim", *arguments), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _url(process: subprocess.Popen[str]) -> str:
    found = re.search(r"ws://(\S+)/v1/ws", _line(process))
    assert found is not None
    http = f"http://{found.group(1)}"
    assert _line(process) == f"REST API at {http}, Solana RPC at {http}/rpc\n"
    return found.group()


def test_a_newcomer_sees_life(program: subprocess.Popen[str]) -> None:
    """The wallet gets three positions with moving profits, and the events are shown."""
    client = Foreign(_url(program), "a-key")
    client.configure(target_profit_pct=1000)
    opened = [client.recv_type("position_opened") for _ in range(3)]
    assert len({message["mint"] for message in opened}) == 3
    profits = {client.recv_type("pnl_update")["profit_units"] for _ in range(9)}
    assert len(profits) > 3
    client.hang_up()
    shown = "".join(_line(program) for _ in range(9))
    assert "session 1 connected" in shown
    assert "session 1 received configure" in shown
    assert "session 1 sent position_opened: position 1" in shown


def test_only_the_named_wallet_and_key_are_accepted(
    program: subprocess.Popen[str],
) -> None:
    """Another wallet is an error."""
    client = Foreign(_url(program), "a-key")
    client.configure(OTHER)
    assert client.recv_type("error")["code"] == "wallet_not_registered"
    client.hang_up()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(
    program: subprocess.Popen[str], number: signal.Signals
) -> None:
    """Ctrl-C and a termination end the program, clean and with exit code 0."""
    _url(program)
    program.send_signal(number)
    rest, _ = program.communicate(timeout=10)
    assert rest == "stopped\n"
    assert program.returncode == 0


def test_a_port_that_is_taken_is_one_line(program: subprocess.Popen[str]) -> None:
    """A second server on the same port says so and exits with 2."""
    port = _url(program).split(":")[2].split("/")[0]
    second = subprocess.run(
        lasersell("sim", "--port", port),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr
