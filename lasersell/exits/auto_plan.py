"""
What to do next about the sales of one token account: the rules of auto-exit. Pure.

No I/O, no thread, no clock: facts go in, a step comes out. Times are monotonic seconds.

The rule behind all others: **a transaction that may still land is never replaced.**
While one is under way nothing else is submitted for its account; the same bytes are
sent again, which the network executes once. Only when the chain says that it failed,
or that it can never land any more, does another one take its place. So no sequence of
lost answers, duplicates, crashes and restarts sells twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import attrs

from lasersell.errors import ConfigurationError
from lasersell.exits.journal import SaleOutcome, Source
from lasersell.exits.requests import MAX_SLIPPAGE_BPS, check_range
from lasersell.exits.transaction import SignedTransaction
from lasersell.stream.options import count, seconds, switch

__all__ = [
    "IDLE",
    "AccountPlan",
    "Ask",
    "Attempt",
    "AutoExitSettings",
    "Conditions",
    "End",
    "Holding",
    "Idle",
    "Look",
    "Resend",
    "Sale",
    "Signal",
    "Step",
    "Submit",
    "Verdict",
    "WaitUntil",
]


def _slippage(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    check_range(attribute.name, value, 0, MAX_SLIPPAGE_BPS)


@attrs.frozen(kw_only=True)
class AutoExitSettings:
    """
    How an auto-exit behaves. Times are in seconds.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    max_signal_age: float = attrs.field(default=30.0, validator=seconds(0.1))
    """No transaction older than this is submitted; a fresh one is asked for."""
    max_attempts: int = attrs.field(default=5, validator=count)
    """Transactions that may fail before a sale is given up."""
    max_asks: int = attrs.field(default=5, validator=count)
    """Requests in a row that may bring no answer, or one that was submitted before."""
    ask_timeout: float = attrs.field(default=5.0, validator=seconds(0.01))
    """How long an answer to a request may take."""
    retry_delay: float = attrs.field(default=0.5, validator=seconds(0))
    """Pause after a failure that more slippage would not have saved; doubles while what
    comes was submitted before, for the service needs a new block hash."""
    slippage_bps: int = attrs.field(default=2500, validator=_slippage)
    """Slippage that is asked for after the first failure."""
    slippage_step_bps: int = attrs.field(default=100, validator=_slippage)
    """How much more is asked for after each further failure."""
    max_slippage_bps: int = attrs.field(default=3000, validator=_slippage)
    """The most that is ever asked for."""
    resend_interval: float = attrs.field(default=2.0, validator=seconds(0.01))
    """After how long the same transaction is sent again while it is not seen."""
    look_interval: float = attrs.field(default=0.4, validator=seconds(0.01))
    """Time between two looks at what became of a transaction; a slot takes 0.4 s."""
    blockhash_lifetime: float = attrs.field(default=90.0, validator=seconds(0.01))
    """Age at which a block hash that the node does not know is old, not too new."""
    dry_run: bool = attrs.field(default=False, validator=switch)
    """Whether everything is done but the submission."""

    def __attrs_post_init__(self) -> None:
        if self.slippage_bps > self.max_slippage_bps:
            raise ConfigurationError(
                f"slippage_bps {self.slippage_bps} is over max_slippage_bps "
                f"{self.max_slippage_bps}"
            )


@attrs.frozen(kw_only=True)
class Conditions:
    """What holds at this moment beyond one account."""

    now: float
    """Monotonic seconds."""
    is_paused: bool = False
    """Whether the kill switch is on."""
    is_stopping: bool = False
    """Whether only what is under way is to be finished."""
    is_live: bool = True
    """Whether the stream can be asked."""
    has_api: bool = False
    """Whether the REST API can be asked."""


@attrs.frozen(kw_only=True, eq=False)
class Signal:
    """An unsigned transaction that is offered for a sale."""

    id: int
    """Its row in the journal."""
    born_at: float
    """When it was built."""
    payload: Any = attrs.field(repr=False)
    """What is to be checked and signed; of no concern here."""


@attrs.define(kw_only=True, eq=False)
class Sale:
    """What is to be sold once: the whole position, or what one ladder level says."""

    id: int
    """Its row in the journal."""
    holding_id: int
    """The row of what it sells."""
    level: int | None
    """Level of the take-profit ladder; None is the whole position."""
    sell_tokens: int | None = None
    """How much it sells, in token atomic units; None is everything."""
    signal: Signal | None = None
    """The newest transaction that was not submitted yet."""
    outcome: SaleOutcome | None = None
    """What became of it; None while it is to be done."""
    attempts: int = 0
    """Transactions that were used up for it."""
    failures: int = 0
    """Those that more slippage might have saved."""
    asks: int = 0
    """Requests since the last transaction came."""
    asked_at: float | None = None
    """When the last of them was made."""
    repeats: int = 0
    """Transactions in a row that had been submitted before."""
    not_before: float = float("-inf")
    """Until then nothing is tried again."""
    problem: str | None = None
    """What went wrong last, in words."""

    @property
    def is_full(self) -> bool:
        """Whether it sells the whole position."""
        return self.level is None

    @property
    def is_pending(self) -> bool:
        """Whether it is still to be done."""
        return self.outcome is None


@attrs.define(kw_only=True, eq=False)
class Attempt:
    """A signed transaction that may be on its way."""

    id: int
    """Its row in the journal."""
    sale: Sale
    """What it is to sell."""
    signed: SignedTransaction
    """The transaction."""
    born_at: float
    """When it was built."""
    begun_at: float
    """When it was signed."""
    sent_at: float
    """When it was last submitted."""
    looked_at: float
    """When the chain was last asked about it."""


@attrs.define(kw_only=True, eq=False)
class Holding:
    """One opening of the account: what is to be sold."""

    id: int
    """Its row in the journal."""
    status: Literal["open", "closed", "lost"] = "open"
    """As of its handle; ``lost`` may come back."""
    sold_slot: int | None = None
    """The slot in which all of it was sold."""


@attrs.frozen
class Submit:
    """Check, sign, write down and submit a transaction."""

    sale: Sale
    signal: Signal


@attrs.frozen
class Resend:
    """Submit the same bytes again."""

    attempt: Attempt


@attrs.frozen
class Look:
    """Ask the chain what became of a transaction."""

    attempt: Attempt


@attrs.frozen
class Ask:
    """Ask for a fresh transaction."""

    sale: Sale
    slippage_bps: int | None
    """What to allow; None leaves it to the service."""
    source: Source | None
    """Whom to ask; None only waits for one that comes by itself."""


@attrs.frozen
class End:
    """There is nothing more to do for a sale."""

    sale: Sale
    outcome: SaleOutcome
    detail: str | None = None


@attrs.frozen
class WaitUntil:
    """Nothing to do before a moment, unless something happens."""

    at: float


@attrs.frozen
class Idle:
    """Nothing to do until something happens."""


IDLE = Idle()

Step: TypeAlias = Submit | Resend | Look | Ask | End | WaitUntil | Idle

Verdict: TypeAlias = Literal["taken", "closed", "sold", "superseded"]
"""Whether a signal is taken; if not, why."""


class AccountPlan:
    """
    The sales of one token account; used by one thread.

    Args:
        settings: How to behave.
        holding: What the account holds.
        sales: Its sales so far, of an earlier run.
        attempt: What may still land, of an earlier run.
    """

    def __init__(
        self,
        settings: AutoExitSettings,
        holding: Holding,
        sales: Iterable[Sale] = (),
        attempt: Attempt | None = None,
    ) -> None:
        self.holding = holding
        self.sales = {sale.level: sale for sale in sales}
        self.attempt = attempt
        """What may still land; of this holding, or of the one before."""
        self._settings = settings
        # The latest balance: tokens, and the slot it is of.
        self._balance: tuple[int, int] | None = None

    # Facts about the holding

    def replace(self, holding: Holding) -> list[Sale]:
        """Take another opening of the account; return the sales it leaves undone."""
        undone = [sale for sale in self.sales.values() if self._is_waiting(sale)]
        self.holding = holding
        self.sales = {}
        self._balance = None
        return undone

    def see_balance(self, tokens: int, slot: int) -> bool:
        """
        Note what the account holds as of a slot.

        Returns:
            Whether something is left of what was sold as the whole.
        """
        if self._balance is None or slot >= self._balance[1]:
            self._balance = (tokens, slot)
        return self._has_remainder()

    def _has_remainder(self) -> bool:
        # More came in meanwhile, or the transaction sold less than everything.
        sold_slot = self.holding.sold_slot
        if sold_slot is None or self._balance is None:
            return False
        tokens, slot = self._balance
        if tokens == 0 or slot < sold_slot:
            return False
        self.holding.sold_slot = None
        self.sales.pop(None, None)
        return True

    # Facts about signals

    def judge(self, level: int | None) -> Verdict:
        """Tell whether a signal for a level is to be taken."""
        if self.holding.status == "closed":
            return "closed"
        known, full = self.sales.get(level), self.sales.get(None)
        if self.holding.sold_slot is not None or (known and known.outcome == "sold"):
            return "sold"
        if level is not None and full is not None and full.is_pending:
            return "superseded"
        return "taken"

    def take(self, sale: Sale, signal: Signal) -> None:
        """Use a transaction for a sale, instead of one that was not submitted yet."""
        # Whoever builds its exit knows that the position is there.
        self.holding.status = "open"
        self.sales[sale.level] = sale
        if not sale.is_pending:
            # The server says so again: what was given up has another chance.
            sale.outcome = None
            sale.attempts = sale.failures = sale.repeats = 0
        sale.signal = signal
        sale.asks = 0
        sale.asked_at = None

    # Facts about what was done

    def begun(self, attempt: Attempt) -> None:
        """A transaction was signed and written down; from now on it may land."""
        attempt.sale.attempts += 1
        attempt.sale.repeats = 0
        attempt.sale.signal = None
        self.attempt = attempt

    def refused(self, sale: Sale, signal: Signal, problem: str, now: float) -> None:
        """A transaction was not signed."""
        sale.attempts += 1
        self._drop(sale, signal, problem, now + self._settings.retry_delay)

    def repeated(self, sale: Sale, signal: Signal, problem: str, now: float) -> None:
        """A transaction had been submitted before: it is as if none had come."""
        pause = self._settings.retry_delay * 2**sale.repeats
        sale.repeats += 1
        self._drop(sale, signal, problem, now + pause)

    def _drop(
        self, sale: Sale, signal: Signal, problem: str, not_before: float
    ) -> None:
        sale.problem = problem
        sale.not_before = not_before
        if sale.signal is signal:  # no newer one came meanwhile
            sale.signal = None

    def asked(self, sale: Sale, now: float) -> None:
        """A fresh transaction was asked for."""
        sale.asks += 1
        sale.asked_at = now

    def ended(self, sale: Sale, outcome: SaleOutcome) -> None:
        """A sale is over."""
        sale.outcome = outcome
        sale.signal = None

    def dead(
        self, attempt: Attempt, problem: str, now: float, *, by_program: bool
    ) -> None:
        """
        A transaction did not land, and never will.

        Args:
            attempt: The transaction.
            problem: Why, in words.
            now: The time.
            by_program: Whether its own program refused it, as it does for slippage.
        """
        sale = attempt.sale
        sale.problem = problem
        if by_program:
            sale.failures += 1
        else:
            sale.not_before = now + self._settings.retry_delay
        self.attempt = None

    def landed(self, attempt: Attempt, slot: int) -> None:
        """A transaction is on the chain and did what it should."""
        sale = attempt.sale
        self.attempt = None
        self.ended(sale, "sold")
        if not self.is_current(sale):
            return
        if sale.is_full:
            self.holding.sold_slot = slot
            self._has_remainder()
            return
        full = self.sales.get(None)
        if full is not None:
            # It was built for more than there is now.
            full.signal = None

    def is_current(self, sale: Sale) -> bool:
        """Tell whether a sale is of what the account holds now."""
        return self.sales.get(sale.level) is sale

    # What to do

    def next_step(self, conditions: Conditions) -> Step:
        """Return what to do now."""
        for sale in self.sales.values():
            over = self._why_over(sale)
            if over is not None:
                return over
        if self.attempt is not None:
            return self._follow(self.attempt, conditions)
        if self.holding.status != "open" or conditions.is_paused:
            return IDLE
        sale_to_do = self._first_pending()
        return IDLE if sale_to_do is None else self._pursue(sale_to_do, conditions)

    def _why_over(self, sale: Sale) -> End | None:
        if not self._is_waiting(sale):
            return None
        if self.holding.sold_slot is not None:
            return End(sale, "superseded")
        if self.holding.status == "closed":
            return End(sale, "closed")
        full = self.sales.get(None)
        if not sale.is_full and full is not None and full.is_pending:
            return End(sale, "superseded")
        return None

    def _is_waiting(self, sale: Sale) -> bool:
        """Tell whether a sale is to be done and has nothing under way."""
        under_way = self.attempt is not None and self.attempt.sale is sale
        return sale.is_pending and not under_way

    def _first_pending(self) -> Sale | None:
        return next((sale for sale in self.sales.values() if sale.is_pending), None)

    def _follow(self, attempt: Attempt, conditions: Conditions) -> Step:
        look_at = attempt.looked_at + self._settings.look_interval
        if conditions.now >= look_at:
            return Look(attempt)
        if not self._may_resend(attempt, conditions):
            return WaitUntil(look_at)
        resend_at = attempt.sent_at + self._settings.resend_interval
        if conditions.now >= resend_at:
            return Resend(attempt)
        return WaitUntil(min(look_at, resend_at))

    def _may_resend(self, attempt: Attempt, conditions: Conditions) -> bool:
        return (
            self.holding.status == "open"
            and self.is_current(attempt.sale)
            and not conditions.is_paused
            and self._is_fresh(attempt.born_at, conditions.now)
        )

    def _pursue(self, sale: Sale, conditions: Conditions) -> Step:
        settings = self._settings
        is_used_up = sale.attempts >= settings.max_attempts
        if is_used_up or sale.repeats > settings.max_asks:
            return End(sale, "gave_up", sale.problem)
        if conditions.now < sale.not_before:
            return WaitUntil(sale.not_before)
        signal = sale.signal
        if signal is None or not self._is_fresh(signal.born_at, conditions.now):
            return self._ask(sale, conditions)
        return Submit(sale, signal)

    def _is_fresh(self, born_at: float, now: float) -> bool:
        return now - born_at <= self._settings.max_signal_age

    def _ask(self, sale: Sale, conditions: Conditions) -> Step:
        if conditions.is_stopping:
            return IDLE
        if sale.asked_at is not None:
            patience_ends = sale.asked_at + self._settings.ask_timeout
            if conditions.now < patience_ends:
                return WaitUntil(patience_ends)
        if sale.asks >= self._settings.max_asks:
            return End(sale, "gave_up", sale.problem or "no fresh transaction came")
        if not (conditions.is_live or conditions.has_api):
            return IDLE  # until the stream is back
        return Ask(sale, self._slippage(sale), self._whom_to_ask(sale, conditions))

    def _whom_to_ask(self, sale: Sale, conditions: Conditions) -> Source | None:
        if not sale.is_full:
            # The stream builds only sales of the whole.
            return "api" if conditions.has_api else None
        # In turns, where both are there and the stream stays silent.
        stream_turn = sale.asks % 2 == 0 or not conditions.has_api
        return "stream" if conditions.is_live and stream_turn else "api"

    def _slippage(self, sale: Sale) -> int | None:
        settings = self._settings
        if sale.failures == 0:
            return None
        more = settings.slippage_step_bps * (sale.failures - 1)
        return min(settings.slippage_bps + more, settings.max_slippage_bps)
