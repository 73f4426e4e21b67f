"""
Submit signed transactions, to several places at once, and see them confirmed.

A signed transaction executes once, however often it is submitted. So ``is_retryable``
of a ``TxError`` depends on the stage that failed:

=============  ========================================================================
stage          what happened, and what to do if ``is_retryable``
=============  ========================================================================
``submit``     it was not taken, or no answer came and it may still land: submit the
               same transaction again
``preflight``  the node simulated it, it failed, and it was not sent on: get a new
               transaction
``execute``    it was executed and failed, such as for slippage: get a new transaction
``expire``     its block hash is too old and it did not land: get a new transaction
``confirm``    it was not seen in time and may still land; never retryable: ask for
               its signature again before you do anything else
=============  ========================================================================
"""

from __future__ import annotations

import functools
import logging
import queue
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence

import attrs

from lasersell._clock import Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import ConfigurationError, TxError
from lasersell.exits.confirm import Commitment, Confirmation, Watch
from lasersell.exits.http import HttpFailure
from lasersell.exits.rpc import RpcLink
from lasersell.exits.targets import SendTarget
from lasersell.exits.transaction import SignedTransaction
from lasersell.stream.options import check_seconds

__all__ = ["Submission", "Submitter"]

log = logging.getLogger(__name__)


@attrs.frozen
class Submission:
    """A transaction that a target took; that it executes is another matter."""

    signature: str
    """Its signature; base58."""
    target: str
    """Who took it first."""


class Submitter:
    """
    Submits to all its targets at once, over connections that stay open.

    Any thread may use it. Use it in a ``with`` block.

    Args:
        targets: Where to submit; None is an RPC node.
        confirm_with: The RPC node that is asked what became of a transaction; None is
            the first target that can tell, else ``SendTarget.rpc()``.
        connect_timeout: Seconds for name, TCP and TLS together.
        timeout: Seconds for one request.
        ssl_context: A verifying context of your own.

    Raises:
        ConfigurationError: A setting is wrong, or there is no target.
    """

    def __init__(
        self,
        targets: Iterable[SendTarget] | None = None,
        *,
        confirm_with: SendTarget | None = None,
        connect_timeout: float = 2.0,
        timeout: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        chosen = [SendTarget.rpc()] if targets is None else list(targets)
        if not chosen:
            raise ConfigurationError("no targets: name at least one SendTarget")
        self._timeout = check_seconds("timeout", timeout, 0.001)
        check_seconds("connect_timeout", connect_timeout, 0.001)

        def link_to(target: SendTarget) -> RpcLink:
            return RpcLink(
                target, connect_timeout=connect_timeout, ssl_context=ssl_context
            )

        self._links = [link_to(target) for target in chosen]
        teller = next((link for link in self._links if link.target.takes_rpc), None)
        if confirm_with is not None or teller is None:
            teller = link_to(confirm_with or SendTarget.rpc())
        self._teller = teller
        self._stopped = threading.Event()
        # Guards the set of threads.
        self._mutex = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def __repr__(self) -> str:
        return f"Submitter({', '.join(link.label for link in self._links)})"

    # Warm connections

    def warm(self) -> dict[str, bool]:
        """
        Open a connection to each place, so that the first submission need not.

        Blocks for the time-out of one request per place at most.

        Returns:
            Whether each answered, by label.
        """
        return {link.label: link.warm(self._timeout) for link in self._all_links()}

    def keep_warm(self, interval: float = 30.0) -> None:
        """
        Open the connections and keep them open, in a thread of their own.

        Args:
            interval: Seconds between two requests to each place; providers close
                connections that are idle for a minute.
        """
        check_seconds("interval", interval, 0.05)

        def run() -> None:
            while not self._stopped.is_set():
                self.warm()
                # The pace of the pings; close() ends it.
                self._stopped.wait(interval)

        self._start("warm", run)

    def _all_links(self) -> list[RpcLink]:
        extra = [] if self._teller in self._links else [self._teller]
        return [*self._links, *extra]

    # Submission

    def submit(self, signed: SignedTransaction) -> Submission:
        """
        Submit to all targets at once and return as soon as one has taken it.

        Blocks for twice the time-out of one request at most; the other targets are
        left to finish.

        Raises:
            TxError: None took it; see the table of this module.
        """
        links = self._tipped_links(signed)
        if len(links) < len(self._links):
            missed = [link.label for link in self._links if link not in links]
            log.warning(
                "a tip of %s lamports is too small for %s; see tip_lamports",
                signed.tip_lamports,
                ", ".join(missed),
            )
        if len(links) == 1:
            return self._submit_to(links[0], signed)
        answers: queue.SimpleQueue[Submission | TxError] = queue.SimpleQueue()
        self._submit_in_threads(links, signed, answers)
        failures: list[TxError] = []
        while len(failures) < len(links):
            answer = answers.get()
            if isinstance(answer, Submission):
                return answer
            failures.append(answer)
        raise _failure_of_all(failures) from failures[0]

    def _tipped_links(self, signed: SignedTransaction) -> list[RpcLink]:
        tip = signed.tip_lamports
        links = [
            link
            for link in self._links
            if tip is None or tip >= link.target.min_tip_lamports
        ]
        if not links:
            least = min(self._links, key=lambda link: link.target.min_tip_lamports)
            raise TxError(
                f"the transaction tips {tip} lamports, and {least.label} takes none below "
                f"{least.target.min_tip_lamports}; set tip_lamports, and send_mode to "
                f"{least.target.send_mode!r}",
                stage="submit",
                target=least.label,
            )
        return links

    def _submit_in_threads(
        self,
        links: Sequence[RpcLink],
        signed: SignedTransaction,
        answers: queue.SimpleQueue[Submission | TxError],
    ) -> None:
        def submit_to(link: RpcLink) -> None:
            answer: Submission | TxError = TxError(
                "the submission ended without an answer",
                stage="submit",
                target=link.label,
                is_retryable=True,
            )
            try:
                answer = self._submit_to(link, signed)
            except TxError as error:
                answer = error
            finally:
                answers.put(answer)

        for link in links:
            self._start("submit", functools.partial(submit_to, link))

    def _submit_to(self, link: RpcLink, signed: SignedTransaction) -> Submission:
        try:
            return self._submit_once(link, signed)
        except TxError as error:
            # A connection that the peer closed while it was idle says nothing about the
            # target, and the same transaction executes once at most.
            failure = error.__cause__
            if not isinstance(failure, HttpFailure) or failure.timed_out:
                raise
        try:
            return self._submit_once(link, signed)
        except TxError as error:
            if not failure.was_sent:
                raise
            raise TxError(
                f"{error}; but it may have been taken the first time",
                stage="submit",
                target=link.label,
                is_retryable=True,
                detail=error.detail,
            ) from error

    def _submit_once(self, link: RpcLink, signed: SignedTransaction) -> Submission:
        config = {"encoding": "base64", **link.target.config}
        try:
            result = link.call(
                "sendTransaction",
                [signed.base64, config],
                stage="submit",
                timeout=self._timeout,
            )
        except TxError as error:
            if not _is_duplicate(error.detail):
                raise
            result = signed.signature
        if result != signed.signature:
            raise TxError(
                f"{link.label} answered with a signature that is not the transaction's",
                stage="submit",
                target=link.label,
                is_retryable=True,
                detail=result,
            )
        return Submission(signed.signature, link.label)

    # Confirmation

    def watch(
        self, signed: SignedTransaction | str, commitment: Commitment = "confirmed"
    ) -> Watch:
        """
        Return what looks, one question at a time, at what became of a transaction.

        For those who keep their own time; :meth:`confirm` waits.

        Raises:
            ConfigurationError: There is no such commitment.
        """
        return Watch(self._teller, signed, commitment, self._timeout)

    def confirm(
        self,
        signed: SignedTransaction | str,
        *,
        timeout: float = 30.0,
        interval: float = 0.25,
        commitment: Commitment = "confirmed",
        resend_every: float | None = None,
    ) -> Confirmation:
        """
        Wait until a transaction has executed; blocks for ``timeout`` seconds at most.

        Args:
            signed: The transaction, or its signature alone, which cannot be resent and
                whose expiry cannot be seen.
            timeout: Seconds to wait.
            interval: Seconds between two questions to the node.
            commitment: How settled it must be.
            resend_every: Seconds after which it is submitted to all targets again;
                None is never.

        Raises:
            TxError: In stage ``execute``, ``expire`` or ``confirm``; see the table of
                this module.
            ConfigurationError: An argument is wrong.
        """
        check_seconds("interval", interval, 0.05)
        deadline = Deadline(check_seconds("timeout", timeout))
        watch = self.watch(signed, commitment)
        next_resend = Deadline(resend_every)
        while True:
            confirmation = watch.look(deadline)
            if confirmation is not None:
                return confirmation
            if deadline.has_passed() or self._stopped.is_set():
                raise watch.unseen() from watch.last_failure
            if next_resend.has_passed() and isinstance(signed, SignedTransaction):
                self._resend(signed)
                next_resend = Deadline(resend_every)
            # The pace of the questions: HTTP has no other way to learn it. close()
            # ends it.
            self._stopped.wait(min(interval, deadline.remaining() or 0.0))

    def submit_and_confirm(
        self,
        signed: SignedTransaction,
        *,
        timeout: float = 30.0,
        interval: float = 0.25,
        commitment: Commitment = "confirmed",
        resend_every: float | None = 2.0,
    ) -> Confirmation:
        """
        Submit, and wait until the transaction has executed.

        Submits again every ``resend_every`` seconds meanwhile, because the targets are
        told not to. Blocks for ``timeout`` seconds beyond :meth:`submit` at most. The
        arguments are those of :meth:`confirm`.

        Raises:
            TxError: It was not taken, failed, expired, or was not seen in time.
        """
        self.submit(signed)
        return self.confirm(
            signed,
            timeout=timeout,
            interval=interval,
            commitment=commitment,
            resend_every=resend_every,
        )

    def _resend(self, signed: SignedTransaction) -> None:
        nobody: queue.SimpleQueue[Submission | TxError] = queue.SimpleQueue()
        self._submit_in_threads(self._tipped_links(signed), signed, nobody)

    # Threads and the end

    def _start(self, job: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                with self._mutex:
                    self._threads.discard(threading.current_thread())

        with self._mutex:
            if self._stopped.is_set():
                raise ConfigurationError("this Submitter was closed; make a new one")
            self._threads.add(start_thread(f"lasersell-{job}-{next_number()}", run))

    def close(self, *, timeout: float = 5.0) -> None:
        """
        End the waits, and close the connections once their requests are done.

        Blocks for ``timeout`` seconds at most.
        """
        deadline = Deadline(timeout)
        with self._mutex:
            self._stopped.set()
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(deadline.remaining())
        for link in self._all_links():
            link.close()

    def __enter__(self) -> Submitter:
        """Return the submitter itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _is_duplicate(detail: object) -> bool:
    """Tell whether a refusal says that the very transaction was taken before."""
    if not isinstance(detail, dict):
        return False
    data = detail.get("data")
    is_named = isinstance(data, dict) and data.get("err") == "AlreadyProcessed"
    return is_named or "already been processed" in str(detail.get("message"))


def _failure_of_all(failures: Sequence[TxError]) -> TxError:
    stages = {failure.stage for failure in failures}
    told = "; ".join(str(failure) for failure in failures)
    return TxError(
        f"no target took the transaction: {told}",
        # A target that gave no answer may have sent it on, whatever another one found.
        stage=stages.pop() if len(stages) == 1 else "submit",
        is_retryable=any(failure.is_retryable for failure in failures),
        detail={failure.target: failure.detail for failure in failures},
    )
