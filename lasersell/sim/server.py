"""
``SimServer``: the stream service on this machine, in one background thread.

Everything that changes happens in that thread; methods called from another one
hand their work over and wait for it, so commands take effect in the order they
were given and never in the middle of a tick.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from types import TracebackType
from typing import Any, Literal, TypeVar

import attrs

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell._threads import next_number, start_thread
from lasersell.errors import ConfigurationError, DecodeError, MissingExtraError

try:
    from aiohttp import WSMsgType, web
except ImportError as error:
    raise MissingExtraError("the embedded server", "sim") from error

from lasersell.protocol.client import ClientMessage, Configure
from lasersell.protocol.codec import decode_client_message
from lasersell.protocol.server import (
    HelloOk,
    Limits,
    LiquiditySnapshot,
    PnlUpdate,
    ServerError,
    ServerMessage,
    TradeTick,
)
from lasersell.sim.chain import Chain
from lasersell.sim.clock import ManualClock
from lasersell.sim.connection import ABNORMAL_CLOSURE, Connection, frame, text_frames
from lasersell.sim.describe import describe
from lasersell.sim.flood import Flood
from lasersell.sim.ledger import Holding, Trade
from lasersell.sim.log import Log
from lasersell.sim.options import DEFAULT_LIMITS, SimOptions
from lasersell.sim.session import SimSession

__all__ = ["SimServer", "Upgrade"]

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_PATH = "/v1/ws"
_CALL_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 1.0
_MAX_MESSAGE_BYTES = 1 << 20
_LOW_PRIORITY = (PnlUpdate, LiquiditySnapshot, TradeTick)


@attrs.frozen
class Upgrade:
    """
    One attempt of a client to connect.

    Attributes:
        status: What it was answered: 101 if it was let in.
    """

    status: int


@attrs.define
class _Refusal:
    status: int
    headers: Mapping[str, str]
    remaining: int | None

    def use(self) -> bool:
        """Tell whether this refusal still holds, counting one use."""
        if self.remaining is None:
            return True
        self.remaining -= 1
        return self.remaining >= 0


class SimServer:
    """
    An embedded stream server; a context manager that starts and stops it.

    Any thread may call any method. Each blocks until the server's thread has done
    the work, which takes well under a millisecond unless said otherwise. Before
    ``start`` and after ``stop`` the chain can be used all the same; a server that
    is started again has the same port and the same chain.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        seed: What mints and price paths depend on; the same seed gives the same.
        volatility_pct: Standard deviation of one tick's price move in percent;
            0 lets prices stand still.
        wallets: Registered wallets; None accepts every valid public key.
        clock: Where time comes from. With a :class:`ManualClock` nothing ticks
            until :meth:`step` is called.
        pnl_flush_ms: Milliseconds between two ticks; None takes it from ``limits``.
        api_keys: See :class:`SimOptions`, as for all that follow.

    Attributes:
        received: Every message of a client, to be waited on.
        sent: Every message to a client but the low-priority ones and floods.
        upgrades: Every attempt to connect, with its HTTP status.
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
        pnl_flush_ms: int | None = None,
        api_keys: Iterable[str] | None = None,
        hello: Literal["first", "after_configure", "never"] = "first",
        hello_delay: float = 0.0,
        close_after_hello: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        auto_sell_after_ms: int | None = None,
        position_ids: Literal["kept", "renewed"] = "kept",
        liquidity_snapshots: bool = False,
        starter_holdings: int = 0,
        require_exit_condition: bool = False,
    ) -> None:
        if pnl_flush_ms is not None:
            limits = attrs.evolve(limits, pnl_flush_ms=pnl_flush_ms)
        self._options = SimOptions(
            api_keys=None if api_keys is None else frozenset(api_keys),
            hello=hello,
            hello_delay=hello_delay,
            close_after_hello=close_after_hello,
            limits=limits,
            auto_sell_after_ms=auto_sell_after_ms,
            position_ids=position_ids,
            liquidity_snapshots=liquidity_snapshots,
            starter_holdings=starter_holdings,
            require_exit_condition=require_exit_condition,
        )
        self.received: Log[ClientMessage] = Log()
        self.sent: Log[ServerMessage] = Log()
        self.upgrades: Log[Upgrade] = Log()
        self._clock = clock
        self._chain = Chain(
            clock=clock, seed=seed, volatility_pct=volatility_pct, wallets=wallets
        )
        self._host = host
        self._port = port
        self._session_ids = count(1)
        self._connections: list[Connection] = []
        self._connections_changed = threading.Condition()
        self._refusal: _Refusal | None = None
        self._floods: set[Flood] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._next_tick_at = 0.0

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<SimServer at {self._host}:{self._port}, {state}>"

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
        return self._loop is not None

    @property
    def port(self) -> int:
        """The port; a free one that was asked for is known from the start on."""
        return self._port

    @property
    def url(self) -> str:
        """The endpoint to give to a client."""
        return f"ws://{self._host}:{self._port}{_PATH}"

    def start(self) -> None:
        """
        Listen, and return once connections are accepted; at most 10 s.

        Raises:
            ConfigurationError: If it is running already, or the address cannot be
                listened on.
        """
        if self._thread is not None:
            raise ConfigurationError("the server is running already; stop it first")
        listener = self._listen()
        ready: Future[None] = Future()
        self._thread = start_thread(
            f"lasersell-sim-{next_number()}", lambda: self._run(listener, ready)
        )
        try:
            ready.result(_CALL_TIMEOUT)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 5.0) -> None:
        """
        Cut all connections and end the thread; again and again does no harm.

        Blocks until the thread has ended, at most ``timeout`` seconds.

        Raises:
            TimeoutError: If the thread did not end in time.
        """
        thread, loop = self._thread, self._loop
        if thread is None:
            return
        if loop is not None and self._stopping is not None:
            loop.call_soon_threadsafe(self._stopping.set)
        thread.join(timeout)
        if thread.is_alive():
            raise TimeoutError(f"the server's thread did not end in {timeout} s")
        self._thread = None

    def _listen(self) -> socket.socket:
        try:
            listener = socket.create_server((self._host, self._port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}); "
                "choose another port, or port=0 for a free one"
            ) from error
        self._port = listener.getsockname()[1]
        return listener

    def _run(self, listener: socket.socket, ready: Future[None]) -> None:
        with listener:
            try:
                asyncio.run(self._main(listener, ready))
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)

    async def _main(self, listener: socket.socket, ready: Future[None]) -> None:
        app = web.Application()
        app.router.add_get(_PATH, self._serve)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_CLOSE_TIMEOUT
        )
        self._stopping = asyncio.Event()
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            self._loop = asyncio.get_running_loop()
            self._next_tick_at = SYSTEM_CLOCK.monotonic()
            self._schedule_tick()
            ready.set_result(None)
            await self._stopping.wait()
        finally:
            self._loop = None
            self._let_go()
            await runner.cleanup()

    def _let_go(self) -> None:
        for flood in tuple(self._floods):
            flood.end()
        for connection in tuple(self._connections):
            connection.cut()

    def _call(self, action: Callable[[], T]) -> T:
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            return action()
        future: Future[T] = Future()

        def act() -> None:
            try:
                future.set_result(action())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)

        loop.call_soon_threadsafe(act)
        return future.result(_CALL_TIMEOUT)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the chain ------------------------------------------------------------

    def buy(
        self,
        wallet: str,
        mint: str | None = None,
        *,
        quote_units: int = 100_000_000,
        tokens: int | None = None,
        profits_pct: Iterable[float] | None = None,
    ) -> Holding:
        """
        Land a buy; clients that track the wallet are told.

        Args:
            wallet: Who buys; base58.
            mint: What; None makes up a new token.
            quote_units: What it costs, in lamports; the entry of the position.
            tokens: How many tokens that buys, in atomic units; None lets the pool
                decide.
            profits_pct: The position's profit in percent, one value for each tick
                on which some client tracks it; it stays at the last. None lets the
                price walk by itself.

        Returns:
            The new holding; the server's methods take it for a position.

        Raises:
            ConfigurationError: If an argument is wrong, or the wallet holds the
                token already.
        """

        def land() -> Holding:
            trade = self._chain.buy(
                wallet,
                mint,
                quote_units=quote_units,
                tokens=tokens,
                profits_pct=profits_pct,
            )
            return self._publish(trade).holding

        return self._call(land)

    def sell(
        self,
        position: Holding | int | str,
        *,
        tokens: int | None = None,
        reason: str = "manual",
    ) -> Trade:
        """
        Land a sale at the current price; clients that track the wallet are told.

        Args:
            position: A holding, a position id or a token account.
            tokens: How many, in atomic units; None is all.
            reason: The reason that ``position_closed`` gives.

        Raises:
            ConfigurationError: If no such position is held, or not that much of it.
        """
        return self._call(
            lambda: self._publish(
                self._chain.sell(self._find(position), tokens=tokens, reason=reason)
            )
        )

    def land_exit(self, position: Holding | int | str) -> Trade:
        """
        Land the sale of the last exit signal, as a client does that submits it.

        Args:
            position: A holding, a position id or a token account.

        Raises:
            ConfigurationError: If no exit signal is waiting for it.
        """

        def land() -> Trade:
            holding = self._find(position)
            pending = self._chain.pending_exit(holding)
            if pending is None:
                raise ConfigurationError(
                    f"no exit signal was sent for {holding.token_account}; "
                    "use sell() for a sale of the wallet's own"
                )
            return self._publish(self._chain.sell(holding, reason=pending.reason))

        return self._call(land)

    def set_profit(self, position: Holding | int | str, profit_pct: float) -> None:
        """Give a position this profit in percent from the next tick on."""
        self._call(lambda: self._chain.set_profit(self._find(position), profit_pct))

    def set_profit_path(
        self, position: Holding | int | str, profits_pct: Iterable[float]
    ) -> None:
        """Script a position's profit in percent, one value for each tick to come."""
        self._call(
            lambda: self._chain.set_profit_path(self._find(position), profits_pct)
        )

    def register_wallet(self, wallet: str) -> None:
        """Accept a wallet from now on, if not all are accepted anyway."""
        self._call(lambda: self._chain.register(wallet))

    def holdings(self, wallet: str | None = None) -> tuple[Holding, ...]:
        """Return what a wallet holds now, oldest first; None asks for all wallets."""
        return self._call(lambda: self._chain.ledger.holdings(wallet))

    def trades(self) -> tuple[Trade, ...]:
        """Return every buy and sale that landed, oldest first."""
        return self._call(lambda: tuple(self._chain.ledger.trades))

    def _publish(self, trade: Trade) -> Trade:
        for connection in tuple(self._connections):
            self._send(connection, connection.session.see_trade(trade))
        return trade

    def _find(self, position: Holding | int | str) -> Holding:
        holding = self._lookup(position)
        if holding is None:
            name = position if not isinstance(position, Holding) else position.mint
            raise ConfigurationError(f"no wallet holds position {name!r} any more")
        return holding

    def _lookup(self, position: Holding | int | str) -> Holding | None:
        ledger = self._chain.ledger
        if isinstance(position, Holding):
            return ledger.holding(position.token_account)
        if isinstance(position, str):
            return ledger.holding(position)
        for connection in self._connections:
            tracked = connection.session.positions.get(position)
            if tracked is not None:
                return tracked.holding
        return next((h for h in ledger.holdings() if h.position_id == position), None)

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
        for _ in range(ticks):
            clock.advance(self._options.limits.pnl_flush_ms)
            self._call(self._tick)

    def _schedule_tick(self) -> None:
        if isinstance(self._clock, ManualClock) or self._loop is None:
            return
        # A late tick is not made up for: the next one comes a whole period later.
        now = SYSTEM_CLOCK.monotonic()
        period = self._options.limits.pnl_flush_ms / 1000
        self._next_tick_at = max(self._next_tick_at + period, now)
        self._loop.call_later(self._next_tick_at - now, self._tick_by_itself)

    def _tick_by_itself(self) -> None:
        self._schedule_tick()
        self._tick()

    def _tick(self) -> None:
        for trade in self._chain.land_due(self._chain.now_ms()):
            self._publish(trade)
        sessions = [connection.session for connection in self._connections]
        self._chain.advance(set().union(*(session.mints for session in sessions)))
        for connection in tuple(self._connections):
            messages: Sequence[ServerMessage] = connection.session.tick()
            if connection.is_congested:
                # A client that does not read gets no more of what will be stale.
                messages = [m for m in messages if not isinstance(m, _LOW_PRIORITY)]
            self._send(connection, messages)

    # --- clients --------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def sessions(self) -> tuple[SimSession, ...]:
        """The live sessions, oldest first; to look at, not to change."""
        return self._call(lambda: tuple(c.session for c in self._connections))

    def wait_for_connections(self, number: int, timeout: float = 5.0) -> None:
        """
        Block until exactly ``number`` clients are connected, at most ``timeout`` s.

        Raises:
            TimeoutError: If it did not come to that in time.
        """
        deadline = Deadline(timeout)
        with self._connections_changed:
            while len(self._connections) != number:
                if deadline.has_passed():
                    raise TimeoutError(
                        f"{len(self._connections)} clients are connected after "
                        f"{timeout} s, not {number}"
                    )
                self._connections_changed.wait(deadline.remaining())

    def change_options(self, **changes: Any) -> None:
        """Change fields of :class:`SimOptions` for connections to come."""
        self._call(lambda: self._set_options(attrs.evolve(self._options, **changes)))

    def _set_options(self, options: SimOptions) -> None:
        self._options = options

    def refuse_upgrades(
        self,
        status: int = 503,
        *,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer the next ``times`` upgrades with an HTTP status; None is all."""
        self._refusal = _Refusal(status, headers or {}, times)

    def accept_upgrades(self) -> None:
        """Stop refusing upgrades."""
        self._refusal = None

    def drop(self, code: int = ABNORMAL_CLOSURE, reason: str = "") -> None:
        """
        Disconnect every client; the chain goes on.

        Args:
            code: Close code to send first; 1006 cuts without a close frame.
            reason: Text to send with it.
        """

        def disconnect() -> None:
            for connection in tuple(self._connections):
                self._detach(connection)
                if code == ABNORMAL_CLOSURE:
                    connection.cut()
                else:
                    self._spawn(connection.close(code, reason))

        self._call(disconnect)

    def send(self, *messages: ServerMessage) -> None:
        """Send messages to every client, whatever the chain says."""

        def send() -> None:
            for connection in tuple(self._connections):
                self._send(connection, messages)

        self._call(send)

    def send_raw(self, payload: str | bytes, *, binary: bool = False) -> None:
        """Send one frame with any payload to every client; bytes need not be UTF-8."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.send_bytes(frame(data, binary=binary))

    def send_bytes(self, data: bytes) -> None:
        """Write bytes under the WebSocket protocol to every client: half a frame, say."""

        def write() -> None:
            for connection in self._connections:
                connection.write(data)

        self._call(write)

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
        filler = PnlUpdate(
            position_id=1,
            profit_units=0,
            proceeds_units=100_000_000,
            server_time_ms=self._clock.wall_ms(),
        )
        flood = Flood(
            text_frames(messages) or text_frames([filler]),
            lambda: self._connections,
            count=count,
            rate=rate,
            on_end=self._floods.discard,
        )

        def begin() -> None:
            self._floods.add(flood)
            flood.begin()

        if not self.is_running:
            raise ConfigurationError("start the server before a flood")
        self._call(begin)
        return flood

    # --- the conversation with one client -------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        refused = self._refuse(request)
        if refused is not None:
            self.upgrades.add(Upgrade(refused.status))
            return refused
        websocket = web.WebSocketResponse(
            compress=False, timeout=_CLOSE_TIMEOUT, max_msg_size=_MAX_MESSAGE_BYTES
        )
        await websocket.prepare(request)
        connection = self._attach(request, websocket)
        try:
            await self._converse(connection, websocket)
        finally:
            self._detach(connection)
        return websocket

    def _refuse(self, request: web.Request) -> web.Response | None:
        refusal = self._refusal
        if refusal is not None and refusal.use():
            return _refused(refusal.status, "refused on request", refusal.headers)
        key = request.headers.get("x-api-key", "")
        known = self._options.api_keys
        if not key or (known is not None and key not in known):
            return _refused(401, "missing or unknown API key in x-api-key")
        allowed = self._options.limits.max_sessions_per_api_key
        if allowed and sum(c.api_key == key for c in self._connections) >= allowed:
            return _refused(429, "max_sessions_per_api_key limit reached")
        return None

    def _attach(
        self, request: web.Request, websocket: web.WebSocketResponse
    ) -> Connection:
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("the client left during its upgrade")
        session = SimSession(next(self._session_ids), self._chain, self._options)
        key = request.headers["x-api-key"]
        connection = Connection(key, session, websocket, transport)
        with self._connections_changed:
            self._connections.append(connection)
            self._connections_changed.notify_all()
        self.upgrades.add(Upgrade(101), session.session_id)
        _logger.info("session %d connected", session.session_id)
        return connection

    def _detach(self, connection: Connection) -> None:
        with self._connections_changed:
            if connection not in self._connections:
                return
            self._connections.remove(connection)
            self._connections_changed.notify_all()
        _logger.info("session %d disconnected", connection.session.session_id)

    async def _converse(
        self, connection: Connection, websocket: web.WebSocketResponse
    ) -> None:
        if self._options.hello == "first":
            await self._pause(self._options.hello_delay)
            await self._answer(connection, connection.session.greet())
        async for received in websocket:
            if received.type is WSMsgType.TEXT:
                await self._on_text(connection, received.data)
            elif received.type is WSMsgType.BINARY:
                self._send(connection, [_invalid("binary frames are not understood")])

    async def _on_text(self, connection: Connection, text: str) -> None:
        try:
            message = decode_client_message(text)
        except DecodeError as error:
            self._send(connection, [_invalid(str(error))])
            return
        session = connection.session
        self.received.add(message, session.session_id)
        _logger.info("session %d received %s", session.session_id, message.type)
        if self._options.hello == "never":
            return
        if isinstance(message, Configure):
            self._buy_starters(message.wallet_pubkeys)
            if self._options.hello == "after_configure":
                await self._pause(self._options.hello_delay)
        await self._answer(connection, session.receive(message))

    async def _answer(
        self, connection: Connection, messages: Sequence[ServerMessage]
    ) -> None:
        self._send(connection, messages)
        code = self._options.close_after_hello
        if code is not None and any(isinstance(m, HelloOk) for m in messages):
            self._detach(connection)
            await connection.close(code)

    async def _pause(self, seconds: float) -> None:
        assert self._stopping is not None, "only a running server converses"
        if seconds > 0:
            try:
                await asyncio.wait_for(self._stopping.wait(), seconds)
            except asyncio.TimeoutError:
                return

    def _buy_starters(self, wallets: Iterable[str]) -> None:
        for wallet in wallets:
            if self._chain.is_registered(wallet) and not self.holdings(wallet):
                for _ in range(self._options.starter_holdings):
                    self.buy(wallet)

    def _send(self, connection: Connection, messages: Sequence[ServerMessage]) -> None:
        if not messages:
            return
        session_id = connection.session.session_id
        connection.send(messages)
        for message in messages:
            if not isinstance(message, _LOW_PRIORITY):
                self.sent.add(message, session_id)
                _logger.info("session %d sent %s", session_id, describe(message))


def _invalid(problem: str) -> ServerError:
    return ServerError(code="invalid_message", message=problem)


def _refused(
    status: int, problem: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.json_response({"error": problem}, status=status, headers=headers)
