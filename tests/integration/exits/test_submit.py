from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConfigurationError, TxError
from lasersell.exits import confirm as confirm_module
from lasersell.exits.submit import Submission, Submitter
from lasersell.exits.targets import SendTarget
from tests.integration.exits.chain import Node, result, rpc_error, signed_exit
from tests.integration.exits.server import Answer, Server, running
from tests.patience import PATIENCE

SIGNED = signed_exit()
SIGNATURE = SIGNED.signature


def refused(call: Callable[[], object], match: str | None = None) -> TxError:
    """Return the error that a call raises."""
    with pytest.raises(TxError, match=match) as caught:
        call()
    return caught.value


def rpc(server: Server) -> SendTarget:
    """Return a server as an RPC node."""
    return SendTarget.rpc(server.url)


def status_of(
    level: str | None, err: Any = None, slot: Any = 7, context_slot: int = 100
) -> Answer:
    """Return the answer to a question about a signature; None is unknown."""
    known = {"slot": slot, "confirmations": 1, "err": err, "confirmationStatus": level}
    value = [None if level is None else known]
    return result({"context": {"slot": context_slot}, "value": value})


def validity(is_valid: bool, context_slot: int = 100) -> Answer:
    """Return the answer to a question about a block hash."""
    return result({"context": {"slot": context_slot}, "value": is_valid})


# Submission


def test_a_transaction_is_submitted_as_the_wire_has_it() -> None:
    """The payload and its options are those of the service's documentation."""
    with running(script=Node()) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.submit(SIGNED) == Submission(SIGNATURE, "rpc")
        assert server.requests[0].headers["content-type"] == "application/json"
        assert server.requests[0].json == {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "sendTransaction",
            "params": [
                SIGNED.base64,
                {
                    "encoding": "base64",
                    "skipPreflight": True,
                    "maxRetries": 0,
                    "preflightCommitment": "processed",
                },
            ],
        }


def test_helius_is_told_no_preflight_commitment() -> None:
    """Helius Sender has its own path and options, and no key."""
    with running(script=Node()) as server:
        target = SendTarget.helius_sender(f"{server.url}/fast")
        with Submitter([target], confirm_with=rpc(server)) as submitter:
            assert submitter.submit(SIGNED).target == "helius_sender"
        request = server.requests[0]
        assert request.path == "/fast"
        assert request.json["params"][1] == {
            "encoding": "base64",
            "skipPreflight": True,
            "maxRetries": 0,
        }


def test_astralane_gets_its_key_under_both_names() -> None:
    """Both header names are sent, whichever of them the service reads."""
    with running(script=Node()) as server:
        target = SendTarget.astralane("astra-key", url=f"{server.url}/iris")
        with Submitter([target], confirm_with=rpc(server)) as submitter:
            submitter.submit(SIGNED)
        headers = server.requests[0].headers
        assert (headers["api-key"], headers["x-api-key"]) == ("astra-key", "astra-key")


def test_many_submissions_share_one_connection() -> None:
    """Twenty submissions in a row open one connection, and so does warming it up."""
    with running(script=Node()) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.warm() == {"rpc": True}
        for _ in range(20):
            submitter.submit(SIGNED)
        assert server.connections == 1
        assert server.requests[0].json["method"] == "getHealth"


def test_an_error_that_is_null_is_success() -> None:
    """A result beside ``"error": null`` means that the transaction was taken."""
    node = Node(sendTransaction=[result(SIGNATURE, error=None)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.submit(SIGNED).signature == SIGNATURE


@pytest.mark.parametrize(
    "answer",
    [
        rpc_error(-32002, "simulation failed", {"err": "AlreadyProcessed"}),
        rpc_error(-32002, "This transaction has already been processed"),
    ],
)
def test_a_duplicate_is_success(answer: Answer) -> None:
    """That the very transaction was taken before is no failure."""
    node = Node(sendTransaction=[answer])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.submit(SIGNED).signature == SIGNATURE


FAILURES: list[tuple[Answer, str, bool]] = [
    (rpc_error(-32002, "failed", {"err": "BlockhashNotFound"}), "preflight", True),
    (
        rpc_error(
            -32002, "failed", {"err": {"InstructionError": [3, {"Custom": 6004}]}}
        ),
        "preflight",
        True,
    ),
    (rpc_error(-32003, "Transaction signature verification failure"), "submit", False),
    (rpc_error(-32005, "Node is behind by 42 slots"), "submit", True),
    (rpc_error(-32602, "invalid params"), "submit", False),
    (rpc_error(-32603, "internal error"), "submit", True),
    (rpc_error(429, "rate limited", status=429), "submit", True),
    (Answer({"error": "text"}, 200), "submit", False),
    (Answer(b"<html>", 429), "submit", True),
    (Answer(b"<html>", 503), "submit", True),
    (Answer(b"unauthorized", 401), "submit", False),
    (Answer(b"<html>", 200), "submit", True),
    (Answer([], 200), "submit", True),
    (Answer({"jsonrpc": "2.0", "id": 1}, 200), "submit", True),
    (result(None), "submit", True),
    (result(""), "submit", True),
    (result("5" * 88), "submit", True),
    (Answer(breaks_off=True), "submit", True),
]


@pytest.mark.parametrize(("answer", "stage", "is_retryable"), FAILURES)
def test_every_failure_is_one_typed_error(
    answer: Answer, stage: str, is_retryable: bool
) -> None:
    """Stage, target and whether to try again are on the error, whatever went wrong."""
    node = Node(sendTransaction=[answer])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        error = refused(lambda: submitter.submit(SIGNED))
    assert (error.stage, error.target, error.is_retryable) == (
        stage,
        "rpc",
        is_retryable,
    )
    assert SIGNED.base64[:40] not in f"{error} {vars(error)}"


def test_what_the_node_said_is_kept() -> None:
    """The error of the node is on ours, so that a program can read it."""
    detail = {"err": {"InstructionError": [3, {"Custom": 6004}]}}
    node = Node(sendTransaction=[rpc_error(-32002, "failed", detail)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        error = refused(lambda: submitter.submit(SIGNED), "failed")
    assert error.detail == {"code": -32002, "message": "failed", "data": detail}


def test_a_connection_that_died_while_idle_costs_nothing() -> None:
    """A broken connection is tried once more at once: the bytes execute once."""
    node = Node(sendTransaction=[Answer(breaks_off=True), result(SIGNATURE)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.submit(SIGNED).signature == SIGNATURE
        assert len(server.requests) == 2


def test_a_node_that_is_silent_is_given_up() -> None:
    """After the time-out the transaction may have been taken, and the error says so."""
    node = Node(sendTransaction=[Answer(hangs=True)])
    with (
        running(script=node) as server,
        Submitter([rpc(server)], timeout=0.3) as submitter,
    ):
        start = SYSTEM_CLOCK.monotonic()
        error = refused(lambda: submitter.submit(SIGNED), "in time")
        assert SYSTEM_CLOCK.monotonic() - start < 3
    assert (error.stage, error.is_retryable) == ("submit", True)


# Several targets


def custom(server: Server, label: str, **options: Any) -> SendTarget:
    """Return a server as a custom target."""
    return SendTarget.custom(server.url, label=label, **options)


def test_the_first_signature_wins() -> None:
    """A target that hangs does not hold up one that answers."""
    with (
        running(script=Node(sendTransaction=[Answer(hangs=True)])) as slow,
        running(script=Node()) as fast,
    ):
        targets = [custom(slow, "slow"), custom(fast, "fast")]
        with Submitter(targets, confirm_with=rpc(fast), timeout=PATIENCE) as submitter:
            start = SYSTEM_CLOCK.monotonic()
            assert submitter.submit(SIGNED).target == "fast"
            assert SYSTEM_CLOCK.monotonic() - start < PATIENCE / 2
            slow.wait_for(1)
            slow.ended.set()


def test_all_targets_are_given_the_transaction() -> None:
    """Several targets means all of them, at once."""
    together = threading.Barrier(3)

    def wait_for_all(_: object) -> Answer:
        together.wait(PATIENCE)
        return result(SIGNATURE)

    with running(script=wait_for_all) as server:
        targets = [custom(server, f"target {number}") for number in range(3)]
        with Submitter(targets, confirm_with=rpc(server)) as submitter:
            submitter.submit(SIGNED)
            server.wait_for(3)


def test_one_target_that_takes_it_is_enough() -> None:
    """Refusals of the others do not count."""
    with running(script=Node()) as good, running(Answer(status=500)) as bad:
        targets = [custom(bad, "bad"), custom(good, "good"), custom(bad, "worse")]
        with Submitter(targets, confirm_with=rpc(good)) as submitter:
            assert submitter.submit(SIGNED).target == "good"


def test_if_none_takes_it_each_is_heard() -> None:
    """The error tells of all targets, and is retryable if one of them is."""
    with (
        running(Answer(status=500)) as busy,
        running(rpc_error(-32602, "invalid params")) as strict,
    ):
        targets = [custom(busy, "busy"), custom(strict, "strict")]
        with Submitter(targets, confirm_with=rpc(busy)) as submitter:
            error = refused(
                lambda: submitter.submit(SIGNED), r"busy.*strict|strict.*busy"
            )
    assert (error.stage, error.is_retryable) == ("submit", True)
    assert isinstance(error.detail, dict)
    assert set(error.detail) == {"busy", "strict"}


def test_if_one_gave_no_answer_the_stage_stays_open() -> None:
    """What one node simulated proves nothing about a target that may have sent it on."""
    with (
        running(rpc_error(-32002, "failed")) as simulated,
        running(Answer(breaks_off=True)) as silent,
    ):
        both = [custom(simulated, "simulated"), custom(silent, "silent")]
        with Submitter(both, confirm_with=rpc(silent)) as submitter:
            error = refused(lambda: submitter.submit(SIGNED))
        assert error.stage == "submit"
        twice = [custom(simulated, "one"), custom(simulated, "two")]
        with Submitter(twice, confirm_with=rpc(silent)) as submitter:
            error = refused(lambda: submitter.submit(SIGNED))
        assert error.stage == "preflight"


# Tips


def test_a_tip_that_is_too_small_is_not_submitted() -> None:
    """A target that would drop the transaction in silence is not even asked."""
    with running(script=Node()) as server:
        target = custom(server, "tipped", min_tip_lamports=10_000_001)
        with Submitter([target], confirm_with=rpc(server)) as submitter:
            error = refused(lambda: submitter.submit(SIGNED), "tips 10000000 lamports")
        assert (error.target, error.is_retryable) == ("tipped", False)
        assert server.requests == []


def test_a_tip_that_is_too_small_for_one_target_goes_to_the_others() -> None:
    """Where one target takes no such tip, the rest still gets the transaction."""
    with running(script=Node()) as server:
        targets = [custom(server, "tipped", min_tip_lamports=2**60), rpc(server)]
        with Submitter(targets) as submitter:
            assert submitter.submit(SIGNED).target == "rpc"
        assert len(server.requests) == 1


# Confirmation


def test_a_transaction_is_seen_confirmed() -> None:
    """It is asked for by its signature until it is as settled as wanted."""
    statuses = [
        status_of(None),
        status_of("processed"),
        status_of("confirmed", slot=9),
    ]
    node = Node(getSignatureStatuses=statuses)
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        confirmation = submitter.confirm(SIGNED, interval=0.05)
        assert (confirmation.signature, confirmation.slot, confirmation.status) == (
            SIGNATURE,
            9,
            "confirmed",
        )
        asked = [request.json for request in server.requests]
        assert asked[0]["params"] == [[SIGNATURE], {"searchTransactionHistory": True}]
        assert server.connections == 1


def test_a_signature_alone_can_be_confirmed() -> None:
    """Who has only the signature can wait for it too, as settled as he wants."""
    node = Node(getSignatureStatuses=[status_of("confirmed"), status_of("finalized")])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        found = submitter.confirm(SIGNATURE, interval=0.05, commitment="finalized")
        assert found.status == "finalized"
        methods = {request.json["method"] for request in server.requests}
        assert methods == {"getSignatureStatuses"}


def test_a_failed_execution_is_told_with_its_error() -> None:
    """A transaction that landed and failed wants another one, and says why it failed."""
    err = {"InstructionError": [3, {"Custom": 6004}]}
    node = Node(getSignatureStatuses=[status_of("confirmed", err)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        error = refused(lambda: submitter.confirm(SIGNED), "failed")
    assert (error.stage, error.is_retryable, error.detail) == ("execute", True, err)


def test_a_failure_on_a_fork_is_not_final() -> None:
    """An error counts once it is as settled as wanted, not before."""
    statuses = [status_of("processed", "AccountInUse"), status_of("confirmed")]
    node = Node(getSignatureStatuses=statuses)
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.confirm(SIGNED, interval=0.05).status == "confirmed"


def test_what_is_not_seen_in_time_may_still_land() -> None:
    """After the time-out nothing is known, so nothing may be sold again."""
    node = Node(getSignatureStatuses=[status_of(None)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        start = SYSTEM_CLOCK.monotonic()
        error = refused(
            lambda: submitter.confirm(SIGNED, timeout=0.3, interval=0.05), SIGNATURE
        )
        assert 0.25 < SYSTEM_CLOCK.monotonic() - start < 3
    assert (error.stage, error.is_retryable) == ("confirm", False)


def test_the_node_is_not_asked_faster_than_told() -> None:
    """Between two questions lies the interval."""
    node = Node(getSignatureStatuses=[status_of(None)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        with pytest.raises(TxError):
            submitter.confirm(SIGNATURE, timeout=0.5, interval=0.2)
        assert len(server.requests) <= 4


def test_a_node_that_stumbles_is_asked_again() -> None:
    """Passing failures of the node are not the transaction's."""
    statuses = [
        Answer(status=503),
        Answer(breaks_off=True),
        result({"value": "nonsense"}),
        status_of("confirmed"),
    ]
    node = Node(getSignatureStatuses=statuses)
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.confirm(SIGNED, interval=0.05).status == "confirmed"


def test_a_node_that_refuses_is_not_asked_again() -> None:
    """A wrong key for the node is told at once."""
    node = Node(getSignatureStatuses=[Answer(b"unauthorized", 401)])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        error = refused(lambda: submitter.confirm(SIGNED, interval=0.05), "401")
    assert error.stage == "confirm"


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm_module, "EXPIRY_INTERVAL", 0.0)


@pytest.mark.usefixtures("_impatient")
def test_an_expired_transaction_is_told_for_certain() -> None:
    """A block hash that was good and is no longer, and no trace of the transaction."""
    node = Node(
        getSignatureStatuses=[status_of(None, context_slot=100)],
        isBlockhashValid=[validity(True), validity(False, context_slot=100)],
    )
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        error = refused(lambda: submitter.confirm(SIGNED, interval=0.05), "expired")
    assert (error.stage, error.is_retryable) == ("expire", True)


@pytest.mark.usefixtures("_impatient")
def test_a_transaction_that_landed_in_the_last_block_is_not_expired() -> None:
    """When the block hash ends, the transaction is looked for once more."""
    node = Node(
        getSignatureStatuses=[
            status_of(None),
            status_of(None),
            status_of("processed"),
            status_of("confirmed"),
        ],
        isBlockhashValid=[validity(True), validity(False)],
    )
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        assert submitter.confirm(SIGNED, interval=0.05).status == "confirmed"


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "answers",
    [
        {"isBlockhashValid": [validity(False)]},
        {"isBlockhashValid": [validity(True), validity(False, context_slot=101)]},
        {"isBlockhashValid": [rpc_error(-32601, "Method not found")]},
        {"isBlockhashValid": [Answer(status=500)]},
        {"isBlockhashValid": [result({"value": False})]},
        {"getSignatureStatuses": [status_of("confirmed", slot="?")]},
    ],
    ids=[
        "never seen good",
        "another node is behind",
        "no method",
        "busy",
        "malformed",
        "malformed status",
    ],
)
def test_what_is_not_certain_is_not_called_expired(answers: dict[str, Any]) -> None:
    """A node that lags, or does not know the method, proves nothing."""
    unseen = {"getSignatureStatuses": [status_of(None, context_slot=100)]}
    node = Node(**{**unseen, **answers})
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        error = refused(lambda: submitter.confirm(SIGNED, timeout=0.3, interval=0.05))
    assert error.stage == "confirm"


def test_a_transaction_is_resent_while_it_is_waited_for() -> None:
    """The targets do not repeat it themselves, so we do; it executes once."""
    unseen = [status_of(None) for _ in range(6)]
    node = Node(getSignatureStatuses=[*unseen, status_of("confirmed")])
    with running(script=node) as server, Submitter([rpc(server)]) as submitter:
        confirmation = submitter.submit_and_confirm(
            SIGNED, interval=0.05, resend_every=0.05
        )
        assert confirmation.status == "confirmed"
        assert len(node.sent) >= 2
        assert set(node.sent) == {SIGNED.base64}


def test_a_submission_that_timed_out_after_it_was_taken_can_be_confirmed() -> None:
    """The signature is known before the answer is, so the truth can be asked for."""
    node = Node(
        sendTransaction=[Answer(hangs=True)],
        getSignatureStatuses=[status_of("confirmed")],
    )
    with (
        running(script=node) as server,
        Submitter([rpc(server)], timeout=0.2) as submitter,
    ):
        error = refused(lambda: submitter.submit(SIGNED))
        assert error.is_retryable
        assert submitter.confirm(SIGNED).signature == SIGNATURE


# Warm connections and the end


def test_connections_are_kept_warm() -> None:
    """Each place is asked at once, and again and again."""
    with running(script=Node()) as server:
        targets = [SendTarget.helius_sender(f"{server.url}/fast"), rpc(server)]
        with Submitter(targets) as submitter:
            submitter.keep_warm(0.05)
            server.wait_for(4)
        paths = {(request.method, request.path) for request in server.requests}
        assert paths == {("GET", "/ping"), ("POST", "/")}


def test_a_place_that_does_not_answer_is_named() -> None:
    """Warming up says who is there."""
    with running() as server:
        gone = custom(server, "gone")
    with running(script=Node()) as server:
        targets = [gone, custom(server, "here")]
        with Submitter(targets, confirm_with=rpc(server)) as submitter:
            assert submitter.warm() == {"gone": False, "here": True, "rpc": True}


def test_close_ends_a_wait_for_a_confirmation() -> None:
    """Whoever waits is told, and need not wait out the time-out."""
    node = Node(getSignatureStatuses=[status_of(None)])
    with running(script=node) as server:
        submitter = Submitter([rpc(server)])
        outcome: list[TxError] = []

        def confirm() -> None:
            try:
                submitter.confirm(SIGNED, timeout=60, interval=30)
            except TxError as error:
                outcome.append(error)

        thread = threading.Thread(target=confirm)
        thread.start()
        server.wait_for(1)
        submitter.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert outcome[0].stage == "confirm"


def test_a_closed_submitter_starts_nothing() -> None:
    """After close() no thread is started."""
    submitter = Submitter([SendTarget.rpc("http://127.0.0.1:1")])
    submitter.close()
    with pytest.raises(ConfigurationError, match="closed"):
        submitter.keep_warm()


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"connect_timeout": 0}, {"targets": []}],
    ids=str,
)
def test_a_wrong_setting_is_refused(options: dict[str, Any]) -> None:
    """Settings that make no sense are refused when they are made."""
    with pytest.raises(ConfigurationError):
        Submitter(**options)


@pytest.mark.parametrize(
    "options", [{"commitment": "probably"}, {"interval": 0}, {"timeout": -1}], ids=str
)
def test_a_wrong_wait_is_refused(options: dict[str, Any]) -> None:
    """How to wait for a confirmation is checked."""
    with (
        Submitter([SendTarget.rpc("http://127.0.0.1:1")]) as submitter,
        pytest.raises(ConfigurationError, match=next(iter(options))),
    ):
        submitter.confirm(SIGNATURE, **options)


def test_no_key_of_a_provider_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The URL of a node, and what it repeats of it, is in no error and no log line."""
    caplog.set_level(0)
    echo = Answer(b'{"error": {"code": 401, "message": "/hidden-token?k=hidden"}}', 401)
    with running(echo) as server:
        target = SendTarget.rpc(f"{server.url}/hidden-token?k=hidden")
        with Submitter([target]) as submitter:
            error = refused(lambda: submitter.submit(SIGNED))
            told = f"{submitter} {submitter!r} {error} {vars(error)}"
    assert "hidden" not in told
    assert "hidden" not in caplog.text
