from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.errors import (
    AuthenticationError,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
)
from lasersell.protocol.client import Configure
from lasersell.protocol.server import PnlUpdate, Pong, ServerError
from lasersell.stream.handshake import EARLY_LIMIT, Greeting, Handshake, rejection
from lasersell.stream.lifecycle import RAW_LIMIT, Undecodable
from lasersell.stream.transport import Transport
from lasersell.stream.wakeup import Interrupted, Wakeup
from tests.faults.client import CONFIGURE, make_client
from tests.faults.raw_server import Peer, RawServer, Script
from tests.faults.wire import (
    PING,
    TEXT,
    close_frame,
    error_frame,
    event,
    frame,
    hello_frame,
    pnl_frame,
)
from tests.patience import PATIENCE

_BRIEF = 0.05
_TOLD = Configure(wallet_pubkeys=CONFIGURE.wallet_pubkeys, strategy=CONFIGURE.strategy)


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    """Return what calls a handshake off."""
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def _shake(
    script: Script,
    wakeup: Wakeup,
    *,
    grace: float = PATIENCE,
    timeout: float = PATIENCE,
    clock: Clock = SYSTEM_CLOCK,
    configure: Callable[[], Configure] = lambda: _TOLD,
) -> Greeting:
    """Run one handshake with a server that follows a script."""
    with RawServer(script) as server:
        options = make_client(server.endpoint).options
        transport = Transport(options, wakeup)
        transport.open(Deadline(PATIENCE))
        try:
            return Handshake(
                transport,
                wakeup,
                configure,
                grace=grace,
                deadline=Deadline(timeout, clock),
                clock=clock,
            ).run()
        finally:
            transport.dispose()


def _says(*data: bytes) -> Script:
    """Return a script that lets the client in and says something at once."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(*data)
        peer.drain()

    return script


def _answers(*data: bytes) -> Script:
    """Return a script that says something in answer to ``configure``."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.read()
        peer.send(*data)
        peer.drain()

    return script


# Both orders


def test_hello_first(wakeup: Wakeup) -> None:
    """The order of the specification: hello_ok at once, then configure."""
    received = []

    def script(peer: Peer) -> None:
        configured = peer.greet()
        assert configured is not None
        received.append(json.loads(configured.payload))

    before = SYSTEM_CLOCK.monotonic()
    greeting = _shake(script, wakeup)
    assert greeting.hello.session_id == 1
    assert greeting.told == _TOLD
    assert not greeting.hello_waited
    assert greeting.early == []
    assert before < greeting.configured_at <= SYSTEM_CLOCK.monotonic()
    assert received[0]["type"] == "configure"


def test_configure_first(wakeup: Wakeup) -> None:
    """A server that holds hello_ok back gets configure when the grace is over."""
    greeting = _shake(_answers(hello_frame()), wakeup, grace=_BRIEF)
    assert greeting.hello_waited


class _TickingClock:
    """A clock that moves on by 10 ms whenever it is looked at."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.01
        return self._now

    def wall_ms(self) -> int:
        return 0


@pytest.mark.parametrize("grace", [0.005, 0.015, 0.025, 0.035, 0.045])
def test_the_grace_may_end_between_any_two_steps(wakeup: Wakeup, grace: float) -> None:
    """Wherever the end of the grace falls, configure goes out and the handshake goes on."""
    greeting = _shake(
        _answers(hello_frame()), wakeup, grace=grace, clock=_TickingClock()
    )
    assert greeting.hello_waited


def test_no_grace_sends_configure_at_once(wakeup: Wakeup) -> None:
    """Where the order is known, nothing is waited for; a hello-first server is fine too."""
    assert _shake(_answers(hello_frame()), wakeup, grace=0.0).hello_waited
    assert _shake(_says(hello_frame()), wakeup, grace=0.0).hello_waited


def test_what_is_told_is_asked_for_when_it_is_written(wakeup: Wakeup) -> None:
    """A wish that changes during the grace is in configure."""
    wishes = [Configure(wallet_pubkeys=["newest"], strategy=CONFIGURE.strategy)]
    greeting = _shake(_says(hello_frame()), wakeup, configure=wishes.pop)
    assert greeting.told.wallet_pubkeys == ("newest",)
    assert wishes == []


def test_other_messages_are_kept_in_order(wakeup: Wakeup) -> None:
    """Whatever comes before, with or after hello_ok is delivered later, broken or not."""
    script = _answers(
        event(1),
        frame(TEXT, b"x" * (RAW_LIMIT + 1)),
        frame(PING),
        hello_frame(1),
        pnl_frame(),
        error_frame("capacity_exceeded", "positions"),
        hello_frame(2),
    )
    early = _shake(script, wakeup, grace=0.0).early
    kinds = [type(message).__name__ for message in early]
    assert kinds == ["Pong", "Undecodable", "PnlUpdate", "ServerError", "HelloOk"]
    assert isinstance(early[0], Pong)
    assert isinstance(early[2], PnlUpdate)
    broken = early[1]
    assert isinstance(broken, Undecodable)
    assert len(broken.raw) == RAW_LIMIT
    assert "JSON" in broken.problem


# Refused


@pytest.mark.parametrize("prefix", [b"", hello_frame()])
def test_an_error_before_configure_is_a_rejection(
    wakeup: Wakeup, prefix: bytes
) -> None:
    """An error that comes instead of a chance to configure ends the handshake."""
    script = _says(prefix + error_frame("too_many_sessions", "one is allowed"))
    with pytest.raises(HandshakeError) as caught:
        _shake(script, wakeup)
    assert (caught.value.code, caught.value.message) == (
        "too_many_sessions",
        "one is allowed",
    )


def test_an_error_instead_of_hello_is_a_rejection(wakeup: Wakeup) -> None:
    """A server that answers configure with an error does not want it (13.1, P16)."""
    script = _answers(error_frame("invalid_strategy", "no exit condition"))
    with pytest.raises(HandshakeError, match="change the strategy") as caught:
        _shake(script, wakeup, grace=0.0)
    assert caught.value.code == "invalid_strategy"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_strategy", "change the strategy"),
        ("wallet_not_registered", "register each wallet"),
        ("capacity_exceeded", "fewer wallets"),
        ("something_new", "see the server's words"),
    ],
)
def test_a_rejection_says_what_to_do(code: str, advice: str) -> None:
    """Each known code has its advice, an unknown one shows the server's words."""
    error = rejection(ServerError(code=code, message="because"))
    assert type(error) is HandshakeError
    assert f"({code}: because)" in str(error)
    assert advice in str(error)


@pytest.mark.parametrize("code", ["unauthorized", "invalid_api_key"])
def test_a_refused_key_is_an_authentication_error(code: str) -> None:
    """The service may refuse the key by an error frame instead of HTTP 401 (6.2)."""
    error = rejection(ServerError(code=code, message="because"))
    assert isinstance(error, AuthenticationError)
    assert (error.code, error.message, error.status) == (code, "because", None)
    assert "LASERSELL_API_KEY" in str(error)


@pytest.mark.parametrize("code", [1008, 4000, 4001, 4999])
@pytest.mark.parametrize("prefix", [b"", hello_frame()], ids=["", "after hello"])
def test_a_policy_close_is_a_refusal(wakeup: Wakeup, code: int, prefix: bytes) -> None:
    """1008 and 4xxx during the handshake turn us away, with the server's reason."""
    script = _says(prefix + close_frame(code, "one session only"))
    with pytest.raises(HandshakeError, match="refused the session") as caught:
        _shake(script, wakeup)
    assert (caught.value.code, caught.value.message) == (str(code), "one session only")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000])
@pytest.mark.parametrize("prefix", [b"", hello_frame()], ids=["", "after hello"])
def test_any_other_close_is_a_failed_connect(
    wakeup: Wakeup, code: int, prefix: bytes
) -> None:
    """A server that goes away during the handshake may be there again later."""
    with pytest.raises(ConnectError, match=f"hung up.*{code}"):
        _shake(_says(prefix + close_frame(code)), wakeup)


@pytest.mark.parametrize("grace", [PATIENCE, 0.0])
def test_the_end_of_the_connection_is_a_failed_connect(
    wakeup: Wakeup, grace: float
) -> None:
    """A connection cut without a word is told as such, before and after configure."""
    with pytest.raises(ConnectError, match="hung up during the handshake"):
        _shake(Peer.upgrade, wakeup, grace=grace)


def test_a_reset_after_hello_is_a_failed_connect(wakeup: Wakeup) -> None:
    """A write of configure that fails is one clear error of the connect."""
    is_read, is_reset = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.send(hello_frame())
        assert is_read.wait(PATIENCE)
        peer.reset()
        is_reset.set()

    def configure() -> Configure:
        is_read.set()
        assert is_reset.wait(PATIENCE)
        return _TOLD

    with pytest.raises(ConnectError, match="hung up during the handshake"):
        _shake(script, wakeup, configure=configure)


# Called off, or out of time


@pytest.mark.parametrize("grace", [PATIENCE, 0.0, _BRIEF])
def test_no_hello_is_a_timeout(wakeup: Wakeup, grace: float) -> None:
    """A mute server ends the connect at its deadline (13.1, P17)."""
    with pytest.raises(ConnectTimeoutError, match="no hello_ok in time"):
        _shake(_says(), wakeup, grace=grace, timeout=2 * _BRIEF)


def test_a_flood_without_hello_is_refused(wakeup: Wakeup) -> None:
    """What comes before hello_ok is kept, so there is a bound on it."""
    script = _says(pnl_frame() * (EARLY_LIMIT // 100))
    with pytest.raises(ConnectError, match="no hello_ok"):
        _shake(script, wakeup)


def test_closing_calls_the_handshake_off(wakeup: Wakeup) -> None:
    """close() does not wait for a server that says nothing."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        wakeup.call_off()
        peer.drain()

    with pytest.raises(Interrupted):
        _shake(script, wakeup)
