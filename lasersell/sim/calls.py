"""
The calls over HTTP: the REST API and JSON-RPC on the server's own port.

Everything here runs in the server's thread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from aiohttp import web

from lasersell.sim.activity import Activity
from lasersell.sim.admission import Refusal, key_problem
from lasersell.sim.log import Log
from lasersell.sim.node import Lost, RpcError
from lasersell.sim.options import SimOptions
from lasersell.sim.rest import Rest, RestError
from lasersell.sim.rpc import Rpc

__all__ = ["RPC_PATH", "Call", "Calls"]

RPC_PATH = "/rpc"
"""Where JSON-RPC is served."""

Json = dict[str, Any]
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.frozen
class Call:
    """
    One call over HTTP.

    Attributes:
        name: The method of JSON-RPC, or the path of the REST API.
        params: What came with it, as decoded JSON or as the query.
        status: The HTTP status it was answered with; 0 if no answer was sent, None
            while it is under way.
    """

    name: str
    params: Any
    status: int | None = None


class Calls:
    """
    Serves calls, and lets some of them fail.

    Args:
        rest: Answers the REST API.
        rpc: Answers JSON-RPC.
        options: Returns how the server behaves now.
        activity: Rings when a call was served.

    Attributes:
        log: Every call that was served.
        refusals: The orders to refuse calls, by their name.
        watcher: Called when a call comes, and before it is answered.
    """

    def __init__(
        self,
        rest: Rest,
        rpc: Rpc,
        options: Callable[[], SimOptions],
        activity: Activity,
    ) -> None:
        self.log: Log[Call] = Log()
        self.refusals: dict[str, Refusal] = {}
        self.watcher: Callable[[Call], None] = _ignore
        self._rest = rest
        self._rpc = rpc
        self._options = options
        self._activity = activity
        self._end = asyncio.Event()

    def add_to(self, app: web.Application) -> None:
        """Add the routes to an application."""
        # What hangs does until the server ends; each start has a loop of its own.
        self._end = end = asyncio.Event()

        async def release(_app: web.Application) -> None:
            end.set()

        app.on_shutdown.append(release)
        rest = self._rest
        router = app.router
        router.add_post(RPC_PATH, self._serve_rpc)
        router.add_get("/healthz", self._rest_route(lambda _: {"status": "ok"}))
        router.add_post("/v1/sell", self._rest_route(rest.sell, needs_key=True))
        router.add_post("/v1/buy", self._rest_route(rest.buy, needs_key=True))
        register = self._rest_route(rest.register, needs_key=True)
        router.add_post("/v1/wallets/register", register)
        unregister = self._rest_route(rest.unregister, needs_key=True)
        router.add_delete("/v1/wallets", unregister)
        account = self._rest_route(lambda _: rest.account(), needs_key=True)
        router.add_get("/v1/account", account)
        router.add_get("/v1/history", self._rest_route(rest.history, needs_key=True))

    # --- REST -----------------------------------------------------------------

    def _rest_route(
        self, answer: Callable[[Any], Json], *, needs_key: bool = False
    ) -> Serve:
        async def serve(request: web.Request) -> web.StreamResponse:
            params = await _rest_params(request)
            call = Call(request.path, params)
            self.watcher(call)
            status, body, headers = self._rest_answer(request, call, answer, needs_key)
            return self._answered(call, status, body, headers)

        return serve

    def _rest_answer(
        self,
        request: web.Request,
        call: Call,
        answer: Callable[[Any], Json],
        needs_key: bool,
    ) -> tuple[int, Json, Mapping[str, str]]:
        refusal = self._refusal_of(call)
        if refusal is not None:
            return refusal.status, {"error": "refused"}, refusal.headers
        key = request.headers.get("x-api-key", "")
        problem = key_problem(key, self._options()) if needs_key else None
        if problem is not None:
            return 401, {"error": problem}, {}
        if call.params is None:
            return 400, {"error": "the body must be a JSON object"}, {}
        try:
            return 200, answer(call.params), {}
        except RestError as error:
            return error.status, error.body, {}

    # --- JSON-RPC -------------------------------------------------------------

    async def _serve_rpc(self, request: web.Request) -> web.StreamResponse:
        asked = await _json_object(request)
        if asked is None or not isinstance(asked.get("method"), str):
            error = {"code": -32700, "message": "Parse error"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": error})
        call = Call(asked["method"], asked.get("params", []))
        self.watcher(call)
        refusal = self._refusal_of(call)
        if refusal is not None:
            body = {"message": "refused"}
            return self._answered(call, refusal.status, body, refusal.headers)
        head = {"jsonrpc": "2.0", "id": asked.get("id")}
        try:
            result = self._rpc.call(call.name, call.params)
        except RpcError as error:
            return self._answered(call, error.status, head | _error_body(error), {})
        except Lost as lost:
            return await self._lose(request, call, lost)
        return self._answered(call, 200, head | {"result": result}, {})

    async def _lose(
        self, request: web.Request, call: Call, lost: Lost
    ) -> web.StreamResponse:
        self._note(attrs.evolve(call, status=0))
        if lost.hangs:
            await self._end.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    # --- both -----------------------------------------------------------------

    def _refusal_of(self, call: Call) -> Refusal | None:
        refusal = self.refusals.get(call.name)
        return refusal if refusal is not None and refusal.use() else None

    def _answered(
        self, call: Call, status: int, body: Json, headers: Mapping[str, str]
    ) -> web.Response:
        self._note(attrs.evolve(call, status=status))
        return web.json_response(body, status=status, headers=headers)

    def _note(self, call: Call) -> None:
        self.watcher(call)
        self.log.add(call)
        self._activity.ring()


def _ignore(_call: Call) -> None:
    pass


def _error_body(error: RpcError) -> Json:
    body: Json = {"code": error.code, "message": error.message}
    if error.err is not None:
        body["data"] = {"err": error.err, "logs": []}
    return {"error": body}


async def _rest_params(request: web.Request) -> Json | None:
    if request.method == "GET":
        return dict(request.query)
    return await _json_object(request)


async def _json_object(request: web.Request) -> Json | None:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
