"""
``SimServer``: the stream service on this machine, in one background thread.

Everything that changes happens in that thread; methods called from another one
hand their work over and wait for it, so commands take effect in the order they
were given and never in the middle of a tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.errors import ConfigurationError
from lasersell.protocol.client import ClientMessage
from lasersell.protocol.server import PnlUpdate, ServerMessage
from lasersell.sim.admission import Refusal, Upgrade
from lasersell.sim.background import Background
from lasersell.sim.calls import RPC_PATH, Call
from lasersell.sim.chain import DEFAULT_QUOTE_UNITS, Chain
from lasersell.sim.clock import ManualClock
from lasersell.sim.connection import ABNORMAL_CLOSURE
from lasersell.sim.encoding import BINARY, TEXT, frame, text_frames
from lasersell.sim.faults import Faults
from lasersell.sim.flood import Flood
from lasersell.sim.hub import PATH, Hub
from lasersell.sim.log import Log
from lasersell.sim.node import Submission
from lasersell.sim.options import OptionFields, make_options
from lasersell.sim.session import SimSession
from lasersell.sim.tiers import TierName
from lasersell.sim.world import World

if TYPE_CHECKING:
    # Part of the standard library only from Python 3.11 on.
    from typing_extensions import Unpack

__all__ = ["SimServer"]


class SimServer(World):
    """
    An embedded stream server; a context manager that starts and stops it.

    Any thread may call any method. Each blocks until the server's thread has done
    the work, which takes well under a millisecond unless said otherwise. Before
    ``start`` and after ``stop`` the chain can be used all the same; a server that
    is started again has the same port and the same chain.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        seed: What mints, price paths and garbage depend on; the same seed and the
            same commands at the same ticks give the same frames.
        volatility_pct: Standard deviation of one tick's price move in percent;
            0 lets prices stand still.
        wallets: Registered wallets; None accepts every valid public key.
        clock: Where time comes from. With a :class:`ManualClock` nothing ticks
            until :meth:`step` is called.
        tier: The tier of the service whose limits and gifts hold; None is none of
            them, with the limits of the specification's example.
        pnl_flush_ms: Milliseconds between two ticks; None takes it from the limits.
        options: The fields of :class:`SimOptions`, before those of the tier.

    Attributes:
        faults: What may go wrong, on purpose.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        volatility_pct: float = 0.02,
        wallets: Iterable[str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        tier: TierName | None = None,
        pnl_flush_ms: int | None = None,
        **options: Unpack[OptionFields],
    ) -> None:
        chain = Chain(
            clock=clock, seed=seed, volatility_pct=volatility_pct, wallets=wallets
        )
        hub = Hub(
            chain,
            make_options(tier, pnl_flush_ms, options),
            tier=tier,
            ticks_by_itself=not isinstance(clock, ManualClock),
        )
        super().__init__(chain, hub, Background(hub.serve, host, port))
        self.faults = Faults(hub, self._background, seed)
        self._clock = clock

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<SimServer at {self._background.address}, {state}>"

    # --- life -----------------------------------------------------------------

    def __enter__(self) -> SimServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        return self._background.is_running

    @property
    def port(self) -> int:
        """The port; a free one that was asked for is known from the start on."""
        return self._background.port

    @property
    def url(self) -> str:
        """The endpoint to give to a client."""
        return f"ws://{self._background.address}{PATH}"

    @property
    def api_url(self) -> str:
        """The base URL of the REST API."""
        return f"http://{self._background.address}"

    @property
    def rpc_url(self) -> str:
        """Where the chain's node answers JSON-RPC, to give to a ``SendTarget``."""
        return f"{self.api_url}{RPC_PATH}"

    def start(self) -> None:
        """
        Listen, and return once connections are accepted; at most 10 s.

        Raises:
            ConfigurationError: If it is running already, or the address cannot be
                listened on.
        """
        self._background.start()

    def stop(self, timeout: float = 5.0) -> None:
        """
        Cut all connections and end the thread; again and again does no harm.

        Blocks until the thread has ended, at most ``timeout`` seconds.

        Raises:
            TimeoutError: If the thread did not end in time.
        """
        self._background.stop(timeout)

    # --- ticks ----------------------------------------------------------------

    def step(self, ticks: int = 1) -> None:
        """
        Move a manual clock on by one flush interval and tick, ``ticks`` times.

        Raises:
            ConfigurationError: If the server was not given a :class:`ManualClock`.
        """
        clock = self._clock
        if not isinstance(clock, ManualClock):
            raise ConfigurationError(
                "only a server made with clock=ManualClock() can be stepped"
            )

        def tick() -> None:
            clock.advance(self._hub.options.limits.pnl_flush_ms)
            self._hub.tick()

        for _ in range(ticks):
            self._background.call(tick)

    # --- clients --------------------------------------------------------------

    @property
    def received(self) -> Log[ClientMessage]:
        """Every message of a client, to be waited on."""
        return self._hub.received

    @property
    def sent(self) -> Log[ServerMessage]:
        """Every message to a client but low-priority ones, floods and raw frames."""
        return self._hub.sent

    @property
    def upgrades(self) -> Log[Upgrade]:
        """Every attempt to connect, with its HTTP status."""
        return self._hub.upgrades

    @property
    def calls(self) -> Log[Call]:
        """Every call of the REST API and of JSON-RPC, with its HTTP status."""
        return self._hub.calls.log

    @property
    def submissions(self) -> Log[Submission]:
        """Every transaction that was submitted with good signatures."""
        return self._hub.submissions

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._hub.connections)

    @property
    def sessions(self) -> tuple[SimSession, ...]:
        """The live sessions, oldest first; to look at, not to change."""
        return self._background.call(
            lambda: tuple(c.session for c in self._hub.connections)
        )

    def wait_for_connections(self, number: int, timeout: float = 5.0) -> None:
        """
        Block until exactly ``number`` clients are connected, at most ``timeout`` s.

        Raises:
            TimeoutError: If it did not come to that in time.
        """
        deadline = Deadline(timeout)
        with self._hub.connections_changed:
            while self.connection_count != number:
                if deadline.has_passed():
                    raise TimeoutError(
                        f"{self.connection_count} clients are connected after "
                        f"{timeout} s, not {number}"
                    )
                self._hub.connections_changed.wait(deadline.remaining())

    def wait_until(
        self, predicate: Callable[[], object], timeout: float | None = 5.0
    ) -> None:
        """
        Block until a predicate is true; it may ask this server anything.

        It is called each time something happened here: a tick, a trade, a message
        in either direction, a client that came or went.

        Args:
            predicate: Called in this thread, once at least.
            timeout: Seconds to wait; None waits for ever.

        Raises:
            TimeoutError: If it did not become true in time.
        """
        self._hub.activity.wait_until(predicate, timeout)

    def change_options(self, **changes: Any) -> None:
        """Change fields of :class:`SimOptions` for connections to come."""

        def change() -> None:
            self._hub.options = attrs.evolve(self._hub.options, **changes)

        self._background.call(change)

    def refuse_upgrades(
        self,
        status: int = 503,
        *,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer the next ``times`` upgrades with an HTTP status; None is all."""
        self._hub.refusal = Refusal(status, headers or {}, times)

    def accept_upgrades(self) -> None:
        """Stop refusing upgrades."""
        self._hub.refusal = None

    def refuse_calls(
        self,
        name: str,
        status: int = 503,
        *,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """
        Answer the next ``times`` calls of a name with an HTTP status; None is all.

        Args:
            name: A method of JSON-RPC, or a path of the REST API: ``/v1/sell``.
            status: Such as 429.
            headers: Of the answer, such as ``Retry-After``.
            times: How many.
        """
        refusal = Refusal(status, headers or {}, times)
        self._background.call(
            lambda: self._hub.calls.refusals.__setitem__(name, refusal)
        )

    def accept_calls(self) -> None:
        """Stop refusing calls."""
        self._background.call(self._hub.calls.refusals.clear)

    def watch_calls(self, watcher: Callable[[Call], None] | None) -> None:
        """
        Have each call shown to a function, when it comes and before it is answered.

        It is called in the server's thread, which waits for it, so that something can
        be done at just that moment. The second time the call has its status.

        Args:
            watcher: What is called; None is nothing any more.
        """

        def change() -> None:
            self._hub.calls.watcher = watcher or (lambda _call: None)

        self._background.call(change)

    def drop(self, code: int = ABNORMAL_CLOSURE, reason: str = "") -> None:
        """
        Disconnect every client; the chain goes on.

        Args:
            code: Close code to send first; 1006 cuts without a close frame.
            reason: Text to send with it.
        """
        self._background.call(lambda: self._hub.disconnect(code, reason))

    def send(self, *messages: ServerMessage) -> None:
        """Send messages to every client, whatever the chain says."""
        self._background.call(lambda: self._hub.send(messages))

    def send_raw(self, payload: str | bytes, *, binary: bool = False) -> None:
        """Send one frame with any payload to every client; bytes need not be UTF-8."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.send_bytes(frame(data, BINARY if binary else TEXT))

    def send_bytes(self, data: bytes) -> None:
        """Write bytes under the WebSocket protocol to every client: half a frame, say."""
        self._background.call(lambda: self._hub.write(data))

    def flood(
        self,
        messages: Iterable[ServerMessage] = (),
        *,
        count: int | None = None,
        rate: float | None = None,
    ) -> Flood:
        """
        Send messages over and over to every client, and return at once.

        They are encoded once. The flood waits for the slowest client, and between
        its batches other messages go through.

        Args:
            messages: What to send; by default one ``pnl_update`` of position 1.
            count: How many frames each client gets in all; None goes on until
                :meth:`Flood.stop` or the server ends.
            rate: Frames a second; None is as fast as the slowest client reads.
        """
        if not self.is_running:
            raise ConfigurationError("start the server before a flood")
        filler = PnlUpdate(
            position_id=1,
            profit_units=0,
            proceeds_units=DEFAULT_QUOTE_UNITS,
            server_time_ms=self._clock.wall_ms(),
        )
        flood = Flood(
            text_frames(messages) or text_frames([filler]),
            lambda: self._hub.connections,
            count=count,
            rate=rate,
            on_end=self._hub.floods.discard,
        )

        def begin() -> None:
            self._hub.floods.add(flood)
            flood.begin()

        self._background.call(begin)
        return flood
