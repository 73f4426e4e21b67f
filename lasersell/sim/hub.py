"""
Where connections and the chain meet; everything here runs in the server's thread.

The hub tells every session what happens on the chain, ticks the clock of prices,
and passes on what clients say. On a tick, in this order: trades that clients were
told to make land, sales before buys, and are told; clients that were silent too
long are closed; prices move; each session, oldest first, is told its exit signals
and then its profits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count

from aiohttp import WSMsgType, web

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import DecodeError
from lasersell.protocol.client import ClientMessage, Configure
from lasersell.protocol.codec import decode_client_message
from lasersell.protocol.server import HelloOk, ServerError, ServerMessage
from lasersell.sim.activity import Activity
from lasersell.sim.admission import Refusal, Upgrade, Verdict, judge
from lasersell.sim.calls import Calls
from lasersell.sim.chain import Chain
from lasersell.sim.connection import ABNORMAL_CLOSURE, LOW_PRIORITY, Connection
from lasersell.sim.describe import describe
from lasersell.sim.flood import Flood
from lasersell.sim.ledger import Trade
from lasersell.sim.log import Log
from lasersell.sim.node import Node, Submission
from lasersell.sim.options import SimOptions
from lasersell.sim.position import Memory
from lasersell.sim.rest import Rest
from lasersell.sim.rpc import Rpc
from lasersell.sim.session import SimSession
from lasersell.sim.tampering import Tamper
from lasersell.sim.tiers import TierName

__all__ = ["PATH", "Hub"]

_logger = logging.getLogger(__name__)

PATH = "/v1/ws"
"""Where the stream is served."""

_SHUTDOWN_TIMEOUT = 1.0
_MAX_MESSAGE_BYTES = 1 << 20
_NORMAL_CLOSURE = 1000
_POLICY_VIOLATION = 1008


class Hub:
    """
    The connections of one server.

    Args:
        chain: The world to report on.
        options: How to behave; may be replaced while it runs.
        tier: The tier of the account; None is none of them.
        ticks_by_itself: Whether the flush interval drives the ticks.

    Attributes:
        connections: Who is connected, oldest first; a tuple that is replaced as a
            whole, so that any thread may look.
        connections_changed: Guards the replacement, and is notified of it.
        activity: Rings whenever something happened.
        refusal: The order to refuse upgrades, if there is one.
        floods: The floods under way.
        tampers: The orders to tamper with messages.
        node: Where transactions are submitted.
        submissions: Every transaction that was.
        calls: The REST API and JSON-RPC.
    """

    def __init__(
        self,
        chain: Chain,
        options: SimOptions,
        *,
        tier: TierName | None,
        ticks_by_itself: bool,
    ) -> None:
        self.options = options
        self.received: Log[ClientMessage] = Log()
        self.sent: Log[ServerMessage] = Log()
        self.upgrades: Log[Upgrade] = Log()
        self.connections: tuple[Connection, ...] = ()
        self.connections_changed = threading.Condition()
        self.activity = Activity()
        self.refusal: Refusal | None = None
        self.floods: set[Flood] = set()
        self.tampers: list[Tamper] = []
        self.submissions: Log[Submission] = Log()
        self.node = Node(chain, self.publish, self._note_submission)
        self.calls = Calls(
            Rest(chain, lambda: self.options, tier),
            Rpc(chain, self.node),
            lambda: self.options,
            self.activity,
        )
        self._chain = chain
        self._ticks_by_itself = ticks_by_itself
        self._next_tick_at = 0.0
        self._tick_timer: asyncio.TimerHandle | None = None
        self._session_ids = count(1)
        self._served: set[Connection] = set()
        self._memories: dict[str, Memory] = {}

    @asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """Accept connections on a listening socket, and tick, while entered."""
        app = web.Application()
        app.router.add_get(PATH, self._serve_client)
        self.calls.add_to(app)
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
        for connection in self._served:
            # Some were told to go before, and do not read that.
            connection.cut()

    # --- to all clients -------------------------------------------------------

    def publish(self, trade: Trade) -> Trade:
        """Tell every session about a trade that landed, and return it."""
        for connection in self.connections:
            self._tell(connection, connection.session.see_trade(trade))
        self.activity.ring()
        return trade

    def _note_submission(self, submission: Submission) -> None:
        self.submissions.add(submission)
        _logger.info("%s submitted: %s", submission.side, submission.signature)
        self.activity.ring()

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

    def reset(self) -> None:
        """End every connection with a TCP reset."""
        for connection in self.connections:
            self._detach(connection)
            connection.reset()

    def hang_up(self) -> None:
        """End every connection once what was written has gone, without a close frame."""
        for connection in self.connections:
            self._detach(connection)
            connection.hang_up()

    def _disconnect(self, connection: Connection, code: int, reason: str = "") -> None:
        self._detach(connection)
        connection.say_goodbye(code, reason)

    def _tell(self, connection: Connection, messages: Sequence[ServerMessage]) -> None:
        """Send what the chain or a command gave; a client far behind is cut off."""
        if not messages:
            return
        high = sum(not isinstance(message, LOW_PRIORITY) for message in messages)
        if high:
            # What the service does to such a client is not documented.
            allowed = self.options.limits.hi_capacity
            if allowed and connection.unsent_high > allowed:
                _logger.info("%r does not read; it is cut off", connection)
                self._disconnect(connection, ABNORMAL_CLOSURE)
                return
        self._send(connection, messages)
        if high:
            connection.count_high(high)

    def _send(self, connection: Connection, messages: Sequence[ServerMessage]) -> None:
        session_id = connection.session.session_id
        if self.tampers:
            messages = self._tamper(session_id, messages)
        connection.send(messages)
        for message in messages:
            if not isinstance(message, LOW_PRIORITY):
                self.sent.add(message, session_id)
                _logger.info("session %d sent %s", session_id, describe(message))
        self.activity.ring()

    def _tamper(
        self, session_id: int, messages: Sequence[ServerMessage]
    ) -> Sequence[ServerMessage]:
        for tamper in self.tampers:
            messages = tamper.apply(session_id, messages)
        self.tampers = [tamper for tamper in self.tampers if not tamper.is_over]
        return messages

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
        now_ms = self._chain.now_ms()
        for trade in self._chain.land_due(now_ms):
            self.publish(trade)
        self._close_inactive(now_ms)
        mints: set[str] = set()
        for connection in self.connections:
            mints |= connection.session.mints
        self._chain.markets.advance(mints)
        for connection in self.connections:
            self._tell(connection, self._tick_of(connection))
        self.activity.ring()

    def _tick_of(self, connection: Connection) -> list[ServerMessage]:
        messages = connection.session.tick()
        if not connection.is_congested:
            return messages
        # A client that does not read gets no more of what will be stale.
        return [m for m in messages if not isinstance(m, LOW_PRIORITY)]

    def _close_inactive(self, now_ms: int) -> None:
        timeout_ms = self.options.inactivity_timeout_ms
        if timeout_ms is None:
            return
        for connection in self.connections:
            if now_ms - connection.heard_at_ms >= timeout_ms:
                self._disconnect(connection, _NORMAL_CLOSURE, "inactivity timeout")

    # --- from one client ------------------------------------------------------

    async def _serve_client(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("x-api-key", "")
        if self.refusal is not None and self.refusal.use():
            return self._refuse(self.refusal.status, "refused", self.refusal.headers)
        verdict = judge(key, self.connections, self.options)
        if verdict is not None and verdict.status is not None:
            return self._refuse(verdict.status, verdict.error.message)
        # Without autoclose the last frame is left to us, where we closed first.
        websocket = web.WebSocketResponse(
            compress=False,
            autoclose=False,
            timeout=_SHUTDOWN_TIMEOUT,
            max_msg_size=_MAX_MESSAGE_BYTES,
        )
        await websocket.prepare(request)
        connection = self._new_connection(request, key)
        self._served.add(connection)
        try:
            if verdict is not None and not self._is_let_in(connection, verdict):
                self._turn_away(connection, verdict)
            else:
                self._attach(connection)
            async for received in websocket:
                if received.type is WSMsgType.TEXT:
                    self._on_text(connection, received.data)
                elif received.type is WSMsgType.BINARY:
                    self._tell(connection, [_invalid("binary frames are unknown here")])
        finally:
            self._served.discard(connection)
            self._detach(connection)
            connection.end()
        return websocket

    def _refuse(
        self, status: int, problem: str, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        self.upgrades.add(Upgrade(status))
        self.activity.ring()
        return web.json_response({"error": problem}, status=status, headers=headers)

    def _new_connection(self, request: web.Request, key: str) -> Connection:
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("the client left during its upgrade")
        session = SimSession(
            next(self._session_ids),
            self._chain,
            self.options,
            self._memories.setdefault(key, {}),
        )
        return Connection(key, session, transport, self._chain.now_ms())

    def _is_let_in(self, connection: Connection, verdict: Verdict) -> bool:
        """Make room for a session too many, if that is how it is."""
        if verdict.denial != "drop_older":
            return False
        key = connection.api_key
        older = next(other for other in self.connections if other.api_key == key)
        self._disconnect(older, _POLICY_VIOLATION, "replaced by a newer session")
        return True

    def _turn_away(self, connection: Connection, verdict: Verdict) -> None:
        self.upgrades.add(Upgrade(101), connection.session.session_id)
        if verdict.denial == "error":
            self._send(connection, [verdict.error])
        connection.say_goodbye(_POLICY_VIOLATION, verdict.error.message)

    def _attach(self, connection: Connection) -> None:
        session_id = connection.session.session_id
        self._set_connections((*self.connections, connection))
        self.upgrades.add(Upgrade(101), session_id)
        _logger.info("session %d connected", session_id)
        if self.options.hello == "first":
            self._open_later(connection)

    def _detach(self, connection: Connection) -> None:
        if connection in self.connections:
            self._set_connections(c for c in self.connections if c is not connection)
            _logger.info("session %d disconnected", connection.session.session_id)

    def _set_connections(self, connections: Iterable[Connection]) -> None:
        with self.connections_changed:
            self.connections = tuple(connections)
            self.connections_changed.notify_all()
        self.activity.ring()

    def _on_text(self, connection: Connection, text: str) -> None:
        if connection not in self.connections:
            # It was told to go, and may still be talking.
            return
        connection.heard_at_ms = self._chain.now_ms()
        try:
            message = decode_client_message(text)
        except DecodeError as error:
            self._tell(connection, [_invalid(str(error))])
            return
        session_id = connection.session.session_id
        self.received.add(message, session_id)
        _logger.info("session %d received %s", session_id, message.type)
        if isinstance(message, Configure):
            self._buy_starters(message.wallet_pubkeys)
            if self.options.hello == "after_configure":
                self._open_later(connection)
        self._answer(connection, connection.receive(message))
        self.activity.ring()

    def _open_later(self, connection: Connection) -> None:
        delay = self.options.hello_delay
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._open, connection)
        else:
            self._open(connection)

    def _open(self, connection: Connection) -> None:
        if connection not in self.connections or connection.is_open:
            return
        is_first = self.options.hello == "first"
        greeting = connection.session.greet() if is_first else []
        self._answer(connection, connection.open(greeting))

    def _answer(self, connection: Connection, messages: list[ServerMessage]) -> None:
        self._tell(connection, messages)
        code, error = self.options.close_after_hello, self.options.hello_error
        if code is not None and any(
            isinstance(message, HelloOk) or message is error for message in messages
        ):
            self._disconnect(connection, code)

    def _buy_starters(self, wallets: Iterable[str]) -> None:
        for wallet in wallets:
            if self._chain.is_registered(wallet) and not self._chain.holds(wallet):
                for _ in range(self.options.starter_holdings):
                    self.publish(self._chain.buy(wallet))


def _invalid(problem: str) -> ServerError:
    return ServerError(code="invalid_message", message=problem)
