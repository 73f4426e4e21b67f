"""A simulator and a Redis, with publishers and subscribers between them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lasersell._clock import Deadline
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay, RelayPolicy, RelaySession
from lasersell.session.events import StreamEvent
from lasersell.sim import Holding, SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.integration.relay.redis_server import RedisServer
from tests.patience import PATIENCE
from tests.unit.session.frames import WALLET

__all__ = ["Bench", "until", "wait_for"]

STRATEGY = StrategyConfig(target_profit_pct=500.0)
"""One that triggers only where a test wants it to."""


class Bench:
    """A wallet on a simulator, relayed over a Redis."""

    def __init__(self, sim: SimServer, server: RedisServer) -> None:
        self.sim = sim
        self.redis = server

    def buy(self, **more: Any) -> Holding:
        """Land a buy of the wallet."""
        return self.sim.buy(WALLET, **more)

    def trigger(self, holding: Holding) -> None:
        """Have the strategy ask for the exit of a position."""
        self.sim.set_profit(holding, 600.0)

    def make_relay(
        self,
        strategy: StrategyConfig = STRATEGY,
        policy: RelayPolicy | None = None,
        session_options: dict[str, Any] | None = None,
        redis_options: dict[str, Any] | None = None,
        **configure: Any,
    ) -> Relay:
        """Return a publisher that does not run yet."""
        return Relay(
            self.redis.url,
            StreamClient("a-made-up-key", endpoint=self.sim.url),
            StreamConfigure([WALLET], strategy, **configure),
            policy=policy,
            redis_options=redis_options,
            session_options={"wait_configured": 0, **(session_options or {})},
        )

    @contextlib.contextmanager
    def relay(self, **more: Any) -> Iterator[Relay]:
        """Run a publisher; it leads once this is entered, unless another one does."""
        with self.make_relay(**more) as relay:
            yield relay

    @contextlib.contextmanager
    def session(self, **more: Any) -> Iterator[RelaySession]:
        """Connect a subscriber."""
        options = {"command_timeout": PATIENCE, **more}
        with RelaySession.connect(self.redis.url, **options) as session:
            yield session

    @contextlib.contextmanager
    def signal_behind_others(
        self,
    ) -> Iterator[tuple[RelaySession, RelaySession, Holding]]:
        """
        Have a signal wait for a worker that has no room for the positions before it.

        Yields:
            One who has seen the signal, the worker, and whose signal it is.
        """
        with (
            self.session() as observer,
            self.session(group="g", high_capacity=2) as worker,
            self.relay(),
        ):
            holdings = [self.buy() for _ in range(8)]
            self.trigger(holdings[-1])
            wait_for(observer, "exit_signal_with_tx")
            yield observer, worker, holdings[-1]


def wait_for(
    session: RelaySession, type: str, matches: Callable[[Any], bool] = lambda _: True
) -> Any:
    """Return the next event of a type that matches, which must come."""
    deadline = Deadline(PATIENCE)
    seen: list[str] = []
    while not deadline.has_passed():
        try:
            event = session.recv(timeout=deadline.remaining())
        except TimeoutError:
            break
        assert event is not None, f"the session is closed after {seen}"
        if event.type == type and matches(event):
            return event
        if not event.type.endswith("_update"):
            seen.append(event.type)
    raise AssertionError(f"no such {type} came, but {seen}")


def until(session: RelaySession, condition: Callable[[], object]) -> list[StreamEvent]:
    """Receive until a condition holds; return the events."""
    deadline, events = Deadline(PATIENCE), []
    while not condition():
        assert not deadline.has_passed(), "it did not come to that"
        with contextlib.suppress(TimeoutError):
            event = session.recv(timeout=0.05)
            assert event is not None
            events.append(event)
    return events
