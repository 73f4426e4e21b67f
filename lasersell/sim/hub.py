"""
Where connections and the chain meet; everything here runs in the server's thread.

The hub tells every session what happens on the chain, ticks the clock of prices,
and passes on what clients say.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count

import attrs
from aiohttp import WSMsgType, web

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import DecodeError
from lasersell.protocol.client import ClientMessage, Configure
from lasersell.protocol.codec import decode_client_message
from lasersell.protocol.server import (
    HelloOk,
    LiquiditySnapshot,
    PnlUpdate,
    ServerError,
    ServerMessage,
    TradeTick,
)
from lasersell.sim.chain import Chain
from lasersell.sim.connection import ABNORMAL_CLOSURE, Connection
from lasersell.sim.describe import describe
from lasersell.sim.flood import Flood
from lasersell.sim.ledger import Trade
from lasersell.sim.log import Log
from lasersell.sim.options import SimOptions
from lasersell.sim.session import SimSession

__all__ = ["PATH", "Hub", "Refusal", "Upgrade"]

_logger = logging.getLogger(__name__)

PATH = "/v1/ws"
"""Where the stream is served."""

_SHUTDOWN_TIMEOUT = 1.0
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
class Refusal:
    """
    An order to refuse upgrades.

    Attributes:
        status: HTTP status to answer.
        headers: Headers of the answer.
        times: How many more it holds for; None is all.
    """

    status: int
    headers: Mapping[str, str]
    times: int | None

    def use(self) -> bool:
        """Tell whether it still holds, counting one use."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Hub:
    """
    The connections of one server.

    Args:
        chain: The world to report on.
        options: How to behave; may be replaced while it runs.
        ticks_by_itself: Whether the flush interval drives the ticks.

    Attributes:
        connections: Who is connected, oldest first; a tuple that is replaced as a
            whole, so that any thread may look.
        connections_changed: Guards the replacement, and is notified of it.
        refusal: The order to refuse upgrades, if there is one.
        floods: The floods under way.
    """

    def __init__(
        self, chain: Chain, options: SimOptions, *, ticks_by_itself: bool
    ) -> None:
        self.options = options
        self.received: Log[ClientMessage] = Log()
        self.sent: Log[ServerMessage] = Log()
        self.upgrades: Log[Upgrade] = Log()
        self.connections: tuple[Connection, ...] = ()
        self.connections_changed = threading.Condition()
        self.refusal: Refusal | None = None
        self.floods: set[Flood] = set()
        self._chain = chain
        self._ticks_by_itself = ticks_by_itself
        self._next_tick_at = 0.0
        self._tick_timer: asyncio.TimerHandle | None = None
        self._session_ids = count(1)

    @asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """Accept connections on a listening socket, and tick, while entered."""
        app = web.Application()
        app.router.add_get(PATH, self._serve_client)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            self._next_tick_at = SYSTEM_CLOCK.monotonic()
            if self._ticks_by_itself:
                self._schedule_tick()
            yield
        finally:
            self._let_go()
            await runner.cleanup()

    def _let_go(self) -> None:
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        for flood in tuple(self.floods):
            flood.end()
        self.disconnect(ABNORMAL_CLOSURE)

    # --- to all clients -------------------------------------------------------

    def publish(self, trade: Trade) -> Trade:
        """Tell every session about a trade that landed, and return it."""
        for connection in self.connections:
            self._send(connection, connection.session.see_trade(trade))
        return trade

    def send(self, messages: Sequence[ServerMessage]) -> None:
        """Send messages to every client."""
        for connection in self.connections:
            self._send(connection, messages)

    def write(self, data: bytes) -> None:
        """Write bytes to every client."""
        for connection in self.connections:
            connection.write(data)

    def disconnect(self, code: int, reason: str = "") -> None:
        """Disconnect every client, with a close frame unless the code is 1006."""
        for connection in self.connections:
            self._disconnect(connection, code, reason)

    def _disconnect(self, connection: Connection, code: int, reason: str = "") -> None:
        self._detach(connection)
        connection.say_goodbye(code, reason)

    def _send(self, connection: Connection, messages: Sequence[ServerMessage]) -> None:
        if not messages:
            return
        session_id = connection.session.session_id
        connection.send(messages)
        for message in messages:
            if not isinstance(message, _LOW_PRIORITY):
                self.sent.add(message, session_id)
                _logger.info("session %d sent %s", session_id, describe(message))

    # --- ticks ----------------------------------------------------------------

    def _schedule_tick(self) -> None:
        # A late tick is not made up for: the next one comes a whole period later.
        now = SYSTEM_CLOCK.monotonic()
        period = self.options.limits.pnl_flush_ms / 1000
        self._next_tick_at = max(self._next_tick_at + period, now)
        self._tick_timer = asyncio.get_running_loop().call_later(
            self._next_tick_at - now, self._tick_by_itself
        )

    def _tick_by_itself(self) -> None:
        self._schedule_tick()
        self.tick()

    def tick(self) -> None:
        """Let one flush interval's worth happen: sales land, prices move, rules fire."""
        for trade in self._chain.land_due(self._chain.now_ms()):
            self.publish(trade)
        mints: set[str] = set()
        for connection in self.connections:
            mints |= connection.session.mints
        self._chain.markets.advance(mints)
        for connection in self.connections:
            self._send(connection, self._tick_of(connection))

    def _tick_of(self, connection: Connection) -> list[ServerMessage]:
        messages = connection.session.tick()
        if not connection.is_congested:
            return messages
        # A client that does not read gets no more of what will be stale.
        return [m for m in messages if not isinstance(m, _LOW_PRIORITY)]

    # --- from one client ------------------------------------------------------

    async def _serve_client(self, request: web.Request) -> web.StreamResponse:
        refused = self._refuse(request)
        if refused is not None:
            self.upgrades.add(Upgrade(refused.status))
            return refused
        # Without autoclose the last frame is left to us, where we closed first.
        websocket = web.WebSocketResponse(
            compress=False,
            autoclose=False,
            timeout=_SHUTDOWN_TIMEOUT,
            max_msg_size=_MAX_MESSAGE_BYTES,
        )
        await websocket.prepare(request)
        connection = self._attach(request)
        try:
            if self.options.hello == "first":
                self._open_later(connection)
            async for received in websocket:
                if received.type is WSMsgType.TEXT:
                    self._on_text(connection, received.data)
                elif received.type is WSMsgType.BINARY:
                    self._send(connection, [_invalid("binary frames are unknown here")])
        finally:
            self._detach(connection)
            connection.end()
        return websocket

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self.refusal is not None and self.refusal.use():
            return _refused(self.refusal.status, "refused", self.refusal.headers)
        key = request.headers.get("x-api-key", "")
        known = self.options.api_keys
        if not key or (known is not None and key not in known):
            return _refused(401, "missing or unknown API key in x-api-key")
        allowed = self.options.limits.max_sessions_per_api_key
        if allowed and sum(c.api_key == key for c in self.connections) >= allowed:
            return _refused(429, "max_sessions_per_api_key limit reached")
        return None

    def _attach(self, request: web.Request) -> Connection:
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("the client left during its upgrade")
        session = SimSession(next(self._session_ids), self._chain, self.options)
        key = request.headers["x-api-key"]
        connection = Connection(key, session, transport)
        self._set_connections((*self.connections, connection))
        self.upgrades.add(Upgrade(101), session.session_id)
        _logger.info("session %d connected", session.session_id)
        return connection

    def _detach(self, connection: Connection) -> None:
        if connection in self.connections:
            self._set_connections(c for c in self.connections if c is not connection)
            _logger.info("session %d disconnected", connection.session.session_id)

    def _set_connections(self, connections: Iterable[Connection]) -> None:
        with self.connections_changed:
            self.connections = tuple(connections)
            self.connections_changed.notify_all()

    def _on_text(self, connection: Connection, text: str) -> None:
        if connection not in self.connections:
            # It was told to go, and may still be talking.
            return
        try:
            message = decode_client_message(text)
        except DecodeError as error:
            self._send(connection, [_invalid(str(error))])
            return
        session_id = connection.session.session_id
        self.received.add(message, session_id)
        _logger.info("session %d received %s", session_id, message.type)
        if isinstance(message, Configure):
            self._buy_starters(message.wallet_pubkeys)
            if self.options.hello == "after_configure":
                self._open_later(connection)
        self._answer(connection, connection.receive(message))

    def _open_later(self, connection: Connection) -> None:
        delay = self.options.hello_delay
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._open, connection)
        else:
            self._open(connection)

    def _open(self, connection: Connection) -> None:
        if connection in self.connections and not connection.is_open:
            is_first = self.options.hello == "first"
            greeting = connection.session.greet() if is_first else []
            self._answer(connection, connection.open(greeting))

    def _answer(self, connection: Connection, messages: list[ServerMessage]) -> None:
        self._send(connection, messages)
        code = self.options.close_after_hello
        if code is not None and any(isinstance(m, HelloOk) for m in messages):
            self._disconnect(connection, code)

    def _buy_starters(self, wallets: Iterable[str]) -> None:
        for wallet in wallets:
            if self._chain.is_registered(wallet) and not self._chain.holds(wallet):
                for _ in range(self.options.starter_holdings):
                    self.publish(self._chain.buy(wallet))


def _invalid(problem: str) -> ServerError:
    return ServerError(code="invalid_message", message=problem)


def _refused(
    status: int, problem: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.json_response({"error": problem}, status=status, headers=headers)
