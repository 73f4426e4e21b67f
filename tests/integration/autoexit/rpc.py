"""
A small Solana over HTTP: real JSON-RPC, real signatures, and sales that land in SimServer.

It knows the transactions that the simulator offered, and lands one when it is submitted
with a valid signature. What goes wrong is scripted, one answer for each
``sendTransaction``. It also serves ``/v1/sell`` of the REST API.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal

import attrs
from solders.transaction import VersionedTransaction

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell._threads import start_thread
from lasersell.errors import ConfigurationError
from lasersell.protocol.server import ExitSignalWithTx, MirrorBuySignal
from lasersell.sim import Holding, SimServer
from lasersell.sim.ledger import Trade
from lasersell.sim.solana import unsigned_sell

__all__ = ["SLIPPAGE_EXCEEDED", "Answer", "ChainRpc", "Submitted", "offer_of"]

Answer = Literal[
    "ok",
    "lose_answer",
    "lose_request",
    "ignore",
    "fail",
    "preflight_slippage",
    "blockhash_not_found",
    "rate_limited",
]
"""
``ok``: it lands at once; ``lose_answer``: it lands, and the connection breaks before the
answer; ``lose_request``: it is not taken, and the connection breaks; ``ignore``: it is
taken and does not land; ``fail``: it lands with an error; ``preflight_slippage``: refused
by a simulation; ``blockhash_not_found``: refused for its age; ``rate_limited``: HTTP 429.
"""

SLIPPAGE_EXCEEDED = {"InstructionError": [2, {"Custom": 6001}]}
NOT_ENOUGH_TOKENS = {"InstructionError": [2, {"Custom": 1}]}


@attrs.frozen
class Submitted:
    """One ``sendTransaction`` with a valid signature."""

    signature: str
    token_account: str
    tokens: int
    level: int | None
    answer: str
    at: float
    """Monotonic seconds."""
    bought: str | None = None
    """The token, of a mirror buy."""


@attrs.define
class _Status:
    slot: int
    err: Any = None


class ChainRpc:
    """
    An RPC node on this machine, for the chain of a simulator; a context manager.

    Any thread may call any method.

    Args:
        sim: Whose transactions it knows, and where they land.

    Attributes:
        script: What happens to the next submissions; ``ok`` when it is empty.
        on_request: Called with the method before each request is served, and again with
            ``method + " done"`` before it is answered.
        is_blockhash_valid: What ``isBlockhashValid`` says.
        broken: Methods that are answered with HTTP 503.
        submitted: Every submission with a valid signature.
        refused: Why others were not taken.
        orders: What ``/v1/sell`` was asked for; it builds the transaction.
    """

    def __init__(self, sim: SimServer) -> None:
        self.script: deque[Answer] = deque()
        self.on_request: Callable[[str], None] = lambda _: None
        self.is_blockhash_valid = True
        self.broken: set[str] = set()
        self.submitted: list[Submitted] = []
        self.refused: list[str] = []
        self._sim = sim
        self._statuses: dict[str, _Status] = {}
        self._delayed: list[Submitted] = []
        # Guards all of the above, and is notified of each request that was served.
        self._changed = threading.Condition(threading.RLock())
        self._requests: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self._built: list[ExitSignalWithTx] = []
        self._server = _Server(self)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ChainRpc:
        self._thread = start_thread("rpc", self._server.serve)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        if self._thread is not None:
            self._thread.join(10)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def requests(self, method: str) -> int:
        """Return how often a method was called."""
        with self._changed:
            return self._requests.count(method)

    def wait_for(self, is_there: Callable[[], object], timeout: float = 10.0) -> None:
        """
        Wait until something is true, which is looked at after each request.

        Raises:
            TimeoutError: It did not come true in time.
        """
        deadline = Deadline(timeout)
        with self._changed:
            while not is_there():
                if deadline.has_passed():
                    raise TimeoutError(f"not so after {self._requests}")
                self._changed.wait(deadline.remaining())

    def tell(self, signature: str, slot: int, err: Any = None) -> None:
        """Have a transaction be on the chain."""
        with self._changed:
            self._statuses[signature] = _Status(slot, err)

    def land_delayed(self) -> None:
        """Land what was taken and ignored so far."""
        with self._changed:
            delayed, self._delayed = self._delayed, []
            for item in delayed:
                self._land(item)

    # Methods

    def serve(self, method: str, params: list[Any]) -> tuple[dict[str, Any], bool]:
        """Return the answer to a request, and whether it is lost on its way."""
        self.on_request(method)
        is_lost = False
        answer: dict[str, Any]
        with self._changed:
            if method in self.broken:
                answer = {"status": 503}
            elif method == "sendTransaction":
                answer, is_lost = self._send(params[0])
            elif method == "getSignatureStatuses":
                answer = _result(
                    self._sim, [self._status_of(signature) for signature in params[0]]
                )
            elif method == "isBlockhashValid":
                answer = _result(self._sim, self.is_blockhash_valid)
            else:
                answer = {"result": "ok"}
        self.on_request(f"{method} done")
        with self._changed:
            self._requests.append(method)
            self._changed.notify_all()
        return answer, is_lost

    def build(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return what the REST API answers to ``/v1/sell``."""
        with self._changed:
            self.orders.append(order)
            holding = next(
                holding
                for holding in self._sim.holdings(order["user_pubkey"])
                if holding.mint == order["mint"]
            )
            signal = offer_of(
                holding, order["amount_tokens"], nonce=1_000_000 + len(self.orders)
            )
            # It is the level's whose amount it has.
            levels = {
                s.sell_tokens: s.level_index
                for s in self._sim.sent.of(ExitSignalWithTx)
            }
            level = levels.get(order["amount_tokens"])
            self._built.append(attrs.evolve(signal, level_index=level))
        return {"status": "ok", "tx": signal.unsigned_tx_b64}

    def _status_of(self, signature: str) -> dict[str, Any] | None:
        status = self._statuses.get(signature)
        if status is None:
            return None
        return {
            "slot": status.slot,
            "err": status.err,
            "confirmations": 1,
            "confirmationStatus": "confirmed",
        }

    def _send(self, text: str) -> tuple[dict[str, Any], bool]:
        transaction = VersionedTransaction.from_bytes(base64.b64decode(text))
        if not all(transaction.verify_with_results()):
            self.refused.append("signature")
            return _error(-32003, "Transaction signature verification failure"), False
        signature = str(transaction.signatures[0])
        if signature in self._statuses:
            return _error(
                -32002,
                "Transaction simulation failed: This transaction has already been processed",
                "AlreadyProcessed",
            ), False
        offer = self._offer_of(transaction)
        if offer is None:
            self.refused.append("unknown")
            return _error(-32602, "nobody offered this transaction"), False
        answer = self.script.popleft() if self.script else "ok"
        item = _submitted(offer, signature, answer)
        self.submitted.append(item)
        return self._play(answer, item)

    def _offer_of(
        self, transaction: VersionedTransaction
    ) -> ExitSignalWithTx | MirrorBuySignal | None:
        message = bytes(transaction.message)
        # The simulator sends first and logs second; it has, once it answers a call.
        self._sim.holdings()
        signals: list[ExitSignalWithTx | MirrorBuySignal] = [
            *self._sim.sent.of(ExitSignalWithTx),
            *self._sim.sent.of(MirrorBuySignal),
            *self._built,
        ]
        for signal in signals:
            offered = VersionedTransaction.from_bytes(
                base64.b64decode(signal.unsigned_tx_b64)
            )
            if bytes(offered.message) == message:
                return signal
        return None

    def _play(self, answer: Answer, item: Submitted) -> tuple[dict[str, Any], bool]:
        if answer == "preflight_slippage":
            return _error(-32002, "simulation failed", SLIPPAGE_EXCEEDED), False
        if answer == "blockhash_not_found":
            return _error(-32002, "Blockhash not found", "BlockhashNotFound"), False
        if answer == "rate_limited":
            return {"status": 429}, False
        if answer in ("ok", "lose_answer"):
            self._land(item)
        elif answer == "ignore":
            self._delayed.append(item)
        elif answer == "fail":
            self._statuses[item.signature] = _Status(1, SLIPPAGE_EXCEEDED)
        return {"result": item.signature}, answer in ("lose_answer", "lose_request")

    def _land(self, item: Submitted) -> None:
        if item.signature in self._statuses:
            return
        try:
            if item.bought is not None:
                slot = self._sim.land_mirror_buy(item.bought).slot
            else:
                slot = _sell(self._sim, item).slot
        except ConfigurationError:
            self._statuses[item.signature] = _Status(1, NOT_ENOUGH_TOKENS)
        else:
            self._statuses[item.signature] = _Status(slot)


def offer_of(
    holding: Holding, tokens: int, *, level: int | None = None, nonce: int = 0
) -> ExitSignalWithTx:
    """Return a signal that sells tokens of a holding; each nonce is another transaction."""
    return ExitSignalWithTx(
        session_id=1,
        position_id=holding.position_id,
        wallet_pubkey=holding.wallet,
        mint=holding.mint,
        token_account=holding.token_account,
        token_program=holding.token_program,
        position_tokens=holding.tokens,
        profit_units=1000,
        reason="take_profit",
        triggered_at_ms=None,
        unsigned_tx_b64=unsigned_sell(
            wallet=holding.wallet,
            mint=holding.mint,
            token_account=holding.token_account,
            pool=holding.mint,
            tokens=tokens,
            min_quote_units=nonce,
            tip_lamports=0,
            slot=nonce,
        ),
        sell_tokens=tokens,
        level_index=level,
    )


def _submitted(
    offer: ExitSignalWithTx | MirrorBuySignal, signature: str, answer: str
) -> Submitted:
    at = SYSTEM_CLOCK.monotonic()
    if isinstance(offer, MirrorBuySignal):
        return Submitted(signature, "", 0, None, answer, at, bought=offer.mint)
    account = offer.token_account or ""
    return Submitted(
        signature, account, _tokens_of(offer), offer.level_index, answer, at
    )


def _sell(sim: SimServer, item: Submitted) -> Trade:
    """Land a sale, as that of the exit signal it belongs to."""

    def land() -> Trade:
        chain = sim._chain
        holding = sim._find(item.token_account)
        trade = chain.sell(
            holding, tokens=item.tokens, reason="exit", level_index=item.level
        )
        chain.orders.forget_exit(item.token_account, item.level)
        return trade

    return sim._land(land)


def _tokens_of(signal: ExitSignalWithTx) -> int:
    tokens = signal.sell_tokens or signal.position_tokens
    assert tokens is not None, "the simulator says how much"
    return tokens


def _result(sim: SimServer, value: Any) -> dict[str, Any]:
    trades = sim.trades()
    slot = trades[-1].slot if trades else 1
    return {"result": {"context": {"slot": slot}, "value": value}}


def _error(code: int, message: str, err: Any = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if err is not None:
        error["data"] = {"err": err}
    return {"error": error}


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, rpc: ChainRpc) -> None:
        self.rpc = rpc
        # Guards the connections, which are cut at the end.
        self._mutex = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def serve(self) -> None:
        with self:
            self.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        self.shutdown()
        with self._mutex:
            for connection in self._connections:
                connection.shutdown(socket.SHUT_RDWR)

    def opened(self, connection: socket.socket) -> None:
        with self._mutex:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._mutex:
            self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed is no error of ours


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        request = json.loads(self.rfile.read(length))
        if self.path == "/v1/sell":
            self._answer(200, self.server.rpc.build(request))
            return
        answer, is_lost = self.server.rpc.serve(
            request["method"], request.get("params", [])
        )
        if is_lost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status = answer.pop("status", 200)
        self._answer(status, {"jsonrpc": "2.0", "id": request["id"], **answer})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
