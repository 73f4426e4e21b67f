from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from lasersell.errors import LaserSellError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.ownership import prove_ownership
from lasersell.exits.requests import BuildSellTxRequest
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from tests.integration.exits.chain import Node, rpc_error, signed_exit
from tests.integration.exits.server import Answer, Server, running
from tests.integration.exits.test_submit import status_of
from tests.unit.exits.test_keys import assert_no_secret, told_by
from tests.unit.exits.trades import (
    MINT,
    OWN,
    WALLET,
    build,
    exit_instructions,
    exit_signal,
    transfer,
)

API_KEY = "api-key-0123456789"


def _fail(work: Callable[[], object]) -> str:
    with pytest.raises(LaserSellError) as caught:
        work()
    return told_by(caught.value)


def _everything_that_fails(server: Server) -> list[str]:
    """Return all that could be printed of the ways in which an exit can fail."""
    signer = Signer([OWN])
    request = BuildSellTxRequest(
        mint=MINT, user_pubkey=WALLET, amount_tokens=1, slippage_bps=1
    )
    drain = build([*exit_instructions(), transfer(10**12)])
    with (
        ExitApiClient(API_KEY, base_url=server.url, attempts=1) as api,
        Submitter([SendTarget.rpc(server.url)]) as submitter,
    ):
        return [
            _fail(lambda: api.register_wallet(prove_ownership(OWN))),
            _fail(lambda: api.build_sell_tx(request)),
            _fail(lambda: signer.sign_exit(exit_signal(drain))),
            _fail(lambda: signer.sign_exit(exit_signal("nonsense"))),
            _fail(lambda: submitter.submit(signed_exit())),
            _fail(lambda: submitter.confirm(signed_exit(), timeout=0.1)),
            f"{signer!r} {submitter!r} {api!r} {OWN!r} {threading.enumerate()}",
        ]


@pytest.mark.parametrize(
    "answer", [Answer(breaks_off=True), Answer({"error": "no"}, 403), Answer(raw=b"x")]
)
def test_no_way_to_fail_tells_a_key(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither key is in a log line, an error, its causes, or its frames' variables."""
    caplog.set_level(logging.DEBUG)
    with running(answer) as server:
        told = "\n".join([*_everything_that_fails(server), caplog.text])
    assert_no_secret(told)
    assert API_KEY not in told


def test_a_whole_exit_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    """From signal to confirmation, with a refusal on the way, no log line has the key."""
    caplog.set_level(logging.DEBUG)
    node = Node(
        sendTransaction=[rpc_error(-32005, "behind")],
        getSignatureStatuses=[status_of("confirmed")],
    )
    with running(script=node) as server:
        target = SendTarget.rpc(server.url)
        with Submitter([target]) as submitter:
            _fail(lambda: submitter.submit(signed_exit()))
            node.answers.pop("sendTransaction")
            signed = Signer([OWN]).sign_exit(exit_signal(build(exit_instructions())))
            assert submitter.submit_and_confirm(signed).status == "confirmed"
        assert_no_secret(caplog.text + "".join(map(str, server.requests)))
