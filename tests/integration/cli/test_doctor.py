"""``lasersell doctor`` against servers that are well, and ones that are not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trustme
from click.testing import Result

from lasersell.cli import examine, patient
from lasersell.cli.examine import Examination, Finding
from lasersell.errors import MissingExtraError, SessionInUseError
from lasersell.session.exclusive import hold
from lasersell.sim import DEFAULT_LIMITS, SimServer
from lasersell.stream.client import StreamClient
from tests.faults.certificates import client_context, server_context
from tests.faults.raw_server import Peer, RawServer, answer, live
from tests.faults.wire import close_frame, error_frame
from tests.integration.cli.terminal import API_KEY, WALLET
from tests.integration.sim.foreign import OTHER

pytestmark = pytest.mark.slow

Run = Callable[..., Result]

STREAM_CHECKS = [
    "upgrade",
    "handshake",
    "API key",
    "wallets",
    "round trip",
    "clock",
    "limits",
]


def findings(result: Result) -> dict[str, dict[str, str]]:
    """Return what a run with ``--json`` found, by the name of the check."""
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code
    return {finding["check"]: finding for finding in document["checks"]}


def levels(result: Result) -> dict[str, str]:
    """Return the level of each check of a run with ``--json``."""
    return {name: finding["level"] for name, finding in findings(result).items()}


def examined(server: SimServer, *more: str) -> tuple[str, ...]:
    """Return the arguments that examine a server, its REST API and its node."""
    urls = ("--api-url", server.api_url, "--rpc-url", server.rpc_url)
    return ("doctor", "--endpoint", server.url, *urls, *more)


def test_a_good_server_is_ok_in_every_line(run: Run, server: SimServer) -> None:
    """Nothing to complain of: every check is there, ok, and the exit code is 0."""
    result = run(*examined(server, "--wallet", WALLET, "--json"))
    assert set(levels(result).values()) == {"ok"}
    assert list(levels(result)) == [
        "key file",
        "DNS",
        "TCP",
        "TLS",
        "API",
        "RPC",
        "lock",
        *STREAM_CHECKS,
    ]
    assert result.exit_code == 0
    found = findings(result)
    assert "hello_ok first" in found["handshake"]["text"]
    assert "tier_" in found["API"]["text"]
    assert WALLET in found["wallets"]["text"]
    assert "5 sessions, 10 wallets" in found["limits"]["text"]


def test_a_person_reads_a_line_each_and_the_sum(run: Run, server: SimServer) -> None:
    """Level, check and what was found, with the advice below it."""
    shown = run(*examined(server)).stdout
    assert "ok       TCP          127.0.0.1 port" in shown
    assert "warning  wallets      none was named" in shown
    assert "→ name yours with --wallet" in shown
    assert shown.splitlines()[-1] == "13 ok, 1 warning"
    assert API_KEY not in shown


def test_a_server_that_wants_configure_first_is_recognized(
    run: Run, server: SimServer
) -> None:
    """The order of the handshake is named, and is no fault."""
    server.change_options(hello="after_configure")
    result = run(*examined(server, "--wallet", WALLET, "--json"))
    handshake = findings(result)["handshake"]
    assert handshake["level"] == "ok"
    assert "hello_ok only after configure" in handshake["text"]
    assert result.exit_code == 0


@pytest.mark.parametrize("denial", ["401", "403", "error"])
def test_a_wrong_key_is_named(
    run: Run,
    server: SimServer,
    monkeypatch: pytest.MonkeyPatch,
    denial: examine.Level,
) -> None:
    """However the server refuses it, it is the key, with the exit code for that."""
    server.change_options(unknown_key=denial)
    monkeypatch.setenv("LASERSELL_API_KEY", "sk-of-somebody-else")
    result = run("doctor", "--endpoint", server.url, "--json")
    found = findings(result)
    assert found["API key"]["level"] == "failure"
    assert "refused the API key" in found["API key"]["text"]
    assert "check LASERSELL_API_KEY" in found["API key"]["advice"]
    assert found["wallets"]["level"] == "skipped"
    assert result.exit_code == 3
    assert "sk-of-somebody-else" not in result.output


def test_a_closed_port_is_named(run: Run) -> None:
    """The road ends at TCP; nothing further down it is tried."""
    result = run("doctor", "--endpoint", "ws://127.0.0.1:1/v1/ws", "--json")
    found = findings(result)
    assert found["TCP"]["level"] == "failure"
    assert "Connection refused" in found["TCP"]["text"]
    assert "is the server up?" in found["TCP"]["advice"]
    assert {levels(result)[name] for name in ["TLS", "lock", *STREAM_CHECKS]} == {
        "skipped"
    }
    assert result.exit_code == 4


def test_a_name_that_does_not_exist_is_named(run: Run) -> None:
    """The first step fails, with what to check."""
    result = run("doctor", "--endpoint", "wss://no..host/v1/ws", "--json")
    dns = findings(result)["DNS"]
    assert dns["level"] == "failure"
    assert "check the endpoint and DNS" in dns["advice"]
    assert result.exit_code == 4


def test_a_wrong_certificate_is_named(run: Run) -> None:
    """A server that nobody vouches for gets no upgrade request and no key."""
    with RawServer(live, context=server_context(trustme.CA())) as server:
        result = run("doctor", "--endpoint", server.endpoint, "--json")
        assert all(peer.request == b"" for peer in server.peers)
    tls = findings(result)["TLS"]
    assert tls["level"] == "failure"
    assert "the certificate of localhost is not valid" in tls["text"]
    assert "the CA bundle" in tls["advice"]
    assert result.exit_code == 4


def test_a_good_certificate_is_described() -> None:
    """Version, issuer and the days it is valid for."""
    tls = _look_at_tls(trustme.CA())
    assert tls.level == "ok"
    assert "TLSv1" in tls.text
    assert "chain verified, certificate by trustme" in tls.text


def test_a_certificate_that_ends_soon_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There are days left to do something about it."""
    monkeypatch.setattr(examine, "EXPIRES_SOON_DAYS", 10**8)
    tls = _look_at_tls(trustme.CA())
    assert tls.level == "warning"
    assert "renew" in str(tls.advice)


def _look_at_tls(authority: trustme.CA) -> Finding:
    with RawServer(live, context=server_context(authority)) as server:
        trusting = client_context(authority)
        client = StreamClient(API_KEY, endpoint=server.endpoint, ssl_context=trusting)
        with Examination(client) as examination:
            return list(examination.look_at_road())[-1]


@pytest.mark.parametrize("hello", ["first", "after_configure"])
def test_an_unregistered_wallet_is_named(
    run: Run, server: SimServer, hello: examine.Level
) -> None:
    """The wallet, what to do, and an exit code that blames neither key nor network."""
    server.change_options(hello=hello)
    result = run(*examined(server, "--wallet", OTHER, "--json"))
    wallets = findings(result)["wallets"]
    assert wallets["level"] == "failure"
    assert OTHER in wallets["text"]
    assert "register each wallet once" in wallets["advice"]
    assert result.exit_code == 1


def test_no_wallet_is_a_warning(run: Run, server: SimServer) -> None:
    """All else is looked at, by a wallet that nobody has."""
    result = run(*examined(server, "--json"))
    assert levels(result)["wallets"] == "warning"
    assert levels(result)["round trip"] == "ok"
    assert result.exit_code == 0


def test_a_held_lock_ends_it_before_the_stream(run: Run, server: SimServer) -> None:
    """The holder is named and left in peace: no second stream is opened."""
    with hold(API_KEY):
        result = run(*examined(server, "--wallet", WALLET, "--json"))
    found = findings(result)
    assert found["lock"]["level"] == "warning"
    assert f"process {os.getpid()} holds the stream" in found["lock"]["text"]
    assert "lasersell watch" in found["lock"]["advice"]
    assert found["API"]["level"] == "ok"
    assert {found[name]["level"] for name in STREAM_CHECKS} == {"skipped"}
    assert not server.upgrades.entries()
    assert result.exit_code == 6


def test_force_looks_beside_a_held_lock(run: Run, server: SimServer) -> None:
    """Who asks for it gets a second stream."""
    with hold(API_KEY):
        result = run(*examined(server, "--wallet", WALLET, "--force", "--json"))
    assert levels(result)["lock"] == "warning"
    assert levels(result)["limits"] == "ok"
    assert result.exit_code == 0


def test_the_lock_is_held_while_it_streams(server: SimServer) -> None:
    """Nobody else opens a stream meanwhile."""
    client = StreamClient(API_KEY, endpoint=server.url)
    with Examination(client, (WALLET,)) as examination:
        assert [finding.level for finding in examination.look_at_stream()] == ["ok"] * 8
        with pytest.raises(SessionInUseError):
            hold(API_KEY)


def test_the_lock_is_let_go_of(run: Run, server: SimServer) -> None:
    """Afterwards another process may stream."""
    run(*examined(server, "--wallet", WALLET))
    with hold(API_KEY) as held:
        assert held.is_held


def test_a_server_without_websockets_is_named(run: Run) -> None:
    """What it said to the upgrade is told."""

    def refuse(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    with RawServer(refuse) as server:
        result = run("doctor", "--endpoint", server.endpoint, "--json")
    assert findings(result)["upgrade"]["level"] == "failure"
    assert "404" in findings(result)["upgrade"]["text"]
    assert result.exit_code == 4


def test_a_server_that_never_greets_is_named(run: Run, server: SimServer) -> None:
    """The upgrade is ok, the handshake is not, and it takes no longer than it may."""
    server.change_options(hello="never")
    result = run(*examined(server, "--timeout", "2", "--json"))
    assert levels(result)["upgrade"] == "ok"
    assert findings(result)["handshake"]["level"] == "failure"
    assert "no hello_ok" in findings(result)["handshake"]["text"]
    assert result.exit_code == 4


def test_a_server_that_does_not_answer_pings_is_named(run: Run) -> None:
    """The handshake is ok, and what cannot be measured is a failure."""
    with RawServer(live) as server:
        result = run(
            "doctor", "--endpoint", server.endpoint, "--timeout", "2", "--json"
        )
    assert levels(result)["handshake"] == "ok"
    assert findings(result)["round trip"]["level"] == "failure"


def test_a_pong_may_come_late(
    run: Run, server: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for longer than a rejection is."""
    monkeypatch.setattr(examine, "LISTEN_SEC", 0.0)
    assert levels(run(*examined(server, "--json")))["round trip"] == "ok"


def test_a_server_that_hangs_up_is_named(run: Run) -> None:
    """What ended the stream right after its greeting is told."""

    def leave(peer: Peer) -> None:
        peer.greet()
        peer.send(close_frame(1011, "out of order"))

    with RawServer(leave) as server:
        endpoint = ("--endpoint", server.endpoint)
        result = run("doctor", *endpoint, "--wallet", WALLET, "--json")
    wallets = findings(result)["wallets"]
    assert wallets["level"] == "failure"
    assert "out of order" in wallets["text"]
    assert result.exit_code == 4


@pytest.mark.parametrize(
    ("code", "check", "exit_code"),
    [("unauthorized", "API key", 3), ("capacity_exceeded", "handshake", 4)],
)
def test_a_rejection_after_the_greeting_is_named(
    run: Run, code: str, check: str, exit_code: int
) -> None:
    """By what was rejected, in the words of the server."""
    with RawServer(answer(error_frame(code, "so it is"))) as server:
        arguments = ("--endpoint", server.endpoint, "--timeout", "2", "--json")
        result = run("doctor", *arguments)
    found = findings(result)[check]
    assert found["level"] == "failure"
    assert "so it is" in found["text"]
    assert result.exit_code == exit_code


def test_what_a_server_says_does_nothing_to_the_terminal(run: Run) -> None:
    """Its words are shown, and its escape sequences are not."""
    with RawServer(answer(error_frame("odd", "\x1b[2J"))) as server:
        shown = run("doctor", "--endpoint", server.endpoint, "--timeout", "2").stdout
    assert "(odd: ?[2J)" in shown
    assert "\x1b" not in shown


def test_a_stream_in_the_clear_is_a_warning() -> None:
    """Whoever allows it is told what it means."""
    client = StreamClient(API_KEY, endpoint="ws://192.0.2.1/", allow_insecure=True)
    with Examination(client) as examination:
        tls = examination._tls()
    assert tls.level == "warning"
    assert "in the clear" in tls.text


def test_a_proxy_is_what_is_looked_at() -> None:
    """The road goes to it first, so it is its name and its port that count."""
    client = StreamClient(
        API_KEY, endpoint="wss://stream.example/", proxy="http://127.0.0.1:1"
    )
    with Examination(client) as examination:
        road = list(examination.look_at_road())
    assert [finding.level for finding in road] == ["ok", "failure", "skipped"]
    assert "127.0.0.1" in road[0].text
    assert "127.0.0.1:1" in road[1].text


def test_what_needs_an_extra_is_left_out_without_it(
    run: Run, server: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is looked at, and the line says what to install."""
    monkeypatch.setattr(
        patient, "_api_of", _raiser(MissingExtraError("the REST API", "tx"))
    )
    found = findings(run(*examined(server, "--wallet", WALLET, "--json")))
    assert found["API"]["level"] == "skipped"
    assert "pip install 'lasersell[tx]'" in found["API"]["text"]
    assert found["limits"]["level"] == "ok"


def _raiser(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_clock_that_is_off_is_a_warning(
    run: Run, server: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far, in which direction, and what to do."""
    monkeypatch.setattr(examine, "CLOCK_OFF_MS", -1)
    clock = findings(run(*examined(server, "--json")))["clock"]
    assert clock["level"] == "warning"
    assert "this machine's" in clock["text"]
    assert "NTP" in clock["advice"]


def test_a_slow_server_is_a_warning(
    run: Run, server: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round trip is told, and that exits come as late."""
    monkeypatch.setattr(examine, "SLOW_SEC", 0.0)
    assert (
        findings(run(*examined(server, "--json")))["round trip"]["level"] == "warning"
    )


def test_too_many_wallets_are_named(run: Run, server: SimServer) -> None:
    """The limits of the session are compared with what is asked for."""
    server.change_options(
        limits=attrs.evolve(DEFAULT_LIMITS, max_wallets_per_session=1)
    )
    result = run(*examined(server, "--wallet", WALLET, "--wallet", OTHER, "--json"))
    assert "failure" in {levels(result)["limits"], levels(result)["API"]}
    assert result.exit_code == 1


def test_an_api_and_a_node_that_are_away_are_named(run: Run, server: SimServer) -> None:
    """Neither hides the other, and the stream is looked at all the same."""
    away = "http://127.0.0.1:1"
    result = run(
        *("doctor", "--endpoint", server.url, "--wallet", WALLET, "--json"),
        *("--api-url", away, "--rpc-url", away),
    )
    found = findings(result)
    assert found["API"]["level"] == "failure"
    assert found["RPC"]["level"] == "failure"
    assert "LASERSELL_RPC_URL" in found["RPC"]["advice"]
    assert found["limits"]["level"] == "ok"
    assert result.exit_code == 4


@pytest.mark.parametrize(
    ("mode", "level"), [(0o600, "ok"), (0o644, "warning"), (None, "failure")]
)
def test_the_permissions_of_the_key_file_are_looked_at(
    run: Run, server: SimServer, tmp_path: Path, mode: int | None, level: str
) -> None:
    """A file that others may read is a warning with the command that mends it."""
    path = tmp_path / "key"
    if mode is not None:
        path.write_text(f"{API_KEY}\n")
        path.chmod(mode)
    result = run(*examined(server, "--api-key-file", str(path), "--json"))
    if mode is None:
        settings = findings(result)["settings"]
        assert settings["level"] == "failure"
        assert str(path) in settings["text"]
        assert result.exit_code == 2
        return
    assert findings(result)["key file"]["level"] == level
    if mode == 0o644:
        assert findings(result)["key file"]["advice"] == f"run: chmod 600 {path}"
    assert levels(result)["API key"] == "ok"


def test_no_key_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where to put one is told, and nothing else is looked at."""
    monkeypatch.delenv("LASERSELL_API_KEY")
    result = run("doctor", "--json")
    assert levels(result) == {"settings": "failure"}
    assert "--api-key-file" in findings(result)["settings"]["advice"]
    assert result.exit_code == 2


def test_a_configuration_is_looked_at_whole(
    run: Run, server: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wallet keys, its API and its targets are those that are looked at."""
    keypair = pytest.importorskip("solders.keypair").Keypair()
    server.register_wallet(str(keypair.pubkey()))
    monkeypatch.setenv("LASERSELL_PRIVATE_KEY", str(keypair))
    path = tmp_path / "run.toml"
    path.write_text(
        f'[stream]\nendpoint = "{server.url}"\n'
        "[strategy]\ntarget_profit_pct = 5.0\n"
        f'[[targets]]\nkind = "rpc"\nurl = "{server.rpc_url}"\n'
        f'[api]\nbase_url = "{server.api_url}"\n'
    )
    result = run("doctor", "--config", str(path), "--json")
    assert set(levels(result).values()) == {"ok"}
    assert str(keypair.pubkey()) in findings(result)["wallet keys"]["text"]
    assert str(keypair) not in result.stdout
