"""Under gevent's monkey-patching, with the real gevent."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trustme

from tests.faults.processes import running
from tests.faults.raw_server import Peer, RawServer, answer
from tests.faults.wire import event
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def _answer_ping(peer: Peer) -> None:
    peer.greet()
    peer.stopping.wait(0.1)  # for the other greenlets to show that they run
    ping = peer.read()
    assert ping is not None
    assert b'"ping"' in ping.payload
    peer.send(event(1))


def _run(server: RawServer, *arguments: str) -> None:
    with running("tests.faults.gevent_program", server.endpoint, *arguments) as program:
        answer, complaints = program.communicate(timeout=PATIENCE)
    assert complaints == ""
    assert json.loads(answer) == {
        "round_trip": True,
        "second": 2,
        "last": 2,
        "state": "closed",
        "others_worked": True,
    }


def test_a_stream_works_among_greenlets() -> None:
    """Connect, ping, reconnect, receive and close work, and other greenlets go on."""
    with RawServer(_answer_ping, answer(event(2))) as server:
        _run(server)


def test_a_tls_stream_works_among_greenlets(
    authority: trustme.CA,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    tmp_path: Path,
) -> None:
    """The same over TLS."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with RawServer(_answer_ping, answer(event(2)), context=contexts[0]) as server:
        _run(server, str(bundle))
