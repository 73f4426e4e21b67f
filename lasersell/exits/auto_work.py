"""
What an auto-exit does to the world: sign, write down, submit, look, ask.

Each function blocks, and each is called in a thread of its own; which one is next is
decided in ``auto_plan``.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from lasersell._clock import Clock, Deadline
from lasersell.errors import LaserSellError, TxError
from lasersell.exits.api import ExitApiClient
from lasersell.exits.auto_plan import Attempt, AutoExitSettings, Sale, Signal
from lasersell.exits.auto_source import ExitSource
from lasersell.exits.confirm import Watch
from lasersell.exits.journal import AttemptOutcome, Journal
from lasersell.exits.requests import BuildSellTxRequest
from lasersell.exits.responses import BuildTxResponse
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.transaction import SignedTransaction
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.session.positions import PositionHandle

__all__ = [
    "ApiOffer",
    "Broker",
    "Landed",
    "NotLanded",
    "Offer",
    "Profit",
    "Sent",
    "StreamOffer",
]

LOOK_TIMEOUT = 10.0
"""Seconds that one look at a transaction may take."""
DEFAULT_SLIPPAGE_BPS = 2500
"""Slippage for the REST API, which has no default, where no failure asked for more."""


@attrs.frozen
class Profit:
    """What a sale is thought to earn, by what the service last said."""

    quote: str
    """``SOL`` or ``USD1``; where the market does not tell it counts as SOL."""
    units: int
    """In atomic units of that; negative is a loss."""


def _share(profit_units: int | None, tokens: int | None, of: int | None) -> int:
    if profit_units is None:
        return 0
    if tokens is None or not of or tokens >= of:
        return profit_units
    return profit_units * tokens // of


@attrs.frozen
class StreamOffer:
    """A transaction that came with an exit signal."""

    message: ExitSignalWithTx
    handle: PositionHandle

    def sign(self, signer: Signer) -> SignedTransaction:
        """Check and sign it; see :meth:`Signer.sign_exit`."""
        position = self.handle if self.handle.known else None
        return signer.sign_exit(self.message, position)

    @property
    def profit(self) -> Profit:
        """What it is thought to earn."""
        told = self.message
        units = _share(told.profit_units, told.sell_tokens, told.position_tokens)
        return Profit(self.handle.quote or "SOL", units)


@attrs.frozen
class ApiOffer:
    """A transaction that the REST API built."""

    built: BuildTxResponse
    request: BuildSellTxRequest
    handle: PositionHandle

    def sign(self, signer: Signer) -> SignedTransaction:
        """Check and sign it; see :meth:`Signer.sign_sell`."""
        return signer.sign_sell(self.built, self.request, self.handle)

    @property
    def profit(self) -> Profit:
        """What it is thought to earn."""
        pnl = self.handle.pnl
        units = None if pnl is None else pnl.profit_units
        share = _share(units, self.request.amount_tokens or None, self.handle.tokens)
        return Profit(self.handle.quote or "SOL", share)


Offer: TypeAlias = StreamOffer | ApiOffer


@attrs.frozen(kw_only=True)
class Sent:
    """The answer to a submission."""

    taken_by: str | None = None
    """The target that took it; None if none did."""
    never_left: bool = False
    """Whether it is certain that no target sent it on."""
    by_program: bool = False
    """Whether its own program refused it in a simulation."""
    problem: str | None = None
    """What went wrong, in words."""


@attrs.frozen
class Landed:
    """A transaction is on the chain and did what it should."""

    slot: int


@attrs.frozen(kw_only=True)
class NotLanded:
    """A transaction failed on the chain, or never can be on it."""

    outcome: AttemptOutcome
    problem: str
    by_program: bool


class Broker:
    """
    Does one step at a time. Any thread may use it, one at a time for each attempt.

    Args:
        session: Whom to ask for fresh transactions.
        signer: Checks and signs.
        submitter: Submits, and looks at what became of it.
        api: Whom to ask where the stream cannot be; None is nobody.
        journal: Where each attempt is written down before it is submitted.
        settings: How to behave.
        clock: Where time comes from.
    """

    def __init__(
        self,
        *,
        session: ExitSource,
        signer: Signer,
        submitter: Submitter,
        api: ExitApiClient | None,
        journal: Journal,
        settings: AutoExitSettings,
        clock: Clock,
    ) -> None:
        self.signer = signer
        self._session = session
        self._submitter = submitter
        self._api = api
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._watches: dict[int, Watch] = {}

    @property
    def has_api(self) -> bool:
        """Whether the REST API can be asked."""
        return self._api is not None

    @property
    def is_live(self) -> bool:
        """Whether the stream can be asked."""
        return self._session.state in ("live", "stale")

    def write_down(
        self, sale: Sale, signal: Signal, signed: SignedTransaction
    ) -> Attempt:
        """Return the attempt to submit a transaction, once it is on the disk."""
        profit: Profit = signal.payload.profit
        row = self._journal.begin_attempt(
            sale.id, signal.id, signed, quote=profit.quote, profit_units=profit.units
        )
        now = self._clock.monotonic()
        return Attempt(
            id=row,
            sale=sale,
            signed=signed,
            born_at=signal.born_at,
            begun_at=now,
            sent_at=now,
            looked_at=now,
        )

    def send(self, attempt: Attempt) -> Sent:
        """Submit a transaction; again executes it no more than once."""
        try:
            submission = self._submitter.submit(attempt.signed)
        except TxError as error:
            sent = _not_taken(error)
        except LaserSellError as error:
            # It was closed under us.
            sent = Sent(problem=str(error))
        else:
            sent = Sent(taken_by=submission.target)
        self._journal.add_send(attempt.id, sent.taken_by, sent.problem)
        return sent

    def look(self, attempt: Attempt) -> Landed | NotLanded | str | None:
        """
        Ask the chain what became of a transaction.

        Returns:
            What became of it; None is nothing yet; a text is why that is not known.
        """
        watch = self._watches.get(attempt.id)
        if watch is None:
            watch = self._watches[attempt.id] = self._submitter.watch(attempt.signed)
        age = self._clock.monotonic() - attempt.begun_at
        if age >= self._settings.blockhash_lifetime:
            watch.was_valid = True
        earlier = watch.last_failure
        try:
            confirmation = watch.look(Deadline(LOOK_TIMEOUT, self._clock))
        except TxError as error:
            if error.stage == "confirm":
                return str(error)
            self._watches.pop(attempt.id, None)
            outcome: AttemptOutcome = (
                "failed" if error.stage == "execute" else "expired"
            )
            return NotLanded(
                outcome=outcome,
                problem=str(error),
                by_program=_is_by_program(error.detail),
            )
        if confirmation is not None:
            self._watches.pop(attempt.id, None)
            return Landed(confirmation.slot)
        failure = watch.last_failure
        return None if failure is None or failure is earlier else str(failure)

    def ask_stream(self, token_account: str, slippage_bps: int | None) -> None:
        """
        Ask the stream for a transaction that sells everything; it comes as a signal.

        Raises:
            LaserSellError: That is not possible.
        """
        self._session.request_exit_signal(token_account, slippage_bps)

    def ask_api(
        self, sale: Sale, handle: PositionHandle, slippage_bps: int | None
    ) -> ApiOffer:
        """
        Return a transaction that the REST API builds.

        Raises:
            LaserSellError: It builds none.
        """
        assert self._api is not None, "asked only where there is one"
        request = BuildSellTxRequest.of_position(
            handle,
            amount_tokens=sale.sell_tokens,
            slippage_bps=DEFAULT_SLIPPAGE_BPS if slippage_bps is None else slippage_bps,
        )
        return ApiOffer(self._api.build_sell_tx(request), request, handle)


def _not_taken(error: TxError) -> Sent:
    # See the table in lasersell.exits.submit.
    is_preflight = error.stage == "preflight"
    detail = error.detail if is_preflight else None
    data = detail.get("data") if isinstance(detail, dict) else None
    cause = data.get("err") if isinstance(data, dict) else None
    return Sent(
        never_left=is_preflight or not error.is_retryable,
        by_program=_is_by_program(cause),
        problem=str(error),
    )


def _is_by_program(error: object) -> bool:
    """Tell an error of an instruction from one of the transaction, such as its age."""
    return isinstance(error, dict)
