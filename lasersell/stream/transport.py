"""
A websocket-client socket made safe for two threads.

What websocket-client does under two threads, and what is done instead:

* Reading and writing one TLS object at the same time breaks it. Here the socket
  never blocks, one lock is held around each single TLS call, and all waiting
  happens outside of it.
* ``close()`` waits for the reader's lock, which a blocked reader holds. Here
  nobody calls it: :meth:`Transport.begin_close` writes the close frame, the
  reader sees the answer and ends, and :meth:`Transport.abort` ends it if the
  peer does not.
* ``SSLSocket.shutdown()`` makes a concurrent write go out in plain text. Here
  the plain socket's own ``shutdown`` is called.
* Its frame reader costs several system calls and objects a frame and has no
  limits, so frames are cut from a read-ahead buffer (:mod:`lasersell.stream.frames`).
* Its handshake follows redirects, shares cookies between connections, puts the
  headers into its trace, and reads without bound; :class:`_UpgradeSocket` stands
  between.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import websocket

from lasersell._clock import SYSTEM_CLOCK, Clock, Deadline
from lasersell.errors import (
    AuthenticationError,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    NotConnectedError,
    StreamLostError,
)
from lasersell.stream.dial import DeadlineSocket, ResponseHead, dial
from lasersell.stream.frames import (
    BinaryMessage,
    CloseFrame,
    FrameParser,
    MaskKeys,
    Opcode,
    PingFrame,
    encode_frame,
)
from lasersell.stream.options import StreamOptions
from lasersell.stream.wakeup import Interrupted, Wakeup, poll_ms

__all__ = ["Transport", "TransportStats"]

READ_AHEAD = 65536
WRITE_TIMEOUT = 5.0
"""Seconds that one write may take before the connection counts as lost."""
BODY_LIMIT = 2048

PONGS_KEPT = 64
"""Most unsent pongs that are kept; the RFC allows to answer only newer pings."""

_READ_AND_WRITE = select.POLLIN | select.POLLOUT

Text = bytes | Callable[[], bytes]


class TransportStats:
    """Plain counters of one connection; written by the reader, read by anyone."""

    __slots__ = ("bytes_in", "frames_in")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.frames_in = 0


class Transport(websocket.WebSocket):
    """
    One WebSocket connection.

    One thread reads; any thread may write, ping, begin to close or abort. A
    write that fails or is interrupted may have left half a frame behind, so it
    always ends the connection.

    Args:
        options: The settings of the client.
        wakeup: What gets the reading thread out of its wait.
        clock: Where time comes from.
        check_utf8: See :class:`~lasersell.stream.frames.FrameParser`.
        on_backlog: Called when :meth:`gives_up_at` has something to say; must not
            block.
    """

    def __init__(
        self,
        options: StreamOptions,
        wakeup: Wakeup,
        clock: Clock = SYSTEM_CLOCK,
        *,
        check_utf8: bool = False,
        on_backlog: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(enable_multithread=True, skip_utf8_validation=True)
        self.last_byte = clock.monotonic()
        """When bytes last came in, monotonic seconds."""
        self.peer_close: CloseFrame | None = None
        """The peer's close frame, once it came."""
        self.binaries: list[bytes] = []
        """Binary messages of the last batch; the reader takes and clears them."""
        self.stats = TransportStats()
        self._options = options
        self._wakeup = wakeup
        self._clock = clock
        self._on_backlog = on_backlog
        self._parser = FrameParser(options.max_message_bytes, check_utf8=check_utf8)
        self._ahead = b""
        self._drained = True
        # `lock`, of the base class, guards what goes out: the order of frames,
        # the mask keys and the unsent rest of a frame. Held while waiting for
        # a full socket, for WRITE_TIMEOUT at most.
        self._masks = MaskKeys()
        self._rest = b""
        # Since when the full socket has not taken a byte of the rest.
        self._backlog_since: float | None = None
        # Frames of threads that must not wait for the lock, see flush().
        self._errands: deque[tuple[Opcode, Text]] = deque()
        self._pongs: deque[bytes] = deque(maxlen=PONGS_KEPT)
        self._lost: BaseException | None = None
        self._closing = False
        self._disposed = False
        # Guards the TLS object against two threads in it at once; held for one
        # non-blocking call, never while waiting. A plain socket needs none.
        self._tls_lock: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext()
        )
        self._is_tls = False

    # Opening

    def open(self, deadline: Deadline) -> None:
        """
        Connect and upgrade; blocks until ``deadline`` at most.

        Raises:
            ConnectError: The network, TLS or the proxy failed; see its subclasses.
            HandshakeError: The server refused the upgrade.
            Interrupted: The wake-up called it off.
        """
        sock = dial(self._options, self._wakeup, deadline)
        stream = DeadlineSocket(sock, self._wakeup, deadline)
        try:
            self._upgrade(_UpgradeSocket(stream, self._options.api_key.reveal()))
        except BaseException:
            sock.close()
            self.sock = None
            raise
        self.sock = sock
        self._ahead = stream.buffer
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        if self._is_tls:
            self._tls_lock = threading.Lock()
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._poller.register(self._wakeup, select.POLLIN)
        self.last_byte = self._clock.monotonic()

    def _upgrade(self, stream: _UpgradeSocket) -> None:
        endpoint = self._options.endpoint
        try:
            self.connect(  # type: ignore[no-untyped-call]
                endpoint, socket=stream, suppress_origin=True, redirect_limit=0
            )
        except (ConnectError, HandshakeError, Interrupted) as error:
            if isinstance(error, ConnectTimeoutError):
                raise ConnectTimeoutError(_UPGRADE_SILENT) from None
            raise
        except websocket.WebSocketTimeoutException:
            raise ConnectTimeoutError(_UPGRADE_SILENT) from None
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise ConnectError(
                f"the WebSocket upgrade failed ({type(error).__name__}: {error}); "
                "is the endpoint a WebSocket server?"
            ) from error

    # Reading

    def recv_batch(self, deadline: Deadline | None = None) -> list[bytes]:
        """
        Return the text messages that the next bytes complete, oldest first.

        Blocks until bytes came, the wake-up rang (then the list is empty), or
        ``deadline`` passed. Only one thread may read. Pings are answered here.

        Raises:
            StreamLostError: The connection ended; everything that came before
                was returned by earlier calls.
            ConnectTimeoutError: The deadline passed.
        """
        if self.peer_close is not None:
            raise self._closed_by_peer(self.peer_close)
        if self._parser.error is not None:
            raise self._protocol_error()
        data = self._ahead or self._read(deadline)
        self._ahead = b""
        if not data:
            return []
        self.last_byte = self._clock.monotonic()
        texts = self._parser.feed(data)
        stats = self.stats
        stats.bytes_in += len(data)
        stats.frames_in += len(texts)
        if self._parser.others:
            self._take_others()
        return texts

    def _read(self, deadline: Deadline | None) -> bytes:
        if deadline is not None and deadline.has_passed():
            raise ConnectTimeoutError("no answer in time")
        # A plain socket is polled first. A TLS one is read until it wants more,
        # because a record may hold frames that no poll will ever announce.
        if self._drained and not self._wait_readable(deadline):
            return b""
        if self._rest:
            self.flush()
        return self._recv(READ_AHEAD)

    def _recv(self, bufsize: int) -> bytes:
        """Read once without blocking; ``b""`` when nothing was there."""
        sock = self._socket()
        try:
            with self._tls_lock:
                data = sock.recv(bufsize)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._drained = True
            return b""
        except (OSError, ValueError) as error:
            raise self._ended(error) from error
        if not data:
            raise self._ended(None)
        self._drained = not self._is_tls
        return data

    def _wait_readable(self, deadline: Deadline | None) -> bool:
        timeout = None if deadline is None else poll_ms(deadline.remaining())
        self._poller.modify(
            self._socket(), _READ_AND_WRITE if self._rest else select.POLLIN
        )
        readable = False
        for fd, events in self._poller.poll(timeout):
            if fd == self._wakeup.fileno():
                self._wakeup.clear()
                continue
            if events & select.POLLOUT:
                self.flush()
            readable = events != select.POLLOUT
        return readable

    def _take_others(self) -> None:
        others, self._parser.others = self._parser.others, []
        self.stats.frames_in += len(others)
        for other in others:
            if isinstance(other, PingFrame):
                self._pongs.append(other.payload)
            elif isinstance(other, BinaryMessage):
                self.binaries.append(other.payload)
            elif isinstance(other, CloseFrame):
                self.peer_close = other
                self.begin_close(1000 if other.code is None else other.code)
        if self._pongs:
            self.flush()

    def _closed_by_peer(self, frame: CloseFrame) -> StreamLostError:
        code = 1005 if frame.code is None else frame.code
        words = f" ({frame.reason})" if frame.reason else ""
        return StreamLostError(
            f"the server closed the connection with code {code}{words}",
            close_code=code,
            close_reason=frame.reason,
        )

    def _protocol_error(self) -> StreamLostError:
        error = self._parser.error
        assert error is not None
        self.begin_close(error.close_code)
        lost = StreamLostError(f"the server broke the WebSocket protocol: {error}")
        lost.__cause__ = error
        return lost

    def _ended(self, error: BaseException | None) -> StreamLostError:
        cause = self._lost or error
        if cause is None:
            return StreamLostError("the connection ended without a close frame")
        if isinstance(cause, StreamLostError):
            return cause
        return StreamLostError(
            f"the connection was lost ({str(cause) or type(cause).__name__})"
        )

    # Writing

    def send_texts(self, *texts: Text) -> None:
        """
        Write text messages; returns when the socket has all of them.

        Blocks for 5 seconds at most, and only while the peer does not read.
        Any thread may call this.

        Args:
            texts: Each a message, or a function that makes it. The function is
                called in sending order, so that of two threads that send the
                newest state, the last one really sends the newest.

        Raises:
            NotConnectedError: The connection was over before anything was written.
            StreamLostError: It ended while writing; the messages may be lost.
        """
        # Nearly every write goes out at once: no clock is read for it.
        deadline = None
        if not self.lock.acquire(blocking=False):
            deadline = Deadline(WRITE_TIMEOUT, self._clock)
            if not self.lock.acquire(timeout=WRITE_TIMEOUT):
                raise self.lose(StreamLostError("another write did not finish in time"))
        try:
            if self._lost is not None or self._closing or self.sock is None:
                raise NotConnectedError("the connection has just ended")
            frames = [self._frame(Opcode.TEXT, text) for text in texts]
            self._write(b"".join(frames), deadline)
        finally:
            self.lock.release()
            if self._has_errands() or self._disposed:
                self.flush()

    def post(self, opcode: Opcode, *texts: Text) -> None:
        """
        Write frames now as far as possible, and leave the rest to others.

        Never blocks: the reader and the supervisor call this, and a writer may
        be stuck. What cannot be written now is written by the present writer
        after its own frame, or by the reader when the socket has room.
        """
        self._errands.extend((opcode, text) for text in texts)
        self.flush()

    def begin_close(self, code: int = 1000) -> None:
        """Write the close frame, once; no message can be sent after it. Never blocks."""
        if not self._closing:
            self._closing = True
            self.post(Opcode.CLOSE, code.to_bytes(2, "big"))

    def _write(self, data: bytes, deadline: Deadline | None) -> None:
        """Write everything; the caller holds ``lock``."""
        if self._rest:
            data, self._rest, self._backlog_since = self._rest + data, b"", None
        try:
            while data:
                data = data[self._send(data) :]
                if data:
                    deadline = deadline or Deadline(WRITE_TIMEOUT, self._clock)
                    self._wait_writable(deadline)
        except Exception as error:
            raise self.lose(error) from error
        except BaseException as error:
            self.lose(error)
            raise

    def _send(self, data: str | bytes) -> int:
        """Write once without blocking; return how many bytes went out."""
        sock = self._socket()
        try:
            with self._tls_lock:
                return sock.send(data.encode() if isinstance(data, str) else data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def _wait_writable(self, deadline: Deadline) -> None:
        # Woken by the socket, or by its shutdown. The wake-up pair has only one
        # listener, the reading thread.
        poller = select.poll()
        poller.register(self._socket(), select.POLLOUT)
        if deadline.has_passed() or not poller.poll(poll_ms(deadline.remaining())):
            raise StreamLostError(
                f"the server took no bytes for {WRITE_TIMEOUT:g} seconds"
            )

    def flush(self) -> None:
        """
        Write what could not be written before, as far as possible; never blocks.

        Any thread may call this.
        """
        # Whoever has the lock does what others could not wait for. They leave
        # their errand first and try the lock then; the holder looks for errands
        # after its release: so one of the two always sees the other.
        while self.has_unsent or self._disposed:
            if not self.lock.acquire(blocking=False):
                return
            try:
                self._write_errands()
                if self._disposed:
                    self._close_socket()
                    return
            finally:
                self.lock.release()
            if self._rest:
                # The reader waits for room and goes on.
                self._wakeup.ring()
                return

    @property
    def has_unsent(self) -> bool:
        """Whether something that was to be written has not left yet."""
        return bool(self._rest) or self._has_errands()

    def gives_up_at(self) -> float | None:
        """
        Return when a peer that takes no bytes counts as lost, monotonic seconds.

        None if all that was to be written is out, or someone is writing it.
        """
        since = self._backlog_since
        return None if since is None else since + WRITE_TIMEOUT

    def excuse_backlog(self) -> None:
        """Count a backlog from now: the peer could not read because we did not."""
        if self._backlog_since is not None:
            self._backlog_since = self._clock.monotonic()

    def _has_errands(self) -> bool:
        return bool(self._pongs or self._errands)

    def _write_errands(self) -> None:
        """Write as far as the socket takes it; the caller holds ``lock``."""
        try:
            while self.has_unsent:
                # More is taken only when the rest is out, so that the rest is
                # bounded whatever the peer asks for.
                self._rest = self._rest or self._take_errands()
                sent = self._send(self._rest)
                if sent:
                    self._rest = self._rest[sent:]
                    self._backlog_since = None
                else:
                    break
        except (OSError, ValueError) as error:
            self.lose(error)
        if self._lost is not None:
            self._rest = b""
        if self._rest and self._backlog_since is None:
            self._backlog_since = self._clock.monotonic()
            self._on_backlog()

    def _take_errands(self) -> bytes:
        frames = []
        while self._pongs:
            frames.append(self._frame(Opcode.PONG, self._pongs.popleft()))
        while self._errands:
            frames.append(self._frame(*self._errands.popleft()))
        return b"".join(frames)

    def _frame(self, opcode: Opcode, text: Text) -> bytes:
        return encode_frame(
            opcode, text() if callable(text) else text, self._masks.next()
        )

    # Ending

    def lose(self, cause: BaseException) -> StreamLostError:
        """
        End the connection because of ``cause``; never blocks, any thread may call it.

        The reader still takes what had arrived, then sees the end.
        """
        if self._lost is None:
            self._lost = cause
        self.abort()
        return self._ended(cause)

    @property
    def is_lost(self) -> bool:
        """Whether no message can be sent any more; the reader is about to see the end."""
        return self._lost is not None or self._closing

    def abort(self) -> None:
        """Wake every thread that waits for this socket; it sees the end."""
        sock = self.sock
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown: that drops the TLS object first, and a
                # write in another thread would go out in plain text.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def dispose(self) -> None:
        """
        Close the socket once the reader has ended.

        Never blocks: if a writer is still in, that writer closes it.
        """
        self.abort()
        self._disposed = True
        self.flush()

    def _close_socket(self) -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()

    def _socket(self) -> socket.socket:
        sock = self.sock
        if not isinstance(sock, socket.socket):
            raise self._ended(None)
        return sock


_UPGRADE_SILENT = (
    "the server did not answer the WebSocket upgrade in time; is the endpoint right?"
)


class _UpgradeSocket:
    """
    The socket that websocket-client does its handshake on.

    Adds the API key after websocket-client has logged the request, strips
    cookies in both directions (it keeps them in a global jar), and turns any
    answer but 101 into a :exc:`HandshakeError` before redirects are looked at.
    """

    def __init__(self, stream: DeadlineSocket, api_key: str) -> None:
        self._stream = stream
        self._api_key = api_key
        self._head = b""

    def send(self, request: bytes) -> int:
        lines = [
            line
            for line in request.decode().split("\r\n")
            if not line.lower().startswith("cookie:")
        ]
        lines[1:1] = [f"x-api-key: {self._api_key}"]
        self._stream.send_all("\r\n".join(lines).encode())
        return len(request)

    def recv(self, bufsize: int) -> bytes:
        if not self._head:
            self._head = self._read_head()
        taken, self._head = self._head[:bufsize], self._head[bufsize:]
        return taken

    def _read_head(self) -> bytes:
        head = self._stream.read_head()
        if head.status != 101:
            body = self._stream.read_body(head, BODY_LIMIT)
            # A server that quotes the key must not get it into our error.
            raise refusal(head, body.replace(self._api_key.encode(), b"..."))
        if head.headers.get("sec-websocket-extensions"):
            raise ConnectError(
                "the server turned on a WebSocket extension that was not asked for"
            )
        lines = [
            f"{name}: {value}"
            for name, value in head.headers.items()
            if name != "set-cookie"
        ]
        return "\r\n".join(
            ["HTTP/1.1 101 Switching Protocols", *lines, "", ""]
        ).encode()

    def gettimeout(self) -> None:
        return None

    def close(self) -> None:
        pass  # the transport closes the real one


def refusal(head: ResponseHead, body: bytes) -> HandshakeError:
    """Return an upgrade answer other than 101 as an error that says what to do."""
    status = head.status
    words = body.decode("utf-8", "replace").strip()
    said = f": {words[:200]}" if words else ""
    if status in (401, 403):
        return AuthenticationError(
            f"the server refused the API key with HTTP {status}{said}; check LASERSELL_API_KEY "
            "(keys are made at app.lasersell.io, Settings > API Keys)",
            status=status,
            message=words or None,
        )
    if 300 <= status < 400:
        advice = "redirects are not followed, they would carry the API key away; fix the endpoint"
    elif status == 404:
        advice = "check the path of the endpoint, it usually ends in /v1/ws"
    elif status == 429:
        advice = "too many connections or tries; wait, or close the other session of this key"
    elif status >= 500:
        advice = "the server has a problem; try again later"
    else:
        advice = "check the endpoint"
    return HandshakeError(
        f"the server refused the upgrade with HTTP {status}{said}; {advice}",
        status=status,
        message=words or None,
        retry_after=head.retry_after(),
    )
