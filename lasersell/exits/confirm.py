"""
Learn from an RPC node what became of a transaction.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from lasersell._clock import Deadline
from lasersell.errors import ConfigurationError, TxError
from lasersell.exits.rpc import RpcLink
from lasersell.exits.transaction import SignedTransaction

__all__ = ["Commitment", "Confirmation", "Watch"]

Commitment = Literal["processed", "confirmed", "finalized"]

EXPIRY_INTERVAL = 2.0
"""Seconds between two looks at whether a block hash is still good."""

_LEVELS = ("processed", "confirmed", "finalized")


@attrs.frozen
class Confirmation:
    """A transaction that executed without an error."""

    signature: str
    """Its signature; base58."""
    slot: int
    """The slot it executed in."""
    status: str
    """How settled that is: ``processed``, ``confirmed`` or ``finalized``."""


class Watch:
    """
    What is known of one transaction whose confirmation is awaited; for one thread.

    Args:
        link: The node that is asked.
        signed: The transaction, or its signature alone, whose expiry cannot be seen.
        commitment: How settled it must be.
        timeout: Seconds for one question.

    Raises:
        ConfigurationError: There is no such commitment.
    """

    def __init__(
        self,
        link: RpcLink,
        signed: SignedTransaction | str,
        commitment: Commitment,
        timeout: float,
    ) -> None:
        if commitment not in _LEVELS:
            raise ConfigurationError(
                f"commitment must be one of {', '.join(_LEVELS)}, not {commitment!r}"
            )
        self.last_failure: TxError | None = None
        """Why the node gave no answer, the last time that it gave none."""
        self.was_valid = False
        """Whether the block hash was once seen valid, or is too old to be a new one."""
        self._link = link
        self._signature = signed if isinstance(signed, str) else signed.signature
        self._blockhash = None if isinstance(signed, str) else signed.blockhash
        self._enough = _LEVELS[_LEVELS.index(commitment) :]
        self._timeout = timeout
        self._next_expiry_look = Deadline(None if self._blockhash is None else 0)

    def look(self, deadline: Deadline) -> Confirmation | None:
        """
        Ask what became of it; None is nothing yet.

        Raises:
            TxError: It failed or expired, or the node refuses to answer.
        """
        try:
            confirmation = self._look_once(deadline)
        except TxError as error:
            if error.stage != "confirm" or not error.is_retryable:
                raise
            self.last_failure = error
            return None
        return confirmation

    def _look_once(self, deadline: Deadline) -> Confirmation | None:
        status, _ = self._status(deadline)
        if status is not None:
            return self._judge(status)
        if self._next_expiry_look.has_passed():
            self._next_expiry_look = Deadline(EXPIRY_INTERVAL)
            self._look_for_expiry(deadline)
        return None

    def _status(self, deadline: Deadline) -> tuple[dict[str, Any] | None, int]:
        """Return the status and the slot that the node was in."""
        params = [[self._signature], {"searchTransactionHistory": True}]
        answer = self._call("getSignatureStatuses", params, deadline)
        try:
            status = answer["value"][0]
            if status is not None and not isinstance(status, dict):
                raise TypeError(type(status).__name__)
            return status, int(answer["context"]["slot"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._not_understood(error) from error

    def _judge(self, status: dict[str, Any]) -> Confirmation | None:
        level = status.get("confirmationStatus") or "processed"
        if level not in self._enough:
            return None
        if status.get("err") is not None:
            raise TxError(
                f"the transaction was executed and failed: {status['err']}",
                stage="execute",
                target=self._link.label,
                is_retryable=True,
                detail=status["err"],
            )
        try:
            slot = int(status.get("slot") or 0)
        except (TypeError, ValueError) as error:
            raise self._not_understood(error) from error
        return Confirmation(self._signature, slot, str(level))

    def _look_for_expiry(self, deadline: Deadline) -> None:
        params = [self._blockhash, {"commitment": "confirmed"}]
        try:
            answer = self._call("isBlockhashValid", params, deadline)
            is_valid, slot = answer["value"], int(answer["context"]["slot"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_understood(error) from error
        except TxError as error:
            if not error.is_retryable:
                # Not every node has this method; without it the time-out decides.
                self._next_expiry_look = Deadline(None)
            return
        if is_valid is not False:
            self.was_valid = True
        elif self.was_valid:
            # Only then: a node that lags does not know the youngest block hashes yet.
            self._check_expired(slot, deadline)

    def _check_expired(self, slot: int, deadline: Deadline) -> None:
        # It may have landed in the last block that its block hash was good for.
        status, seen_slot = self._status(deadline)
        if status is None and seen_slot >= slot:
            raise TxError(
                "the transaction expired: its block hash is too old, and it did not land",
                stage="expire",
                target=self._link.label,
                is_retryable=True,
            )

    def _call(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        left = deadline.remaining()
        timeout = self._timeout if left is None else min(self._timeout, left)
        return self._link.call(method, params, stage="confirm", timeout=timeout)

    def _not_understood(self, error: Exception) -> TxError:
        return TxError(
            f"the answer of {self._link.label} is not understood: {error!r}",
            stage="confirm",
            target=self._link.label,
            is_retryable=True,
        )

    def unseen(self) -> TxError:
        """Return the error of a transaction that was not seen in time."""
        return TxError(
            f"the transaction {self._signature} was not seen in time and may still land; "
            "ask for it again before you do anything else",
            stage="confirm",
            target=self._link.label,
        )
