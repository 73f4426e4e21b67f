"""
A script: what a server does, what goes wrong, and what is expected of the client.

Steps are written down first and played later, in order; where a program under test
needs this thread, in a thread of their own. No step sleeps: an expectation waits for
what it expects, and no longer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from lasersell._threads import next_number, start_thread
from lasersell.errors import ConfigurationError, LaserSellError
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.server import ServerMessage
from lasersell.sim import Flood, Holding, Log, SimServer
from lasersell.testing.fixtures import WALLET
from lasersell.testing.wanted import Wanted

__all__ = ["Script", "ScriptError"]


class ScriptError(AssertionError):
    """
    A step of a script failed.

    Attributes:
        step: The step, in words.
        number: Which one, from 1.
    """

    def __init__(self, number: int, step: str, problem: object) -> None:
        super().__init__(f"step {number}, {step}: {problem}")
        self.number = number
        self.step = step


@attrs.frozen
class _Step:
    words: str
    act: Callable[[], object]


class Script:
    """
    Steps for a server, each method adding one and returning the script.

    Positions and tokens have names of the script's own: ``buy("coin")`` and later
    ``sell("coin")``. A script may be played once; a part of it that is played may be
    followed by more steps.

    Args:
        sim: The server.
        timeout: Seconds that an expectation waits at most.

    Attributes:
        holdings: What was bought in the script, by name.
        mints: The tokens opened or bought in the script, by name.
    """

    def __init__(self, sim: SimServer, *, timeout: float = 5.0) -> None:
        self.sim = sim
        self.holdings: dict[str, Holding] = {}
        self.mints: dict[str, str] = {}
        self._timeout = timeout
        self._steps: list[_Step] = []
        self._played = 0
        self._stopped = threading.Event()

    def __repr__(self) -> str:
        return f"<Script of {len(self._steps)} steps, {self._played} played>"

    # --- playing --------------------------------------------------------------

    def play(self) -> Script:
        """
        Play every step that was not played, in this thread.

        Blocks as long as its expectations wait.

        Raises:
            ScriptError: If a step fails; the ones after it are not played.
        """
        while self._played < len(self._steps) and not self._stopped.is_set():
            step = self._steps[self._played]
            self._played += 1
            try:
                step.act()
            except (TimeoutError, AssertionError, LaserSellError) as error:
                raise ScriptError(self._played, step.words, error) from error
        return self

    @contextlib.contextmanager
    def playing(
        self, on_failure: Callable[[], object] = lambda: None
    ) -> Iterator[Script]:
        """
        Play the script in a thread of its own while the block runs.

        The end of the block waits for the end of the script. If the block fails, the
        script stops after the step it is at.

        Args:
            on_failure: Called in that thread if a step fails, to end what the block
                waits in; ``session.close``, say.

        Raises:
            ScriptError: If a step failed, unless the block failed by itself.
        """
        failures: list[BaseException] = []

        def run() -> None:
            try:
                self.play()
            except BaseException as error:  # noqa: BLE001  raised by the block's end
                failures.append(error)
                on_failure()

        thread = start_thread(f"lasersell-script-{next_number()}", run)
        try:
            yield self
        except BaseException:
            self._stopped.set()
            raise
        finally:
            thread.join()
        if failures:
            raise failures[0]

    def do(self, act: Callable[[], object], words: str = "do") -> Script:
        """Call a function; any error of it fails the script."""
        return self._add(words, act)

    def _add(self, words: str, act: Callable[[], object]) -> Script:
        self._steps.append(_Step(words, act))
        return self

    # --- the market -----------------------------------------------------------

    def add_market(self, name: str, **arguments: Any) -> Script:
        """Open a market; the arguments are those of ``SimServer.add_market``."""

        def add() -> None:
            self.mints[name] = self.sim.add_market(**arguments)

        return self._add(f"add market {name}", add)

    def buy(self, name: str, wallet: str = WALLET, **arguments: Any) -> Script:
        """
        Let a wallet buy; the arguments are those of ``SimServer.buy``.

        A name that :meth:`add_market` gave, or that was bought before, is the same
        token again.
        """

        def buy() -> None:
            mint = arguments.pop("mint", self.mints.get(name))
            holding = self.sim.buy(wallet, mint, **arguments)
            self.holdings[name], self.mints[name] = holding, holding.mint

        return self._add(f"buy {name}", buy)

    def sell(self, name: str, **arguments: Any) -> Script:
        """Sell a position; the arguments are those of ``SimServer.sell``."""
        return self._add(
            f"sell {name}", lambda: self.sim.sell(self._held(name), **arguments)
        )

    def profit(self, name: str, *profits_pct: float) -> Script:
        """Give a position one profit in percent after the other, a tick for each."""

        def tick() -> None:
            for profit_pct in profits_pct:
                self.sim.set_profit(self._held(name), profit_pct)
                self.sim.step()

        return self._add(f"profit of {name} {profits_pct}", tick)

    def tick(self, ticks: int = 1) -> Script:
        """Let manual time go on by so many flush intervals."""
        return self._add(f"{ticks} ticks", lambda: self.sim.step(ticks))

    def land_exit(self, name: str) -> Script:
        """Land the sale of a position's last exit signal."""
        return self._add(
            f"land exit of {name}", lambda: self.sim.land_exit(self._held(name))
        )

    def land_mirror_buy(self, name: str) -> Script:
        """Land the mirror buy of a token that was signalled last."""

        def land() -> None:
            self.holdings[f"copy of {name}"] = self.sim.land_mirror_buy(
                self._mint(name)
            )

        return self._add(f"land mirror buy of {name}", land)

    def graduate(self, name: str) -> Script:
        """Move a token to its full market."""
        return self._add(
            f"graduate {name}", lambda: self.sim.graduate(self._mint(name))
        )

    def set_liquidity(self, name: str, quote_units: int) -> Script:
        """Give a token's pool this much on its quote side."""
        return self._add(
            f"liquidity of {name} {quote_units}",
            lambda: self.sim.set_liquidity(self._mint(name), quote_units),
        )

    # --- faults ---------------------------------------------------------------

    def drop(self, code: int = 1006, reason: str = "") -> Script:
        """Disconnect every client; 1006 cuts without a close frame."""
        return self._add(f"drop {code}", lambda: self.sim.drop(code, reason))

    def reset(self) -> Script:
        """End every connection with a TCP reset."""
        return self._add("reset", self.sim.faults.reset)

    def refuse(self, status: int = 503, **arguments: Any) -> Script:
        """Refuse upgrades from now on; see ``SimServer.refuse_upgrades``."""
        return self._add(
            f"refuse {status}", lambda: self.sim.refuse_upgrades(status, **arguments)
        )

    def accept(self) -> Script:
        """Stop refusing upgrades."""
        return self._add("accept", self.sim.accept_upgrades)

    def change_options(self, **changes: Any) -> Script:
        """Change options of the server for connections to come, such as a late hello."""
        return self._add(
            f"change {', '.join(changes)}", lambda: self.sim.change_options(**changes)
        )

    def stall(self) -> Script:
        """Read and write nothing from now on, like a process that hangs."""
        return self._add("stall", self.sim.faults.stall)

    def resume(self) -> Script:
        """End a stall."""
        return self._add("resume", self.sim.faults.resume)

    def mute(self, is_mute: bool = True) -> Script:
        """Say nothing from now on, or speak again; what is not said is lost."""
        return self._add(f"mute {is_mute}", lambda: self.sim.faults.mute(is_mute))

    def half_a_frame(self) -> Script:
        """Send half a frame and cut the connection."""
        return self._add("half a frame", self.sim.faults.half_a_frame)

    def garbage(self, size: int = 64) -> Script:
        """Send random bytes that are no frame."""
        return self._add("garbage", lambda: self.sim.faults.garbage(size))

    def malformed(self, message: ServerMessage, **fields: Any) -> Script:
        """Send a message with wrong fields; see ``Faults.malformed``."""
        return self._add(
            f"malformed {message.type}",
            lambda: self.sim.faults.malformed(message, **fields),
        )

    def send(self, *messages: ServerMessage) -> Script:
        """Send messages, whatever the market says; an ``UnknownMessage`` is one."""
        names = ", ".join(message.type for message in messages)
        return self._add(f"send {names}", lambda: self.sim.send(*messages))

    def send_raw(self, payload: str | bytes, *, binary: bool = False) -> Script:
        """Send one frame with any payload."""
        return self._add("send raw", lambda: self.sim.send_raw(payload, binary=binary))

    def lose(self, kind: type[object], times: int = 1) -> Script:
        """Do not send the next messages of a class."""
        return self._add(
            f"lose {kind.__name__}", lambda: self.sim.faults.lose(kind, times)
        )

    def duplicate(self, kind: type[object], times: int = 1) -> Script:
        """Send the next messages of a class twice."""
        return self._add(
            f"duplicate {kind.__name__}", lambda: self.sim.faults.duplicate(kind, times)
        )

    def swap(self, kind: type[object], times: int = 1) -> Script:
        """Send the next messages of a class after the one that follows them."""
        return self._add(
            f"swap {kind.__name__}", lambda: self.sim.faults.swap(kind, times)
        )

    def flood(self, count: int, *, rate: float | None = None) -> Script:
        """Send so many PnL updates, at a rate a second, and wait until they are sent."""

        def flood() -> None:
            under_way: Flood = self.sim.flood(count=count, rate=rate)
            under_way.wait(self._timeout)

        return self._add(f"flood of {count}", flood)

    # --- expectations ---------------------------------------------------------

    def expect(self, kind: type[ClientMessage] | str, **fields: object) -> Script:
        """
        Wait for a message of the client; each is expected once.

        Args:
            kind: Its class, or its type on the wire.
            fields: What its fields must be; those not named may be anything.
        """
        return self._expect("expect", self.sim.received, Wanted.of(kind, fields))

    def expect_sent(self, kind: type[ServerMessage] | str, **fields: object) -> Script:
        """
        Wait for a message of the server to a client; each is expected once.

        Profits, snapshots and trade ticks are not looked at.
        """
        return self._expect("expect sent", self.sim.sent, Wanted.of(kind, fields))

    def expect_none(self, kind: type[ClientMessage] | str, **fields: object) -> Script:
        """Fail if the client has sent such a message by now that was not expected."""
        wanted = Wanted.of(kind, fields)

        def look() -> None:
            with contextlib.suppress(TimeoutError):
                found = self.sim.received.wait_for(
                    wanted.kind, timeout=0, where=wanted.is_met_by
                )
                raise AssertionError(f"the client has sent {found!r}")

        return self._add(f"expect no {wanted}", look)

    def expect_connected(self, clients: int = 1) -> Script:
        """Wait until so many clients are connected."""
        return self._add(
            f"expect {clients} connected",
            lambda: self.sim.wait_for_connections(clients, self._timeout),
        )

    def expect_sold(self, name: str, reason: str | None = None) -> Script:
        """Wait until a position is sold, for a reason if one is given."""

        def is_sold() -> bool:
            opening = self._held(name).position_id
            return any(
                trade.balance == 0
                and trade.holding.position_id == opening
                and reason in (None, trade.reason)
                for trade in self.sim.ledger.sales()
            )

        return self.until(is_sold, f"expect {name} sold {reason or ''}".rstrip())

    def until(self, predicate: Callable[[], object], words: str = "until") -> Script:
        """Wait until a predicate is true; it is asked whenever something happened."""
        return self._add(words, lambda: self.sim.wait_until(predicate, self._timeout))

    def _expect(self, verb: str, log: Log[Any], wanted: Wanted) -> Script:
        return self._add(
            f"{verb} {wanted}",
            lambda: log.wait_for(
                wanted.kind, timeout=self._timeout, where=wanted.is_met_by
            ),
        )

    # --- names ----------------------------------------------------------------

    def _held(self, name: str) -> Holding:
        if name not in self.holdings:
            raise ConfigurationError(f"the script has bought nothing named {name!r}")
        return self.holdings[name]

    def _mint(self, name: str) -> str:
        if name not in self.mints:
            raise ConfigurationError(f"the script knows no token named {name!r}")
        return self.mints[name]
