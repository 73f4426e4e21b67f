"""
The node of the simulated chain: what becomes of a transaction that is submitted.

A sale or a buy lands at once, at the price of that moment. What the network would
refuse is refused: a signature that is not good, a block hash that is too old, slippage
beyond what the transaction accepts, tokens that are not there. Trades are all that is
executed; tips and rents move nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal, get_args

import attrs

from lasersell.errors import ConfigurationError
from lasersell.sim.chain import Chain
from lasersell.sim.ledger import Trade
from lasersell.sim.orders import PendingBuy, PendingExit
from lasersell.sim.trading import Swap
from lasersell.sim.transactions import SignedTransaction

__all__ = [
    "INSUFFICIENT_FUNDS",
    "SLIPPAGE_EXCEEDED",
    "Lost",
    "Node",
    "RpcError",
    "Status",
    "Submission",
    "SubmissionFault",
    "check_fault",
]

SubmissionFault = Literal[
    "none",
    "lose_answer",
    "lose_request",
    "hang",
    "delay",
    "duplicate",
    "slippage_exceeded",
    "preflight_slippage",
    "blockhash_not_found",
    "rate_limited",
]
"""
What happens to a submission. ``none``: nothing unusual. ``lose_answer``: it lands, and
the connection breaks before the answer. ``lose_request``: it is not taken, and the
connection breaks. ``hang``: it lands, and no answer ever comes. ``delay``: it is taken,
and lands with ``Faults.land_delayed``. ``duplicate``: it lands, and the answer says that
it had before. ``slippage_exceeded``: it lands with that error. ``preflight_slippage``: a
simulation finds that error, and it is not taken. ``blockhash_not_found``: it is refused
for its age. ``rate_limited``: it is answered with HTTP 429.
"""

SLIPPAGE_EXCEEDED = 6001
"""Error of a venue's program when a trade would bring too little."""
INSUFFICIENT_FUNDS = 1
"""Error of the token program when an account does not hold enough."""

_FINAL_AFTER_SLOTS = 32


def check_fault(fault: str) -> None:
    """
    Check that there is such a fault.

    Raises:
        ConfigurationError: There is none.
    """
    if fault not in get_args(SubmissionFault):
        raise ConfigurationError(
            f"no fault {fault!r}; choose one of {', '.join(get_args(SubmissionFault))}"
        )


class RpcError(Exception):
    """
    An answer of JSON-RPC that is an error.

    Attributes:
        code: Its number.
        message: What happened.
        err: The error of a transaction, if one was simulated.
        status: The HTTP status it comes with.
    """

    def __init__(
        self, code: int, message: str, err: Any = None, *, status: int = 200
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.err = err
        self.status = status


class Lost(Exception):
    """
    No answer comes.

    Attributes:
        hangs: Whether the connection stays open.
    """

    def __init__(self, *, hangs: bool) -> None:
        super().__init__("no answer comes")
        self.hangs = hangs


class _Failed(Exception):
    """A transaction fails; ``err`` is what the chain says."""

    def __init__(self, err: Any) -> None:
        super().__init__(str(err))
        self.err = err


@attrs.frozen(kw_only=True)
class Submission:
    """
    One transaction that was submitted with good signatures.

    Attributes:
        signature: Its signature; base58.
        wallet: Who trades; base58.
        mint: The token; base58.
        token_account: The wallet's account of it; base58.
        side: ``buy`` or ``sell``.
        tokens: How many it sells, in atomic units; 0 of a buy.
        level_index: The ladder level whose exit it is; None if of none.
        fault: What went wrong with it on purpose.
    """

    signature: str
    wallet: str
    mint: str
    token_account: str
    side: Literal["buy", "sell"]
    tokens: int
    level_index: int | None
    fault: SubmissionFault


@attrs.frozen
class Status:
    """
    What became of a transaction.

    Attributes:
        slot: The slot it was executed in.
        err: Why it failed; None if it did not.
    """

    slot: int
    err: Any = None

    def confirmation(self, slot: int) -> str:
        """Return how settled it is, seen from a slot."""
        return "finalized" if slot - self.slot >= _FINAL_AFTER_SLOTS else "confirmed"


class Node:
    """
    Where transactions are submitted; one thread at a time may use it.

    Args:
        chain: Where they land.
        publish: Told of each trade that landed.
        note: Told of each submission.

    Attributes:
        faults: What happens to the next submissions.
        statuses: What became of transactions, by signature.
    """

    def __init__(
        self,
        chain: Chain,
        publish: Callable[[Trade], object],
        note: Callable[[Submission], None],
    ) -> None:
        self.faults: deque[SubmissionFault] = deque()
        self.statuses: dict[str, Status] = {}
        self._chain = chain
        self._publish = publish
        self._note = note
        self._delayed: list[SignedTransaction] = []

    def submit(self, text: str, *, is_simulated: bool) -> str:
        """
        Take a transaction in base64, and return its signature.

        Args:
            text: The transaction.
            is_simulated: Whether it is refused if it would fail.

        Raises:
            RpcError: It is refused.
            Lost: The caller gets no answer.
        """
        transaction = self._read(text)
        signature = transaction.signature
        if signature in self.statuses:
            if is_simulated:
                raise _already_processed()
            return signature
        number, swap = self._swap_of(transaction)
        fault = self.faults.popleft() if self.faults else "none"
        self._note(self._submission(transaction, swap, fault))
        self._refuse(fault, number)
        if is_simulated:
            self._simulate(transaction, swap, number)
        if fault == "delay":
            self._delayed.append(transaction)
            return signature
        if fault == "slippage_exceeded":
            self.settle(signature, _instruction_error(number, SLIPPAGE_EXCEEDED))
            return signature
        self._land(transaction)
        if fault in ("lose_answer", "hang"):
            raise Lost(hangs=fault == "hang")
        if fault == "duplicate":
            raise _already_processed()
        return signature

    def expire_blockhashes(self) -> None:
        """Let every block hash that was handed out be too old."""
        self._chain.blockhashes.expire()

    def land_delayed(self) -> None:
        """Land what was taken and delayed so far, if its block hash is still good."""
        delayed, self._delayed = self._delayed, []
        for transaction in delayed:
            self._land(transaction)

    def settle(self, signature: str, err: Any = None) -> None:
        """Have a transaction be executed now, with an error or without."""
        self.statuses[signature] = Status(self._chain.slot, err)

    # --- what comes -----------------------------------------------------------

    def _read(self, text: str) -> SignedTransaction:
        try:
            transaction = SignedTransaction(text)
        except ValueError as error:
            raise RpcError(-32602, f"invalid transaction: {error}") from error
        if not transaction.is_verified:
            raise RpcError(-32003, "Transaction signature verification failure")
        return transaction

    def _swap_of(self, transaction: SignedTransaction) -> tuple[int, Swap]:
        try:
            swaps = list(transaction.swaps())
        except ValueError as error:
            raise RpcError(-32602, f"invalid transaction: {error}") from error
        mine = [(n, swap) for n, swap in swaps if swap.user == transaction.fee_payer]
        if len(mine) != 1:
            raise RpcError(
                -32602,
                f"the simulator executes transactions with one trade of their fee "
                f"payer, and this one has {len(mine)}",
            )
        return mine[0]

    def _submission(
        self, transaction: SignedTransaction, swap: Swap, fault: SubmissionFault
    ) -> Submission:
        order = self._chain.orders.offered(transaction.message)
        return Submission(
            signature=transaction.signature,
            wallet=swap.user,
            mint=swap.mint,
            token_account=swap.account,
            side="sell" if swap.is_sale else "buy",
            tokens=swap.spent if swap.is_sale else 0,
            level_index=order.level_index if isinstance(order, PendingExit) else None,
            fault=fault,
        )

    def _refuse(self, fault: SubmissionFault, number: int) -> None:
        if fault == "lose_request":
            raise Lost(hangs=False)
        if fault == "rate_limited":
            raise RpcError(429, "Too many requests", status=429)
        if fault == "blockhash_not_found":
            raise _simulation_failed("BlockhashNotFound")
        if fault == "preflight_slippage":
            raise _simulation_failed(_instruction_error(number, SLIPPAGE_EXCEEDED))

    # --- what becomes of it ---------------------------------------------------

    def _simulate(
        self, transaction: SignedTransaction, swap: Swap, number: int
    ) -> None:
        if not self._is_young(transaction):
            raise _simulation_failed("BlockhashNotFound")
        try:
            self._check(swap, number)
        except _Failed as failed:
            raise _simulation_failed(failed.err) from failed

    def _land(self, transaction: SignedTransaction) -> None:
        if transaction.signature in self.statuses or not self._is_young(transaction):
            return
        number, swap = self._swap_of(transaction)
        try:
            self._check(swap, number)
            trade = self._execute(transaction, swap, number)
        except _Failed as failed:
            self.settle(transaction.signature, failed.err)
            return
        self.statuses[transaction.signature] = Status(trade.slot)
        self._publish(trade)

    def _is_young(self, transaction: SignedTransaction) -> bool:
        chain = self._chain
        return chain.blockhashes.is_valid(transaction.blockhash, chain.slot)

    def _check(self, swap: Swap, number: int) -> None:
        market = self._chain.market(swap.mint)
        if swap.is_sale:
            held = self._chain.ledger.holding(swap.account)
            if held is None or not 0 < swap.spent <= held.tokens:
                raise _Failed(_instruction_error(number, INSUFFICIENT_FUNDS))
            brings = market.pool.proceeds(swap.spent)
        else:
            brings = market.pool.tokens_for(swap.spent)
        if brings < swap.received:
            raise _Failed(_instruction_error(number, SLIPPAGE_EXCEEDED))

    def _execute(
        self, transaction: SignedTransaction, swap: Swap, number: int
    ) -> Trade:
        order = self._chain.orders.offered(transaction.message)
        if swap.is_sale:
            return self._sell(transaction.signature, swap, order)
        try:
            return self._buy(transaction.signature, swap, order)
        except ConfigurationError as error:
            # Who cannot pay buys nothing; nor does, here, who holds it already.
            raise _Failed(_instruction_error(number, INSUFFICIENT_FUNDS)) from error

    def _sell(
        self, signature: str, swap: Swap, order: PendingExit | PendingBuy | None
    ) -> Trade:
        holding = self._chain.ledger.holding(swap.account)
        assert holding is not None, "checked before"
        if isinstance(order, PendingExit):
            return self._chain.land_sale(holding, swap.spent, order, signature)
        return self._chain.sell(
            holding, tokens=swap.spent, reason="manual", signature=signature
        )

    def _buy(
        self, signature: str, swap: Swap, order: PendingExit | PendingBuy | None
    ) -> Trade:
        source = None
        if isinstance(order, PendingBuy):
            source = order.watched_wallet
            self._chain.orders.forget_buy(order)
        return self._chain.buy(
            swap.user,
            swap.mint,
            quote_units=swap.spent,
            mirror_source=source,
            signature=signature,
        )


def _instruction_error(number: int, code: int) -> dict[str, Any]:
    return {"InstructionError": [number, {"Custom": code}]}


def _simulation_failed(err: Any) -> RpcError:
    return RpcError(-32002, f"Transaction simulation failed: {err}", err)


def _already_processed() -> RpcError:
    return RpcError(
        -32002,
        "Transaction simulation failed: This transaction has already been processed",
        "AlreadyProcessed",
    )
