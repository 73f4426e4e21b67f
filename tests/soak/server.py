"""
A TLS server that talks all the time and checks all it hears.

It runs on asyncio, in one thread, since a server that reads and writes a TLS
connection in two threads could break it by itself. It ends no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import threading
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from tests.patience import PATIENCE

__all__ = ["SoakServer"]

WALLET = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9"
LIMITS = {
    "hi_capacity": 1024,
    "pnl_flush_ms": 100,
    "max_positions_per_session": 100,
}
BURST = 5
"""Most events that are sent one after the other."""
PAUSE = 0.008
"""Longest pause between two bursts, in seconds."""
PADDING = 500
"""Most bytes by which an event is made longer."""


class SoakServer:
    """
    Listens on a free port while its ``with`` block runs.

    Attributes:
        connections: How many there were.
        commands: Numbered commands that arrived.
        lost_commands: Those that did not, or not in order.
        pongs: Answers to its own pings.
        faults: What a client did that none may do.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.port = 0
        self.connections = 0
        self.commands = 0
        self.lost_commands = 0
        self.pongs = 0
        self.faults: list[str] = []
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-server")

    def __enter__(self) -> SoakServer:
        self._thread.start()
        assert self._ready.wait(PATIENCE), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the server did not end"

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/ws", self._converse)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _converse(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.connections += 1
        conversation = _Conversation(self, socket, random.Random(self.connections))
        speaker = asyncio.create_task(conversation.speak(self._stopping))
        try:
            async for message in socket:
                await conversation.hear(message)
        except ConnectionError:
            pass  # the client left
        finally:
            speaker.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await speaker
        return socket


class _Conversation:
    def __init__(
        self, server: SoakServer, socket: web.WebSocketResponse, chance: random.Random
    ) -> None:
        self._server = server
        self._socket = socket
        self._chance = chance
        self._last_command: dict[str, int] = {}
        self._last_ping = 0
        self._last_pong = 0

    async def speak(self, stopping: asyncio.Event) -> None:
        """Greet, then send bursts of numbered events and now and then a ping."""
        await self._send(type="hello_ok", session_id=1, server_time_ms=1, limits=LIMITS)
        number = 0
        while not stopping.is_set():
            for _ in range(self._chance.randint(1, BURST)):
                number += 1
                await self._send_event(number)
            self._last_ping += 1
            await self._socket.ping(b"%d" % self._last_ping)
            with contextlib.suppress(asyncio.TimeoutError):
                pause = self._chance.random() * PAUSE
                await asyncio.wait_for(stopping.wait(), pause)

    async def _send_event(self, number: int) -> None:
        await self._send(
            type="balance_update",
            wallet_pubkey=WALLET,
            mint="x" * self._chance.randint(0, PADDING),
            tokens=0,
            slot=number,
        )

    async def _send(self, **message: Any) -> None:
        await self._socket.send_str(json.dumps(message))

    async def hear(self, message: WSMessage) -> None:
        """Take one frame; answer pings of either kind."""
        if message.type is WSMsgType.TEXT:
            await self._hear_text(json.loads(message.data))
        elif message.type is WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            self._hear_pong(int(message.data))
        else:
            self._server.faults.append(f"{message.type.name}: {message.data}")

    async def _hear_text(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "ping":
            await self._send(type="pong", server_time_ms=1)
        elif message["type"] == "mirror_buy_result":
            writer, number, _ = message["mint"].split(":")
            expected = self._last_command.get(writer, int(number) - 1) + 1
            self._server.commands += 1
            self._server.lost_commands += int(number) != expected
            self._last_command[writer] = int(number)

    def _hear_pong(self, number: int) -> None:
        # The newest ping answers for older ones, so some may be missing.
        if not self._last_pong < number <= self._last_ping:
            self._server.faults.append(f"pong {number} after {self._last_pong}")
        self._last_pong = number
        self._server.pongs += 1
