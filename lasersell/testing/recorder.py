"""
The recorder: a relay on this machine that writes down what passes.

It needs nothing of the client but its endpoint, so any program in any language can
be recorded. Frames pass as they are, whole or not; only the offer to compress them
is taken out of the upgrade.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from itertools import count

import attrs

from lasersell.stream.dial import default_context
from lasersell.stream.options import STREAM_ENDPOINT, StreamOptions
from lasersell.testing.frames import FrameCutter
from lasersell.testing.http import Head, read_head, response
from lasersell.testing.recording import Answer, RecordingWriter, Side
from lasersell.testing.tcp import TcpServer, hang_up, reset

__all__ = ["Recorder"]

_CONNECT_TIMEOUT = 10.0
_FLUSH_SECONDS = 1.0
_BLOCK = 65_536
_TOLD_ON_REFUSAL = ("retry-after", "content-type")


@attrs.frozen
class _End:
    """One end of a relayed connection."""

    side: Side
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@attrs.frozen
class _Ended:
    """Who ended a connection, and whether by a reset."""

    side: Side
    is_reset: bool


class Recorder(TcpServer):
    """
    Records what clients and a stream server say to each other.

    Give clients :attr:`url` as their endpoint while it runs. Keys are not written:
    the header is left out, and the key is cut out of whatever repeats it.

    Args:
        path: The file to make; it must not exist, and only its owner may read it.
        endpoint: The stream to record.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        ssl_context: A verifying context of your own for the endpoint.
        allow_insecure: Whether to send the key over ``ws://`` to any address.

    Raises:
        ConfigurationError: If an argument is wrong, or the file cannot be made.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        endpoint: str = STREAM_ENDPOINT,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
    ) -> None:
        super().__init__(host, port)
        # The client brings the key; this one only lets the endpoint be checked.
        self._options = StreamOptions(
            api_key="unused",
            endpoint=endpoint,
            ssl_context=ssl_context,
            allow_insecure=allow_insecure,
        )
        self._path = path
        self._file: RecordingWriter | None = None
        self._numbers = count(1)
        self._flush_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """
        Make the file and listen; at most 10 s.

        Raises:
            ConfigurationError: If it is running already, the file cannot be made,
                or the address not be listened on.
        """
        self._file = RecordingWriter(self._path)
        try:
            super().start()
        except BaseException:
            self._finish()
            raise

    def stop(self, timeout: float = 5.0) -> None:
        """Cut all connections and finish the file; see :meth:`TcpServer.stop`."""
        super().stop(timeout)
        self._finish()

    def _finish(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @property
    def _writing(self) -> RecordingWriter:
        assert self._file is not None, "it is written only while it runs"
        return self._file

    # --- one connection -------------------------------------------------------

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number = next(self._numbers)
        request = await read_head(reader)
        self._writing.keep_out(request.get("x-api-key"))
        client = _End("client", reader, writer)
        try:
            server = await self._dial()
        except (OSError, asyncio.TimeoutError) as error:
            problem = f"the recorder cannot reach the endpoint: {error}"
            self._refuse(number, client, Answer(502, body=problem))
            return
        try:
            if await self._upgrade(number, request, client, server):
                await self._relay(number, client, server)
        finally:
            await hang_up(server.writer)

    async def _dial(self) -> _End:
        url = self._options.url
        secure = url.scheme == "wss"
        context = self._options.ssl_context or default_context()
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(
                url.hostname,
                url.port or (443 if secure else 80),
                ssl=context if secure else None,
            ),
            _CONNECT_TIMEOUT,
        )
        return _End("server", reader, writer)

    async def _upgrade(
        self, number: int, request: Head, client: _End, server: _End
    ) -> bool:
        """Pass the upgrade on; tell whether the client was let in."""
        url = self._options.url
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        passed_on = request.replacing(
            f"GET {target} HTTP/1.1", host=url.netloc, sec_websocket_extensions=None
        )
        server.writer.write(passed_on.encode())
        answered = await read_head(server.reader)
        if answered.status != 101:
            self._refuse(number, client, await _refusal(answered, server.reader))
            return False
        self._writing.opened(number, Answer(101))
        client.writer.write(answered.encode())
        return True

    def _refuse(self, number: int, client: _End, answer: Answer) -> None:
        self._writing.opened(number, answer)
        self._flush_soon()
        client.writer.write(response(answer.status, answer.headers, answer.body))

    async def _relay(self, number: int, client: _End, server: _End) -> None:
        tasks = [
            asyncio.ensure_future(self._pump(number, client, server)),
            asyncio.ensure_future(self._pump(number, server, client)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        ended = done.pop().result()
        self._writing.ended(number, ended.side, is_reset=ended.is_reset)
        self._flush_soon()
        if ended.is_reset:
            reset(client.writer if ended.side == "server" else server.writer)

    async def _pump(self, number: int, source: _End, sink: _End) -> _Ended:
        cutter = FrameCutter()
        try:
            while True:
                try:
                    data = await source.reader.read(_BLOCK)
                except OSError:
                    # A reset, or TLS that ended without a word.
                    return _Ended(source.side, is_reset=True)
                if not data:
                    return _Ended(source.side, is_reset=False)
                self._writing.frames(number, source.side, cutter.feed(data))
                self._flush_soon()
                try:
                    sink.writer.write(data)
                    await sink.writer.drain()
                except OSError:
                    return _Ended(sink.side, is_reset=True)
        finally:
            self._writing.frames(number, source.side, cutter.end())

    # A recorder that is killed loses a second at most.
    def _flush_soon(self) -> None:
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        if self._file is not None:
            self._file.flush()


async def _refusal(head: Head, reader: asyncio.StreamReader) -> Answer:
    size = head.get("content-length")
    try:
        body = await reader.readexactly(int(size) if size.isdecimal() else _BLOCK)
    except asyncio.IncompleteReadError as error:
        # Without a length, the end of the connection is the end of the body.
        body = error.partial
    headers = {name: head.get(name) for name in _TOLD_ON_REFUSAL if head.get(name)}
    return Answer(head.status, headers, body.decode("utf-8", "replace"))
